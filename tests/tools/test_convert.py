"""Own data: conversions without loss, frames of a video, statistics and sheets, the documented class."""

import shutil

import cv2
import numpy as np
import pytest
import scipy.io

from datasets import SampleDataset
from tests.helpers import convert, write_picture
from tools.extract_frames import read_frames
from utils.data.formats import txt
from utils.data.problems import Problems

LINES = {
    "a.jpg": ["10,10,50,10,50,30,10,30,plain", "1.5,2.25,20,2,20,9,1,9,a, comma,", "60,5,90,5,90,20,60,20,###"],
    "b.jpg": [],
    "deep/c d.jpg": ["0.1,0.2,30.7,0.2,30.7,9.3,0.1,9.3,слово 字 \U0001f600 ", "1,1,5,1,5,5,1,5,"],
    "e.png": ["-3,4,33,4,33,20,-3,20,  two  words"],
}


@pytest.fixture
def texts(tmp_path):
    folder = tmp_path / "texts"
    for part in ("train", "test"):
        for name, lines in LINES.items():
            image = write_picture(folder / f"{part}_images1" / name)
            text = folder / f"sample_{part}_annotation_txt" / image.relative_to(folder / f"{part}_images1")
            text.parent.mkdir(parents=True, exist_ok=True)
            text.with_suffix(".txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return folder


def contents(folder) -> dict:
    found = {}
    for text in sorted(folder.glob("sample_*_annotation_txt/**/*.txt")):
        entry, _ = txt.read_words(text, text.name, Problems())
        found[text.relative_to(folder).as_posix()] = entry.quads.tolist(), entry.ignored.tolist(), entry.texts
    return found


def test_txt_to_mat_and_back_loses_nothing(texts, tmp_path):
    counts, problems = convert(texts, tmp_path / "mat")
    assert counts == {"train": 4, "test": 4}
    assert not problems
    convert(tmp_path / "mat", tmp_path / "again")
    assert contents(tmp_path / "again") == contents(texts)
    assert len(contents(texts)) == 8
    same = tmp_path / "again" / "train_images1" / "deep" / "c d.jpg"
    assert same.read_bytes() == (texts / "train_images1" / "deep" / "c d.jpg").read_bytes()


def test_both_forms_give_the_same_words(texts, tmp_path):
    convert(texts, tmp_path / "mat", copy=True)
    before, after = SampleDataset(texts), SampleDataset(tmp_path / "mat")
    assert list(before.annotations.names) == list(after.annotations.names)
    assert np.array_equal(before.annotations.quads, after.annotations.quads)
    assert before.annotations.ignored.tolist() == after.annotations.ignored.tolist()
    assert after.annotations.ignored.sum() == 1


def test_synthtext_to_txt_and_back_keeps_every_bit(rendered, tmp_path):
    shutil.copytree(rendered / "synthtext", tmp_path / "mat" / "train")
    convert(tmp_path / "mat", tmp_path / "texts")
    convert(tmp_path / "texts", tmp_path / "again")
    first, second = (scipy.io.loadmat(tmp_path / name / "train" / "gt.mat") for name in ("mat", "again"))
    order = {cell.item(): number for number, cell in enumerate(second["imnames"][0])}
    assert len(order) == 20
    for number, name in enumerate(first["imnames"][0]):
        other = order[name.item()]
        box, same = first["wordBB"][0, number], second["wordBB"][0, other]
        assert box.dtype == same.dtype == np.float32
        assert np.array_equal(box, same)
        assert [text.strip() for text in first["txt"][0, number]] == [text.strip() for text in second["txt"][0, other]]


def test_a_true_file(real_data, tmp_path):
    counts, _ = convert(real_data / "synthtext_format" / "cyrillic3", tmp_path)
    assert counts == {"train": 3}
    found = contents(tmp_path)
    assert [len(quads) for quads, _, _ in found.values()] == [3, 1, 3]
    assert "word" not in [text for _, _, texts in found.values() for text in texts]


def test_the_photographs_keep_every_word(real_data, tmp_path):
    before = SampleDataset(real_data / "icdar2015").annotations
    convert(real_data / "icdar2015", tmp_path)
    after = SampleDataset(tmp_path).annotations
    assert np.array_equal(before.quads, after.quads)
    assert np.array_equal(before.ignored, after.ignored)


def test_convert_refuses(refuses, tmp_path, texts):
    refuses("-m", "tools.convert", tmp_path / "none", tmp_path / "out", parts=["there is no such file or folder"])
    refuses("-m", "tools.convert", texts, texts, parts=["it is the folder of the input", "give another path"])
    (texts / "gt.mat").write_bytes(b"MATLAB" * 40)
    refuses("-m", "tools.convert", texts / "gt.mat", tmp_path / "out", parts=["gt.mat: cannot be read"])


def test_frames_of_a_video(tmp_path, run_script, refuses):
    video = cv2.VideoWriter(str(tmp_path / "v.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))
    for number in range(11):
        video.write(np.full((48, 64, 3), 20 * number, np.uint8))
    video.release()
    problems = Problems()
    taken = list(read_frames(tmp_path / "v.avi", 5, problems))
    assert [number for number, _ in taken] == [0, 5, 10]
    assert taken[1][1].mean() == pytest.approx(100, abs=3)
    assert not problems
    run_script("-m", "tools.extract_frames", tmp_path / "v.avi", "--every", 4, "--out", tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").glob("[!.]*")) == [f"v_{n:06d}.jpg" for n in (0, 4, 8)]
    (tmp_path / "out" / "v_1_000006.jpg").touch()  # of a video v_1
    output = run_script(
        "-m", "tools.extract_frames", tmp_path / "v.avi", "--every", 8, "--out", tmp_path / "out"
    ).stdout
    assert f"2 frames of {tmp_path / 'v.avi'}; 1 of an earlier run stay" in output
    assert (tmp_path / "out" / "v_000004.jpg").exists()
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    refuses(
        "-m",
        "tools.extract_frames",
        tmp_path / "bad.mp4",
        "--out",
        tmp_path / "o",
        parts=["bad.mp4: no picture"],
    )
    refuses(
        "-m", "tools.extract_frames", tmp_path / "none.mp4", "--out", tmp_path / "o", parts=["none.mp4: No such file"]
    )


def test_a_damaged_frame_is_counted_and_reading_goes_on(tmp_path, run_script):
    """The data of one JPEG of a Motion-JPEG video are overwritten."""
    path = tmp_path / "v.avi"
    video = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))
    for number in range(9):
        video.write(np.full((48, 64, 3), 20 * number, np.uint8))
    video.release()
    data = bytearray(path.read_bytes())
    starts = [place for place in range(len(data) - 1) if data[place : place + 3] == b"\xff\xd8\xff"]
    assert len(starts) == 9
    data[starts[4] : starts[5] - 8] = bytes(starts[5] - 8 - starts[4])
    path.write_bytes(data)
    problems = Problems()
    taken = [number for number, _ in read_frames(path, 2, problems)]
    assert problems.count("frames unreadable, left out") == 1
    assert "v.avi: frame 4" in str(problems)
    assert taken == [0, 2, 6, 8]
    output = run_script("-m", "tools.extract_frames", path, "--every", 2, "--out", tmp_path / "out").stdout
    assert "out: 4 frames of" in output
    assert "1 frames unreadable, left out (e.g. " in output
