"""The scripts on several folders of different formats at once."""

import json
from pathlib import Path

import pytest

from tests.data.formats import samples
from utils.data.layouts import SampleFolder
from utils.errors import UserError
from utils.options.sample import sample_folders


@pytest.fixture
def folders(tmp_path) -> list[Path]:
    """Three formats, each with training and test images."""
    for sample in (samples.coco, samples.yolo, samples.td500):
        sample(tmp_path / sample.__name__)
    return [tmp_path / name for name in ("coco", "yolo", "td500")]


def test_training_and_testing(folders, tmp_path, run_script):
    samples_line = ["--train-folder-sample", *folders, "--sample-ratio", 4, 3, 2, "--format", "auto", "yolo", "auto"]
    line = ["--short-side", 64, "--crop", 96, "--batch-size", 4, "--epoch", 1, "--batches-before-train", 1]
    network = ["--width", 0.0625, "--backbone-weights", "none", "--ngpus", 0, "--num-workers", 0, "--amp", "off"]
    out = tmp_path / "out"
    process = run_script("train_sample.py", *samples_line, *line, *network, "--val", "--save-dir", out)
    assert "12 of 4 images" in process.stdout
    test = ["--test-folder-sample", *folders, "--pretrain-model", out / "last.pt", "--prune"]
    test += ["--ngpus", 0, "--num-workers", 0]
    run_script("test_sample.py", *test, "--short-side", 64, "--output-dir", tmp_path / "tested")
    assert json.loads((tmp_path / "tested" / "metrics.json").read_text())["images"] == 3
    written = sorted(path.name for path in (tmp_path / "tested").glob("res_*.txt"))
    assert written == ["res_IMG_0060.txt", "res_b.txt", "res_c.txt"]


def test_sample_folders():
    assert sample_folders(None) == []
    assert sample_folders("a") == [SampleFolder("a")]
    assert sample_folders(["a", "b"], "yolo", 2.0) == [SampleFolder("a", 2.0, "yolo"), SampleFolder("b", 2.0, "yolo")]
    assert sample_folders(["a", "b"], ["auto", "txt"], [1.0, 3.0]) == [SampleFolder("a"), SampleFolder("b", 3.0, "txt")]
    with pytest.raises(UserError, match="--sample-ratio: 3 values for 2 sample folders"):
        sample_folders(["a", "b"], None, [1.0, 2.0, 3.0])


def test_wrong_lines(refuses, folders, tmp_path):
    train = ["train_sample.py", "--train-folder-sample", *folders, "--save-dir", tmp_path / "out"]
    refuses(*train, "--format", "voc", parts=["--format", "'voc'", "expected auto or one of gt.mat, cvat"])
    refuses(*train, "--sample-ratio", 1, 2, parts=["--sample-ratio: 2 values for 3 sample folders"])
    line = [*train[:2], tmp_path, *train[-2:], "--backbone-weights", "none", "--ngpus", 0]
    refuses(*line, "--format", "labelme", parts=["no annotation of the format labelme"])


def test_inspect_data_says_which_reader_and_why(folders, run_script):
    output = run_script("-m", "tools.inspect_data", folders[0]).stdout
    assert "format       coco: annotations/instances_train.json has COCO's lists" in output
    assert "parts by the names of folders or files" in output
    output = run_script("-m", "tools.inspect_data", folders[1], "--test", "--format", "yolo").stdout
    assert "format       yolo: labels/train/a.txt has lines" in output
