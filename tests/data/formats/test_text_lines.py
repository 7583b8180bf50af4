"""The form of a .txt file is recognised from all its lines; each form is read to exact quads."""

import numpy as np
import pytest

from tests.data.formats.samples import box, picture, text
from utils.data.formats.entries import WordList
from utils.data.formats.folder import Folder
from utils.data.formats.registry import read_entries, recognise
from utils.data.formats.text_files import decode_text
from utils.data.formats.text_lines import add_lines, recognise_form, split_lines, unquoted
from utils.data.problems import Problems
from utils.errors import UserError

QUADS = "377,117,463,117,465,130,378,130,Genaxis Theatre\n374,155,409,155,409,170,374,170,###\n"
POLYGON = "10,40,20,36,30,40,30,50,20,46,10,50"


def words_of(content: str) -> tuple:
    problems = Problems()
    words = WordList("gt.txt", problems)
    form = add_lines(split_lines(content), words)
    return form, words.entry("a.jpg"), problems


@pytest.mark.parametrize(
    ("content", "form"),
    [
        (QUADS, "quads"),
        ("1,2,9,2,9,8,1,8\n", "quads"),
        ("1,2,9,2,9,8,1,8,15\n", "quads"),
        ("1,2,9,2,9,8,1,8,1,234\n1,2,9,2,9,8,1,8,x\n", "quads"),  # a text of two numbers
        ("1,2,9,2,9,8,1,8,5,400,kg\n", "quads"),  # (5, 400) is far from the word
        ("1,2,9,2,9,8,1,8,Latin\n", "quads"),  # the text is Latin
        ("1,2,9,2,9,8,1,8,Latin,Cafe\n1,2,9,2,9,8,1,8,None,###\n", "script"),
        ("1,2,9,2,9,8,1,8,Latin,a\n1,2,9,2,9,8,1,8,roman,b\n", "quads"),
        (f"{POLYGON},HELLO\n", "polygons"),
        (f"{POLYGON}\n1,2,9,2,9,8,1,8,x\n", "polygons"),
        ("1,2,9,2,9,8,1,8,0,5,HELLO\n1,2,9,2,9,8,1,8,x\n", "polygons"),
        ("1,2,9,2,9,8,x\n", "polygons"),
        ('38, 43, 920, 215, "Tiredness"\n275, 264, 665, 450, "kills,"\n', "boxes"),
        ("1,2,9,8,15\n1,2,9,8,1,234\n", "boxes"),
        ('158 128 411 181 "Footpath"\n443 128 501 169 "To"\n', "spaced boxes"),
        ("377 117 463 119 465 150 378 148 EXIT\n1 2 9 2 9 8 1 8 ###\n", "spaced quads"),
        ("1 2 9 2 9 8 1 8\n1\t2\t9\t2\t9\t8\t1\t8\t15\n", "spaced quads"),
        ('1 2 9 8 "a b"\n1 2 9 8 "5 6 7 8"\n1 2 9 8 5 6 7 8\n', "spaced boxes"),  # a text of four numbers
        ("", "quads"),
        ("something else\n", "quads"),
    ],
)
def test_form(content, form):
    assert recognise_form([line for _, line in split_lines(content)]) == form


def test_quads():
    _, entry, problems = words_of(QUADS)
    assert entry.quads[0].tolist() == [[377, 117], [463, 117], [465, 130], [378, 130]]
    assert entry.texts == ["Genaxis Theatre", "###"]
    assert entry.ignored.tolist() == [False, True]
    assert not problems


def test_a_polygon_becomes_the_smallest_rectangle():
    _, entry, problems = words_of(f"{POLYGON},a, b\n1,2,9,2,9,8,1,8,x\n0,0,10,0,0,10,triangle\n")
    assert np.allclose(entry.quads[0], box(10, 36, 30, 50))
    assert entry.quads[1].tolist() == box(1, 2, 9, 8)
    assert np.allclose(sorted(entry.quads[2].tolist()), sorted(box(0, 0, 10, 10)))
    assert entry.texts == ["a, b", "x", "triangle"]
    assert problems.rows()[0][1:] == (2, "gt.txt: 6 corners")


def test_mlt():
    _, entry, problems = words_of(
        "1,2,9,2,9,8,1,8,Latin,Cafe, Bar\n1,2,9,2,9,8,1,8,None,###\n1,2,9,2,9,8,1,8,Arabic,\n"
    )
    assert entry.texts == ["Cafe, Bar", "###", ""]
    assert entry.ignored.tolist() == [False, True, False]
    assert not problems


def test_icdar_2013():
    for content in ('38, 43, 920, 215, "Tired, \\"x\\""\n', '38 43 920 215 "Tired, \\"x\\""\n'):
        _, entry, problems = words_of(content)
        assert entry.quads[0].tolist() == box(38, 43, 920, 215)
        assert entry.texts == ['Tired, "x"']
        assert not problems


def test_quads_with_spaces():
    content = "377 117 463 119 465 150 378 148 EXIT, no 5\r\n10.5 20 30 20 30 28 10.5 28 ###\r\n1 2 9 8 x\r\n"
    _, entry, problems = words_of(content)
    assert entry.quads.tolist() == [[[377, 117], [463, 119], [465, 150], [378, 148]], box(10.5, 20, 30, 28)]
    assert entry.texts == ["EXIT, no 5", "###"]
    assert entry.ignored.tolist() == [False, True]
    assert [row[:2] for row in problems.rows()] == [("malformed lines, left out", 1)]


def test_lines_that_fit_no_form_are_counted():
    _, entry, problems = words_of("1,2,9,2,9,8,1,8,a\n\n1;2;9;2;9;8;1;8;b\n1,2,9,8,c\n")
    assert len(entry.quads) == 1
    ((kind, count, example),) = problems.rows()
    assert (kind, count) == ("malformed lines, left out", 2)
    assert example == "gt.txt:3: '1;2;9;2;9;8;1;8;b'; expected 8 numbers and the text, separated by commas"


def test_width_and_height_are_no_corners():
    _, entry, problems = words_of("100,50,20,10,a\n")
    assert not len(entry.quads)
    assert problems.rows()[0][2].endswith("expected left,top,right,bottom and the text, separated by commas")


@pytest.mark.parametrize("quoted", ['"a"', ' "a" ', "a"])
def test_unquoted(quoted):
    assert unquoted(quoted) == "a"


@pytest.mark.parametrize(("quoted", "text"), [(r'"say \"a\""', 'say "a"'), (r'"a\\"', "a\\"), (r'"\\\""', '\\"')])
def test_escapes_are_resolved_from_left_to_right(quoted, text):
    assert unquoted(quoted) == text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "gbk"])
def test_encodings(encoding):
    problems = Problems()
    content = "1,2,9,2,9,8,1,8,出口\r\n"
    assert decode_text(content.encode(encoding), "a.txt", problems) == content
    assert problems.count("files without UTF-8 that were read as GBK") == (encoding == "gbk")


def test_unknown_encoding():
    problems = Problems()
    content = decode_text("1,2,9,2,9,8,1,8,Café für ñ\n".encode("latin-1"), "a.txt", problems)
    assert content.startswith("1,2,9,2,9,8,1,8,Caf")
    assert problems.count("files with letters in an unknown encoding; save them as UTF-8") == 1


@pytest.mark.parametrize("prefix", ["", "gt_"])
def test_icdar_2013_folders(tmp_path, prefix):
    for part in ("Training", "Test"):
        for number in (1, 2):
            picture(tmp_path / f"Challenge2_{part}_Task12_Images" / f"{number}.jpg")
            text(tmp_path / f"Challenge2_{part}_Task1_GT" / f"{prefix}{number}.txt", f'{number} 2 9 8 "a"\n')
    folder = Folder(tmp_path)
    recognised = recognise(folder)
    assert recognised.reason == f"Challenge2_Test_Task1_GT/{prefix}1.txt has lines of the form 'spaced boxes'"
    entries = read_entries(folder, recognised, Problems())
    assert {(entry.name, entry.part, entry.quads[0][0][0]) for entry in entries} == {
        (f"Challenge2_{name}_Task12_Images/{number}.jpg", part, number)
        for name, part in (("Training", "train"), ("Test", "test"))
        for number in (1, 2)
    }
    assert len(read_entries(folder, recognised, Problems(), "test")) == 2


def test_an_image_without_a_readable_line_is_left_out(tmp_path):
    for name, content in (("a", "1,2,9,2,9,8,1,8,x\n"), ("b", "1;2;3\n"), ("c", "")):
        picture(tmp_path / f"{name}.jpg")
        text(tmp_path / f"{name}.txt", content)
    folder, problems = Folder(tmp_path), Problems()
    assert [entry.name for entry in read_entries(folder, recognise(folder), problems)] == ["a.jpg", "c.jpg"]
    assert problems.count("images whose annotation has no readable line, left out") == 1
    (tmp_path / "a.jpg").unlink()
    with pytest.raises(UserError, match="no annotation in a known format"):
        recognise(Folder(tmp_path / "b.jpg"))


def test_real_files_are_quads(real_data):
    for name in ("icdar2015", "mlt2017_latin", "icdar2003"):
        files = sorted((real_data / name / "ch4_training_localization_transcription_gt").glob("*.txt"))
        for file in files:
            lines = [line for _, line in split_lines(file.read_bytes().decode("utf-8-sig"))]
            assert recognise_form(lines) == "quads", file


PERFECT = {
    "polygons": (f"{POLYGON},HELLO\n1,2,9,2,9,8,1,8,###\n", "10,36,30,36,30,50,10,50\n"),
    "script": ("1,2,9,2,9,8,1,8,Latin,Cafe\n20,2,29,2,29,8,20,8,Latin,###\n", "1,2,9,2,9,8,1,8\n"),
    "boxes": ('38, 43, 920, 215, "Tiredness"\n1, 2, 9, 8, "###"\n', "38,43,920,43,920,215,38,215\n"),
    "spaced quads": ("38 43 920 50 915 215 35 210 Tired\n", "38,43,920,50,915,215,35,210\n"),
    "spaced boxes": ('38 43 920 215 "Tiredness"\n', "38,43,920,43,920,215,38,215\n"),
}


@pytest.mark.parametrize("form", PERFECT)
def test_stand_alone_evaluation_reads_the_same_forms(tmp_path, form, run_script):
    truth, results = PERFECT[form]
    text(tmp_path / "gt" / "gt_img_1.txt", truth)
    text(tmp_path / "results" / "res_img_1.txt", results)
    output = run_script("-m", "tools.evaluate", "--gt", tmp_path / "gt", "--results", tmp_path / "results").stdout
    assert "hmean      1.0000" in output
    assert "1 of 1 words matched" in output
    assert ("1 polygons, replaced by the smallest rectangle" in output) == (form == "polygons")


def test_stand_alone_evaluation_stays_strict(tmp_path, refuses):
    text(tmp_path / "results" / "res_img_1.txt", "1,2,9,2,9,8,1,8\n")
    for line, part in (
        ("1,2,9,2,9,8,x", "expected"),
        ("1,8,9,8,9,2,1,2,a", "anticlockwise"),
        ("1;2", "expected x1,y1"),
    ):
        text(tmp_path / "gt" / "gt_img_1.txt", f"1,2,9,2,9,8,1,8,a\n1,2,9,2,9,8,1,8,b\n{line}\n")
        parts = ["gt_img_1.txt:3", part]
        refuses("-m", "tools.evaluate", "--gt", tmp_path / "gt", "--results", tmp_path / "results", parts=parts)
