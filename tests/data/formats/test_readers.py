"""Each format's file, as its tool or data set writes it, is recognised and read to exact quads."""

import gzip

import numpy as np
import pytest

from tests.data.formats import samples
from tests.data.formats.samples import AROUND_HEXAGON, QUAD, TURNED, box, picture, text
from utils.data.formats.entries import Entry
from utils.data.formats.folder import Folder
from utils.data.formats.registry import read_entries, recognise
from utils.data.formats.yolo import ignored_classes
from utils.data.problems import Problems
from utils.errors import UserError

POLYGONS = "polygons of other than four corners, replaced by the smallest rectangle around each"
MALFORMED = "malformed entries, left out"
MISSING = "annotations whose image is missing, left out"


def read(root, expected: str) -> tuple[dict[str, Entry], Problems]:
    problems, folder = Problems(), Folder(root)
    recognised = recognise(folder)
    assert recognised.format.name == expected
    assert recognised.reason
    return {entry.name: entry for entry in read_entries(folder, recognised, problems)}, problems


def check(entry: Entry, quads: list, texts: list[str], ignored: list[int], part: str | None = None) -> None:
    assert np.allclose(entry.quads, np.array(quads).reshape(-1, 4, 2), atol=1e-5), entry.quads.tolist()
    assert entry.texts == texts
    assert entry.ignored.tolist() == [bool(mark) for mark in ignored]
    assert entry.part == part


def test_labelme(tmp_path):
    samples.labelme(tmp_path)
    entries, problems = read(tmp_path, "labelme")
    turned = [[10, 40], [30, 34], [33, 44], [13, 50]]
    quads = [box(5, 6, 35.5, 16.25), QUAD, turned, QUAD, QUAD]
    check(entries["a.jpg"], quads, ["HELLO", "wörld, 字", "turned", "###", "text"], [0, 0, 0, 1, 1])
    assert problems.rows() == [(MALFORMED, 1, f"{tmp_path}/a.json: shapes[4]: shape_type 'circle' with 2 points; "
                                              "expected polygon, rectangle or rotation")]  # fmt: skip


def test_labelme_finds_images_by_path_and_by_name(tmp_path):
    samples.labelme(tmp_path / "json")
    (tmp_path / "images").mkdir()
    (tmp_path / "json" / "a.jpg").rename(tmp_path / "images" / "a.jpg")
    document = (tmp_path / "json" / "a.json").read_text()
    for path in ("../images/a.jpg", r"..\\images\\a.jpg", "/home/somebody/photos/a.jpg", "a.jpg"):
        (tmp_path / "json" / "a.json").write_text(document.replace('"a.jpg"', f'"{path}"'))
        assert list(read(tmp_path, "labelme")[0]) == ["images/a.jpg"]


def test_cvat_for_images(tmp_path):
    samples.cvat(tmp_path)
    entries, problems = read(tmp_path, "cvat")
    check(entries["images/a.jpg"], [TURNED, QUAD, AROUND_HEXAGON], ["HELLO", "wörld & 字", ""], [0, 0, 1])
    check(entries["images/b.png"], [], [], [])
    assert problems.count(POLYGONS) == 1
    assert problems.count(MALFORMED) == 1


def test_cvat_for_video_interpolates(tmp_path):
    samples.cvat_video(tmp_path)
    entries, _ = read(tmp_path, "cvat")
    frames = {int(name[-10:-4]): entry for name, entry in entries.items()}
    assert sorted(frames) == [0, 2, 4, 5, 7, 9]
    check(frames[2], [box(14, 6, 24, 16)], [""], [0])  # from 350 to 10 degrees the shorter way: 0
    assert np.allclose(frames[0].quads[0].mean(0), (15, 11))
    across, down = np.diff(frames[0].quads[0], axis=0)[:2]
    assert np.degrees(np.arctan2(across[1], across[0])) == pytest.approx(-10)
    assert np.hypot(*down) == pytest.approx(10)
    assert np.allclose(frames[5].quads[0].mean(0), (23, 11))  # still visible, outside from 6 on
    check(frames[7], [box(4, 0, 14, 10)], ["B"], [1])
    check(frames[9], [], [], [])  # the task has nine frames, 0 to 8
    half = frames[5].quads[1]
    assert half.tolist() == box(0, 0, 10, 10)


def test_cvat_tracks_between_two_polygons(tmp_path):
    samples.cvat_video(tmp_path)
    picture(tmp_path / "images" / "frame_000006.png")
    entries, _ = read(tmp_path, "cvat")
    check(entries["images/frame_000006.png"], [box(2, 0, 12, 10)], ["B"], [1])


def test_coco(tmp_path):
    samples.coco(tmp_path)
    entries, problems = read(tmp_path, "coco")
    quads = [TURNED, QUAD, AROUND_HEXAGON, box(1, 2, 4.5, 6)]
    check(entries["images/train/a.jpg"], quads, ["HELLO", "wörld, 字", "", ""], [0, 0, 1, 1], "train")
    check(entries["images/val/b.png"], [], [], [], "test")
    assert [kind for kind, _, _ in problems.rows()] == [POLYGONS]


def test_cocotext(tmp_path):
    samples.cocotext(tmp_path)
    entries, problems = read(tmp_path, "cocotext")
    check(entries["train2014/COCO_train2014_train.jpg"], [QUAD, box(1, 2, 4, 6)], ["New", ""], [0, 1], "train")
    check(entries["train2014/COCO_train2014_val.jpg"], [box(1, 2, 9, 8)], ["v"], [0], "test")
    assert not problems


def test_textocr(tmp_path):
    samples.textocr(tmp_path)
    entries, problems = read(tmp_path, "cocotext")
    check(entries["train_images/0a1b.jpg"], [QUAD, box(1, 2, 10, 10)], ["Performance", "."], [0, 1], "train")
    assert not problems


@pytest.mark.parametrize("packed", [False, True])
def test_hiertext(tmp_path, packed):
    samples.hiertext(tmp_path)
    if packed:
        file = tmp_path / "gt" / "train.jsonl"
        file.with_suffix(".jsonl.gz").write_bytes(gzip.compress(file.read_bytes()))
        file.unlink()
    entries, problems = read(tmp_path, "hiertext")
    quads = [QUAD, box(1, 2, 9, 8), box(40, 40, 60, 50), box(2, 40, 20, 50)]
    check(entries["train/0d3f.jpg"], quads, ["Cafe", "", "", ""], [0, 1, 1, 1], "train")
    check(entries["validation/77aa.jpg"], [], [], [], "test")
    assert not problems


def test_ppocrlabel(tmp_path):
    samples.ppocrlabel(tmp_path)
    entries, problems = read(tmp_path, "ppocrlabel")
    quads = [QUAD, box(1, 2, 9, 8), box(1, 2, 9, 8), AROUND_HEXAGON]
    check(entries["a.jpg"], quads, ["HELLO, 字", "待识别", "###", "long"], [0, 1, 1, 0])
    check(entries["b.png"], [], [], [])
    assert problems.rows() == [(POLYGONS, 1, f"{tmp_path}/Label.txt:1: 6 corners")]


def test_yolo(tmp_path):
    samples.yolo(tmp_path)
    entries, problems = read(tmp_path, "yolo")
    check(entries["images/train/a.jpg"], [QUAD, box(0, 12, 40, 18)], ["", ""], [0, 1], "train")
    check(entries["images/train/b.png"], [], [], [], "train")
    check(entries["images/val/c.jpg"], [box(5, 6, 35, 16)], [""], [0], "test")
    assert problems.rows() == [("images without a label file, used as images without words", 1, "images/train/b.png")]


@pytest.mark.parametrize(
    ("yaml", "ignored"),
    [
        ("names: ['dontcare', text]", [0]),
        ("names: {0: text, 1: '###'}\nnc: 2", [1]),
        ("nc: 3\nnames:\n- text  # words\n- Ignore\n\npath: .", [1]),
        ("names:\n    0: text\n    # a comment\n    5: don't care\ntrain: images", [5]),
        ("names: text", []),
        ("", []),
    ],
)
def test_yolo_class_names(tmp_path, yaml, ignored):
    text(tmp_path / "data.yaml", yaml)
    assert sorted(ignored_classes(Folder(tmp_path))) == ignored


@pytest.mark.parametrize(("sample", "part"), [(samples.totaltext, "Train"), (samples.totaltext_mat, "Test")])
def test_totaltext(tmp_path, sample, part):
    sample(tmp_path)
    entries, problems = read(tmp_path, "totaltext")
    quads = [QUAD, AROUND_HEXAGON, box(1, 2, 9, 8)]
    check(
        entries[f"Images/{part}/img1.jpg"],
        quads,
        ["CONNOISSENR", "It's", "#"],
        [0, 0, 1],
        {"Train": "train", "Test": "test"}[part],
    )
    assert [kind for kind, _, _ in problems.rows()] == [POLYGONS]


def test_td500(tmp_path):
    samples.td500(tmp_path)
    entries, problems = read(tmp_path, "td500")
    check(entries["train/IMG_0059.JPG"], [TURNED, box(40, 40, 60, 50)], ["", ""], [0, 1], "train")
    check(entries["test/IMG_0060.JPG"], [box(5, 6, 35, 16)], [""], [0], "test")
    assert not problems


def test_icdar2003_and_svt(tmp_path):
    samples.icdar2003(tmp_path / "ic03")
    entries, problems = read(tmp_path / "ic03", "icdar2003")
    check(entries["apanar_06.08.2002/IMG_1261.JPG"], [box(5, 6, 35, 16)], ["self"], [0])
    samples.svt(tmp_path / "svt")
    entries, others = read(tmp_path / "svt", "icdar2003")
    check(entries["img/14_03.jpg"], [box(5, 6, 35, 16)], ["LIVING"], [0], "train")
    check(entries["img/14_04.jpg"], [box(5, 6, 35, 16)], ["LIVING"], [0], "test")
    assert not problems
    assert not others


def test_an_image_gets_no_words_of_another_folders_image(tmp_path):
    """B/5.jpg is missing, and A/5.jpg has no annotation."""
    for folder in ("A", "B"):
        for number in (1, 2, 5):
            picture(tmp_path / folder / f"{number}.jpg")
            text(tmp_path / folder / f"{number}.txt", f"1,{number},9,{number},9,{number + 9},1,{number + 9},x\n")
    (tmp_path / "A" / "5.txt").unlink()
    (tmp_path / "B" / "5.jpg").unlink()
    entries, problems = read(tmp_path, "txt")
    assert sorted(entries) == ["A/1.jpg", "A/2.jpg", "B/1.jpg", "B/2.jpg"]
    assert problems.count(MISSING) == 1
    assert problems.count("images without annotation, left out") == 1


@pytest.mark.parametrize(
    ("image", "file", "found"),
    [
        ("images/train/a/1.jpg", "labels_txt/train/a/gt_1.txt", True),
        ("images/train/a/1.jpg", "labels_txt/train/b/gt_1.txt", False),
        ("images/train/1.jpg", "labels_txt/val/1.txt", False),
        ("a/images/1.jpg", "a/gt/1.txt", True),
        ("a/images/1.jpg", "b/gt/1.txt", False),
        ("walk/1.jpg", "notes/1.txt", True),
        ("walk/a/1.jpg", "notes/a/1.txt", True),
        ("walk/a/1.jpg", "notes/b/1.txt", False),
        ("train_images1/1.jpg", "sample_train_annotation_txt/1.txt", True),
        ("train_1/1.jpg", "train_2/1.txt", False),
        ("1.jpg", "notes/1.txt", True),
        ("pics/1.jpg", "1.txt", True),
        ("walk/c/1.jpg", "walk/1.txt", True),
        ("walk/b/c/1.jpg", "walk/b/1.txt", False),
    ],
)
def test_folders_of_an_image_and_its_annotation(tmp_path, image, file, found):
    picture(tmp_path / image)
    for other in ("b/images/2.jpg", "images/train/b/2.jpg", "images/val/2.jpg", "walk/b/2.jpg", "train_2/2.jpg"):
        picture(tmp_path / other)
    text(tmp_path / file, "")
    assert Folder(tmp_path).find_stem("1", tmp_path / file) == (image if found else None)


def test_what_is_missing_is_counted(tmp_path):
    samples.ppocrlabel(tmp_path)
    (tmp_path / "b.png").unlink()
    picture(tmp_path / "c.jpg")
    _, problems = read(tmp_path, "ppocrlabel")
    assert problems.count(MISSING) == 1
    assert problems.count("images without annotation, left out") == 1


def test_an_image_with_two_annotations_counts_once(tmp_path):
    samples.ppocrlabel(tmp_path)
    text(tmp_path / "train.txt", (tmp_path / "Label.txt").read_text())
    entries, problems = read(tmp_path, "ppocrlabel")
    assert sorted(entries) == ["a.jpg", "b.png"]
    assert problems.count("images with two annotations, the first one used") == 2


@pytest.mark.parametrize("encode", [lambda data: b"\xef\xbb\xbf" + data, lambda data: data.decode().encode("utf-16")])
@pytest.mark.parametrize("sample", [samples.yolo, samples.td500, samples.totaltext])
def test_files_as_a_windows_editor_saves_them(tmp_path, sample, encode):
    """With a byte order mark, CRLF and an uppercase suffix: the same words."""
    sample(tmp_path)
    name = sample.__name__
    before, _ = read(tmp_path, name)
    for file in [path for suffix in ("txt", "gt", "yaml") for path in tmp_path.rglob(f"*.{suffix}")]:
        data = file.read_bytes().replace(b"\n", b"\r\n")
        file.unlink()
        file.with_suffix(file.suffix.upper()).write_bytes(encode(data))
    after, _ = read(tmp_path, name)
    assert after.keys() == before.keys()
    for image, entry in before.items():
        check(after[image], entry.quads.tolist(), entry.texts, entry.ignored.tolist(), entry.part)


def test_several_formats_in_one_folder(tmp_path):
    samples.labelme(tmp_path)
    text(tmp_path / "a.txt", "1,2,9,2,9,8,1,8,x\n")
    recognised = recognise(Folder(tmp_path))
    assert recognised.format.name == "labelme"
    assert recognised.others == ("txt",)
    assert recognise(Folder(tmp_path), "txt").format.name == "txt"


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("10,10,50,10,50,30,10,30,word", "txt"),
        ("0 0.1 0.1 0.5 0.1 0.5 0.3 0.1 0.3", "yolo"),
        ("0 0 10 10 40 20 0.0", "td500"),
        ("x: [[10 50 50 10]], y: [[10 10 30 30]], ornt: [u'h'], transcriptions: [u'word']", "totaltext"),
    ],
)
def test_the_first_files_may_be_empty(tmp_path, line, name):
    """Images without words: the format is recognised from the files that have some, or given by name."""
    labels = tmp_path / "labels" if name == "yolo" else tmp_path
    text(tmp_path / "README.txt", "ten lines about the data")
    for number in range(1, 26):
        picture(tmp_path / f"{number}.jpg")
        file = labels / {"td500": f"{number}.gt", "totaltext": f"gt_{number}.txt"}.get(name, f"{number}.txt")
        text(file, f"{line}\n" if number == 25 else "" if number % 2 else "\ufeff\r\n")
    entries, problems = read(tmp_path, name)
    assert {name: len(entry.quads) for name, entry in entries.items()} == {
        f"{number}.jpg": number == 25 for number in range(1, 26)
    }
    assert problems.count(MISSING) == 0
    if name != "totaltext":
        text(file, "")
        (tmp_path / "README.txt").unlink()
        with pytest.raises(UserError, match="no annotation in a known format"):
            recognise(Folder(tmp_path))
        entries = read_entries(Folder(tmp_path), recognise(Folder(tmp_path), name), Problems())
        assert [len(entry.quads) for entry in entries] == [0] * 25


def test_no_format(tmp_path):
    picture(tmp_path / "a.jpg")
    for name, message in ((None, "no annotation in a known format among 1 files"), ("cvat", "of the format cvat")):
        with pytest.raises(UserError, match=message):
            recognise(Folder(tmp_path), name)
    with pytest.raises(UserError, match=r"format voc: there is no such format; expected one of gt\.mat, cvat, "):
        recognise(Folder(tmp_path), "voc")
    with pytest.raises(UserError, match="no such file or folder"):
        Folder(tmp_path / "none")


def test_one_file_can_be_given(tmp_path):
    samples.coco(tmp_path)
    folder = Folder(tmp_path / "annotations" / "instances_train.json")
    assert folder.root == tmp_path / "annotations"
    recognised = recognise(folder)
    assert [file.name for file in recognised.files] == ["instances_train.json"]


@pytest.mark.parametrize("declaration", [
    '<!DOCTYPE annotations [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]>',
    '<!DOCTYPE annotations SYSTEM "file:///etc/passwd">',
])  # fmt: skip
def test_xml_entities_are_refused(tmp_path, declaration):
    samples.cvat(tmp_path)
    file = tmp_path / "annotations.xml"
    head, body = file.read_text().split("?>", 1)
    file.write_text(f"{head}?>{declaration}{body}")
    folder = Folder(tmp_path)
    with pytest.raises(UserError, match=r"annotations\.xml: cannot be read as cvat: it declares a document type"):
        read_entries(folder, recognise(folder), Problems())
