"""What is written is read back: texts, don't-cares and coordinates, where the format can say them."""

import json
from pathlib import Path

import numpy as np
import pytest

from datasets import SampleDataset
from tests.data.formats import samples
from tests.data.formats.samples import picture, text
from tests.helpers import convert
from tools.convert import WRITTEN
from utils.data.formats.entries import Entry
from utils.data.formats.folder import Folder
from utils.data.formats.registry import read_entries, recognise
from utils.data.problems import Problems
from utils.errors import UserError

LINES = {
    "a.jpg": ["10,10,50,10,50,30,10,30,plain", "1.5,2.25,20,2,20,9,1,9,a, comma,", "60,5,90,5,90,20,60,20,###"],
    "b.png": [],
    "deep/c d.jpg": ["0.1,0.2,30.7,0.2,30.7,9.3,0.1,9.3,слово 字 \U0001f600", "1,1,5,1,5,5,1,5,<&\"'>"],
    "e.jpg": ["-3,4,33,4,33,20,-3,20,  two  words", "1,1,5,1,5,5,1,5,ignore", "1,1,5,1,5,5,1,5,"],
}


@pytest.fixture
def source(tmp_path) -> Path:
    folder = tmp_path / "source"
    for part in ("train", "test"):
        for name, lines in LINES.items():
            image = picture(folder / f"{part}_images1" / name)
            stem = image.relative_to(folder / f"{part}_images1").with_suffix(".txt")
            text(folder / f"sample_{part}_annotation_txt" / stem, "".join(f"{line}\n" for line in lines))
    return folder


def contents(folder: Path, expected: str) -> dict[tuple, Entry]:
    """The entries by part and by name without the format's own folders."""
    recognised = recognise(Folder(folder))
    assert recognised.format.name == expected
    entries = read_entries(Folder(folder), recognised, Problems())
    known = {name: name for name in LINES}
    return {(entry.part, next(name for name in known if entry.name.endswith(name))): entry for entry in entries}


@pytest.mark.parametrize("to", WRITTEN)
def test_round_trip(source, tmp_path, to):
    counts, problems = convert(source, tmp_path / "out", to=to)
    assert counts == {"train": 4, "test": 4}
    before, after = contents(source, "txt"), contents(tmp_path / "out", to)
    assert after.keys() == before.keys()
    for key, entry in before.items():
        assert np.array_equal(after[key].quads.astype(np.float32), entry.quads.astype(np.float32)), key
        assert after[key].ignored.tolist() == entry.ignored.tolist()
        if to != "yolo":
            assert after[key].texts == entry.texts
    kinds = {kind for kind, _, _ in problems.rows()}
    if to == "yolo":
        assert kinds == {
            "texts of words, which YOLO's format does not have",
            "don't-care words, written as the class 'ignore'",
        }
    else:
        assert not kinds


@pytest.mark.parametrize("to", WRITTEN)
@pytest.mark.parametrize("label", ["{folder}/{stem}.txt", "../labels/train/{folder}/{stem}.txt"])
def test_round_trip_of_folders_with_the_same_names(tmp_path, to, label):
    """a/1.jpg, b/1.jpg, c/1.jpg, each with a word of its own; also images/train/a/1.jpg with labels/train/a/1.txt."""
    images = tmp_path / "in" / "images" / "train" if ".." in label else tmp_path / "in"
    (tmp_path / "in" / "labels" / "train").mkdir(parents=True)
    tops = {}
    for folder in "abc":
        for stem in "123":
            top = tops[f"{folder}/{stem}.jpg"] = 2 * len(tops) + 2
            picture(images / folder / f"{stem}.jpg")
            file = images.parent / label.removeprefix("../") if ".." in label else images / label
            text(Path(str(file).format(folder=folder, stem=stem)), f"5,{top},30,{top},30,{top + 9},5,{top + 9},x\n")
    assert convert(tmp_path / "in", tmp_path / "out", to=to)[0] == (
        {"train": 9} if ".." in label else {"train": 8, "test": 1}
    )
    folder = Folder(tmp_path / "out")
    entries = read_entries(folder, recognise(folder, to), Problems())
    found = {"/".join(entry.name.split("/")[-2:]): entry.quads[:, 0, 1].round(3).tolist() for entry in entries}
    assert found == {name: [top] for name, top in tops.items()}


@pytest.mark.parametrize("to", WRITTEN)
def test_both_ways_train_on_the_same_words(source, tmp_path, to):
    convert(source, tmp_path / "out", copy=True, to=to)
    before = SampleDataset(source).annotations
    after = SampleDataset(tmp_path / "out").annotations
    order = sorted(range(4), key=lambda number: before.names[number].split("/")[-1])
    other = sorted(range(4), key=lambda number: after.names[number].split("/")[-1])
    for one, two in zip(order, other, strict=True):
        assert np.array_equal(before.words(one).quads, after.words(two).quads)
        assert before.words(one).ignored.tolist() == after.words(two).ignored.tolist()


@pytest.mark.parametrize("to", WRITTEN)
@pytest.mark.parametrize("sample", [samples.labelme, samples.cvat, samples.coco, samples.ppocrlabel, samples.td500])
def test_from_one_format_to_another(tmp_path, sample, to):
    sample(tmp_path / "source")
    folder = Folder(tmp_path / "source")
    before = {entry.name.split("/")[-1]: entry for entry in read_entries(folder, recognise(folder), Problems())}
    counts, _ = convert(tmp_path / "source", tmp_path / "out", to=to)
    assert sum(counts.values()) == len(before)
    folder = Folder(tmp_path / "out")
    after = {entry.name.split("/")[-1]: entry for entry in read_entries(folder, recognise(folder), Problems())}
    assert after.keys() == before.keys()
    for name, entry in before.items():
        assert np.allclose(after[name].quads, entry.quads, atol=1e-5)
        assert after[name].ignored.tolist() == entry.ignored.tolist()


def test_losses_are_counted(tmp_path):
    samples.ppocrlabel(tmp_path / "source")
    label = tmp_path / "source" / "Label.txt"
    label.write_text(label.read_text().replace('"HELLO, 字"', '"*"'))
    _, problems = convert(tmp_path / "source", tmp_path / "out", to="txt")
    assert problems.count("texts of don't-care words, written as ###") == 2
    lines = next((tmp_path / "out").rglob("a.txt")).read_text().splitlines()
    assert [line.split(",", 8)[8] for line in lines] == ["###", "###", "###", "long"]


def test_cvat_texts_without_control_characters(tmp_path):
    picture(tmp_path / "source" / "a.jpg")
    text(tmp_path / "source" / "a.txt", "1,1,5,1,5,5,1,5,bell\x07\n")
    _, problems = convert(tmp_path / "source", tmp_path / "out", to="cvat")
    assert problems.count("texts with control characters, which XML cannot have: removed") == 1


def test_written_files_are_as_the_tools_have_them(source, tmp_path):
    convert(source, tmp_path / "labelme", to="labelme")
    document = json.loads((tmp_path / "labelme" / "train" / "a.json").read_text())
    assert document["imagePath"] == "a.jpg"
    assert (document["imageHeight"], document["imageWidth"]) == (samples.HEIGHT, samples.WIDTH)
    assert {shape["shape_type"] for shape in document["shapes"]} == {"polygon"}
    convert(source, tmp_path / "yolo", to="yolo")
    label = (tmp_path / "yolo" / "labels" / "train" / "a.txt").read_text().splitlines()
    assert label[0] == "0 0.125 0.166666666667 0.625 0.166666666667 0.625 0.5 0.125 0.5"
    assert (tmp_path / "yolo" / "data.yaml").read_text().splitlines()[-2:] == ["  0: text", "  1: ignore"]
    convert(source, tmp_path / "ppocr", to="ppocrlabel")
    line = (tmp_path / "ppocr" / "train" / "Label.txt").read_text().splitlines()[0]
    assert line.startswith("train/a.jpg\t[{")


def test_words_that_ultralytics_refuses_are_counted(tmp_path):
    picture(tmp_path / "source" / "a.jpg")
    text(tmp_path / "source" / "a.txt", "-3,4,33,4,33,20,-3,20,a\n-30,4,3,4,3,20,-30,20,b\n-1,4,85,4,85,20,-1,20,c\n")
    _, problems = convert(tmp_path / "source", tmp_path / "out", to="yolo")
    assert problems.count("words for which Ultralytics refuses the image: centre outside") == 2


def test_a_used_folder_is_refused(source, tmp_path, refuses):
    (tmp_path / "out").mkdir()
    convert(source, tmp_path / "out")
    with pytest.raises(UserError, match="there is something in it already"):
        convert(source, tmp_path / "out")
    refuses("-m", "tools.convert", source, tmp_path / "new", "--to", "voc", parts=["--to", "voc"])


def test_two_images_of_one_name_are_refused(tmp_path):
    for place in ("train/a.jpg", "training/a.jpg"):
        picture(tmp_path / "source" / place)
        text((tmp_path / "source" / place).with_suffix(".txt"), "1,1,5,1,5,5,1,5,x\n")
    with pytest.raises(UserError, match=r"train/a\.jpg and training/a\.jpg would share the name a\.jpg"):
        convert(tmp_path / "source", tmp_path / "out")
    with pytest.raises(UserError, match="would share one yolo file"):
        convert(tmp_path / "source", tmp_path / "yolo", to="yolo")
