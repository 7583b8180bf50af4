"""Malformed files of each format: one clear line or a counted problem, never a traceback."""

import random
import shutil
from pathlib import Path

import numpy as np
import pytest

from datasets import SampleDataset
from tests.data.formats import samples
from tests.helpers import convert
from utils.data.formats.folder import Folder
from utils.data.formats.registry import FORMATS, Recognised, read_entries, recognise
from utils.data.problems import Problems
from utils.errors import UserError


def _txt(root: Path) -> None:
    samples.picture(root / "a.jpg")
    samples.text(root / "a.txt", "1,2,9,2,9,8,1,8,Latin,x\n20,2,29,2,29,8,20,8,None,###\n1,2,9,2,9,8,1,8,Latin,5,6\n")


def _gt_mat(root: Path) -> None:
    _txt(root / "source")
    convert(root / "source", root / "out", copy=True, to="gt.mat")
    (root / "out" / "train" / "gt.mat").rename(root / "gt.mat")
    (root / "out" / "train" / "a.jpg").rename(root / "a.jpg")
    shutil.rmtree(root / "source")


SAMPLES = {
    "txt": (_txt, "a.txt"),
    "gt.mat": (_gt_mat, "gt.mat"),
    "labelme": (samples.labelme, "a.json"),
    "cvat": (samples.cvat, "annotations.xml"),
    "cvat video": (samples.cvat_video, "annotations.xml"),
    "coco": (samples.coco, "annotations/instances_train.json"),
    "cocotext": (samples.cocotext, "cocotext.v2.json"),
    "textocr": (samples.textocr, "TextOCR_0.1_train.json"),
    "hiertext": (samples.hiertext, "gt/train.jsonl"),
    "ppocrlabel": (samples.ppocrlabel, "Label.txt"),
    "yolo": (samples.yolo, "labels/train/a.txt"),
    "yolo names": (samples.yolo, "data.yaml"),
    "totaltext": (samples.totaltext, "Groundtruth/Polygon/Train/poly_gt_img1.txt"),
    "totaltext mat": (samples.totaltext_mat, "Groundtruth/Polygon/Test/poly_gt_img1.mat"),
    "td500": (samples.td500, "train/IMG_0059.gt"),
    "icdar2003": (samples.icdar2003, "words.xml"),
    "svt": (samples.svt, "train.xml"),
}
MUTATIONS = 50
WORDS = rb"""null [] {} "x" -1 1e400 NaN Infinity true <a> \ud800 ../../../etc/passwd x,y ;;""".split()
WORDS += [b"9" * 400, b"\0", b"\xff", b"[" * 2000, b"\n", b"\t"]


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Bytes exchanged, cut out or repeated; values replaced by what they should not be."""
    data = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 5])):
        start = rng.randrange(len(data) + 1)
        end = min(len(data), start + rng.choice([0, 1, 2, 8, 30]))
        kind = rng.randrange(4)
        if kind == 0:
            data[start:end] = rng.choice(WORDS)
        elif kind == 1:
            data[start:end] = bytes(rng.randrange(256) for _ in range(end - start))
        elif kind == 2:
            del data[start:end]
        else:
            numbers = [place for place in range(len(data)) if chr(data[place]).isdigit()]
            if numbers:
                place = rng.choice(numbers)
                data[place : place + 1] = rng.choice(WORDS)
    return bytes(data[: rng.choice([len(data), len(data), rng.randrange(len(data) + 1)])])


def check(root: Path, name: str) -> None:
    """Read as recognised, and as the sample's own format: entries of the right shapes or one `UserError`."""
    folder = Folder(root)
    own = {"textocr": "cocotext", "svt": "icdar2003"}.get(name, name.split()[0])

    file = root / SAMPLES[name][1]
    attempts = [lambda: recognise(folder), lambda: Recognised(FORMATS[own], [file], "")]
    for attempt in attempts if file.suffix != ".yaml" else attempts[:1]:
        problems = Problems()
        try:
            entries = read_entries(folder, attempt(), problems)
        except UserError as error:
            assert str(root) in str(error)
            continue
        for entry in entries:
            assert entry.quads.shape == (len(entry.texts), 4, 2)
            assert entry.ignored.shape == (len(entry.texts),)
            assert entry.quads.dtype.kind == "f"
            assert (root / entry.name).is_file()
            assert not any("\n" in text for text in entry.texts)
            "".join(entry.texts).encode()


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.filterwarnings("ignore")
def test_mutated_files(tmp_path, name, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sample, file = SAMPLES[name]
    sample(tmp_path)
    content = (tmp_path / file).read_bytes()
    for seed in range(MUTATIONS):
        (tmp_path / file).write_bytes(mutate(content, random.Random(f"{name} {seed}")))
        try:
            check(tmp_path, name)
        except Exception:
            shutil.copy(tmp_path / file, tmp_path / "failed")
            print(f"seed {seed}: {(tmp_path / file).read_bytes()!r}")
            raise


@pytest.mark.parametrize("encoding", ["f-8", "utf-7", "rot13", "hex", "idna", "utf-16"])
def test_odd_encodings_of_xml(tmp_path, encoding):
    samples.cvat(tmp_path)
    file = tmp_path / "annotations.xml"
    file.write_bytes(file.read_bytes().replace(b'encoding="utf-8"', f'encoding="{encoding}"'.encode()))
    check(tmp_path, "cvat")


def one_line(root: Path, name: str | None = None) -> str:
    """The message of the error, or the only problem, of a folder."""
    folder, problems = Folder(root), Problems()
    try:
        read_entries(folder, recognise(folder, name), problems)
    except UserError as error:
        assert "\n" not in str(error)
        return str(error)
    ((kind, _, example),) = [row for row in problems.rows() if "polygons" not in row[0]]
    return f"{kind}: {example}"


CASES = [
    ("coco", '{"images": [], "annotations": 5}', "cannot be read as coco: it has no list 'annotations'"),
    ("coco", '{"images": [{"file_name"', "instances_train.json: cannot be read as coco: not a JSON document"),
    ("cocotext", '{"imgs": [], "anns": {}}', "it has no objects 'imgs' and 'anns'"),
    ("hiertext", '{"paragraphs": 1}', "gt/train.jsonl: cannot be read as hiertext: it has no list 'annotations'"),
    ("cvat", "<annotations><image name='a.jpg'>", "annotations.xml: cannot be read as cvat: not a whole XML document"),
    ("ppocrlabel", "a.jpg\t[{", "Label.txt:1: not a JSON document"),
    ("svt", "<tagset><image><imageName>x", "train.xml: cannot be read as icdar2003: not a whole XML document"),
]


@pytest.mark.parametrize(("name", "content", "expected"), CASES)
def test_a_file_that_cannot_be_read(tmp_path, name, content, expected):
    sample, file = SAMPLES[name]
    sample(tmp_path)
    for other in (tmp_path / file).parent.glob(f"*{(tmp_path / file).suffix}"):
        other.unlink()
    (tmp_path / file).write_text(content)
    assert expected in one_line(tmp_path)


ENTRIES = [
    ("labelme", '"points": 5', "a.json: shapes[0]: points 5; expected a list of [x, y]"),
    ("coco", '"bbox": [1, 2, "x", 4]', "annotations[0]: [1, 2, 'x', 4]; expected 4 numbers"),
    ("ppocrlabel", '"points": [[1, 2], [3]]', "Label.txt:1: word 0: points [[1, 2], [3]]; expected a list of [x, y]"),
]


@pytest.mark.parametrize(("name", "change", "expected"), ENTRIES)
def test_a_malformed_entry_is_left_out(tmp_path, name, change, expected):
    sample, file = SAMPLES[name]
    sample(tmp_path)
    key = change.split(":")[0]
    before, _, after = (tmp_path / file).read_text().partition(f"{key}: [")
    depth, rest = 1, after
    while depth:
        depth += {"[": 1, "]": -1}.get(rest[0], 0)
        rest = rest[1:]
    (tmp_path / file).write_text(before + change + rest)
    folder, problems = Folder(tmp_path), Problems()
    entries = read_entries(folder, recognise(folder), problems)
    assert sum(len(entry.quads) for entry in entries) > 0
    assert any(expected in example for _, _, example in problems.rows()), str(problems)


def test_lines_of_numbers(tmp_path):
    samples.td500(tmp_path / "td500")
    (tmp_path / "td500" / "train" / "IMG_0059.gt").write_text("0 0 5 6 30 10 0\n1 0 5 6 x 10 0\n1 2 3\n")
    folder, problems = Folder(tmp_path / "td500"), Problems()
    read_entries(folder, recognise(folder), problems, "train")
    ((kind, count, example),) = problems.rows()
    assert (kind, count) == ("malformed entries, left out", 2)
    assert example.endswith("IMG_0059.gt: line 2: ['1', '0', '5', '6', 'x', '10', '0']; expected numbers")
    samples.yolo(tmp_path / "yolo")
    (tmp_path / "yolo" / "labels" / "train" / "a.txt").write_text("0 0.5 0.5 0.2 0.2\n0 50 50 20 20\n0.5 1 1 1 1\n")
    folder, problems = Folder(tmp_path / "yolo"), Problems()
    entries = read_entries(folder, recognise(folder, "yolo"), problems, "train")
    assert sum(len(entry.quads) for entry in entries) == 1
    assert problems.rows()[0][2].endswith("a.txt: line 2: '0 50 50 20 20'; expected coordinates from 0 to 1")


def test_numbers_beyond_any_picture_are_left_out_later(tmp_path):
    samples.ppocrlabel(tmp_path)
    label = tmp_path / "Label.txt"
    label.write_text(label.read_text().replace("[40, 10]", "[1e400, NaN]").replace("b.png", "missing.png"))
    dataset = SampleDataset(tmp_path)
    assert np.isfinite(dataset.annotations.quads).all()
    assert dataset.problems.count("words with corners that are no numbers, left out") == 1
