"""--errors: crops around the places where a network was wrong."""

import json
import os

import numpy as np
import pytest

from datasets import open_dataset
from utils.data.augmentation import TrainTransform
from utils.data.error_places import SHARE
from utils.data.frames import draw_around_errors
from utils.errors import UserError

VIEW = TrainTransform(short_side=400, rotation=0, stretch=(1, 1), crop=96, word_crops=1)
CORNER = [[2, 2], [22, 2], [22, 12], [2, 12]]


def write_errors(path, *records):
    path.write_text("".join(f"{json.dumps(record)}\n" for record in records))
    return path


def holds(matrix: np.ndarray, quad: list) -> bool:
    """Whether the crop of 96x96 with this matrix holds the quad's centre."""
    x, y = matrix @ [*np.mean(quad, 0), 1]
    return 0 <= x <= 96 and 0 <= y <= 96


def test_most_crops_of_an_image_with_errors_hold_one(rendered, tmp_path):
    dataset = open_dataset(None, rendered / "frames", True, transform=VIEW)
    wrong, other = dataset.annotations.path(dataset.indices[0]), dataset.annotations.path(dataset.indices[1])
    before = [dataset.frame(1, seed).info.matrix for seed in range(20)]
    draw_around_errors(dataset, [write_errors(tmp_path / "errors.jsonl", {"image": str(wrong), "quad": CORNER})])
    share = np.mean([holds(dataset.frame(0, seed).info.matrix, CORNER) for seed in range(200)])
    assert abs(share - SHARE) < 0.1
    assert os.path.abspath(other) not in dataset.places.by_image
    np.testing.assert_array_equal([dataset.frame(1, seed).info.matrix for seed in range(20)], before)


def test_all_parts_of_a_merged_dataset_have_the_places(rendered, tmp_path):
    dataset = open_dataset(rendered / "synthtext", rendered / "frames", True, transform=VIEW)
    errors = [{"image": str(part.annotations.path(part.indices[0])), "quad": CORNER} for part in dataset.parts]
    draw_around_errors(dataset, [write_errors(tmp_path / f"{number}", error) for number, error in enumerate(errors)])
    for start in dataset.starts[:-1]:
        assert np.mean([holds(dataset.frame(start, seed).info.matrix, CORNER) for seed in range(100)]) > 0.6


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "list no errors"),
        ("not JSON\n", "line 1: no error of tools.inspect_errors"),
        ('{"image": "a.jpg"}\n', "line 1"),
        ('{"image": "a.jpg", "quad": [[1, 2], [3, 4]]}\n', "line 1"),
        ('{"image": "a.jpg", "quad": [[1, 2], [3, 4], [5, 6], [7, NaN]]}\n', "line 1"),
        ("[]\n", "line 1"),
        (json.dumps({"image": "elsewhere/a.jpg", "quad": CORNER}) + "\n", "elsewhere/a.jpg and the other images"),
    ],
)
def test_other_files_are_refused(rendered, tmp_path, text, part):
    file = tmp_path / "errors.jsonl"
    file.write_text(text)
    dataset = open_dataset(None, rendered / "frames", True)
    with pytest.raises(UserError, match=part):
        draw_around_errors(dataset, [file])


def test_a_missing_file_is_refused(rendered, refuses, tmp_path):
    line = ["train_sample.py", "--train-folder-sample", rendered / "frames", "--width", "0.1", "--word-crops", 1]
    refuses(*line, "--errors", tmp_path / "none.jsonl", "--save-dir", tmp_path / "out", parts=["none.jsonl"])


def test_from_inspected_errors_to_a_run(rendered, small_checkpoint, tmp_path, run_script):
    frames, out = rendered / "frames", tmp_path / "errors"
    run_script("-m", "tools.inspect_errors", small_checkpoint, frames, "--train", "--short-side", 64, "--out", out)
    assert (out / "errors.jsonl").read_text()
    line = ["train_sample.py", "--train-folder-sample", frames, "--pretrain-model", small_checkpoint, "--prune"]
    line += ["--errors", out / "errors.jsonl", "--word-crops", 0.5, "--crop", 96, "--batch-size", 2]
    run_script(*line, "--epoch", 1, "--save-dir", tmp_path / "run")
    assert (tmp_path / "run" / "last.pt").exists()
