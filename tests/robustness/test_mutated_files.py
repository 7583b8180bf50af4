"""Mutated files of every format that is read end in a result or in one clear line: no traceback, no crash, no hang."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.conftest import ROOT
from tests.data.test_image_formats import WRITTEN, encode
from tests.data.test_images import smooth
from tests.helpers import box, cell, write_mat
from tests.robustness.mutate import mutations_of
from utils.data.annotation_index import read_synthtext
from utils.network.channels import ORIGINAL_PLAN

SECONDS_PER_FILE = 3
FILES_AT_ONCE = 1000
MEMORY = 3000
"""MiB that a process may take at most; some 600 are torch and OpenCV themselves."""


def image(suffix: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = folder / f"a.{suffix}"
        path.write_bytes(encode(suffix, smooth(48, 64)))
        return path

    return make


def transparent(suffix: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = folder / f"a.{suffix}"
        picture = np.dstack([smooth(48, 64), np.arange(64, dtype=np.uint8)[None].repeat(48, 0)])
        path.write_bytes(cv2.imencode(f".{suffix}", picture)[1].tobytes())
        return path

    return make


def text(name: str, content: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / name).write_text(content, encoding="utf-8")
        return folder / name

    return make


def mat(folder: Path) -> Path:
    return write_mat(folder / "gt.mat", [cell(box(5, 5, 40, 20)), cell(box(1, 1, 9, 9))])


def index(folder: Path) -> Path:
    mat(folder)
    shutil.copy(folder / "gt.mat", folder / "whole.mat")
    for name in ("gt.mat", "whole.mat"):
        read_synthtext(folder / name)
    return folder / "gt.mat.index"


def zipped(folder: Path) -> Path:
    (folder / "texts").mkdir()
    for number in range(4):
        (folder / "texts" / f"res_{number}.txt").write_text("10,10,90,10,90,40,10,40\n" * number)
    return Path(shutil.make_archive(str(folder / "a"), "zip", folder / "texts"))


def video(folder: Path) -> Path:
    path = folder / "a.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 25, (64, 48))
    for shift in range(12):
        writer.write(np.roll(smooth(48, 64), shift, 1))
    writer.release()
    return path


LINES = "10,10,90,10,90,40,10,40,word\n5,5,30,6,30,20,5,20,###\n1,2,3,4,5,6,7,8,a, b\n"
CURVES = "epoch,train_loss,val_loss,hmean,lr\n1,2.0,1.9,0.1,0.001\n2,1.5,1.4,0.2,0.001\n"
METRICS = {"hmean": 0.5, "precision": 0.5, "recall": 0.5, "parameters": 9, "gmacs": 1.0, "milliseconds_per_frame": 3.0}
SEEDS: dict[str, tuple[str, Callable[[Path], Path]]] = {
    **{suffix: ("image", image(suffix)) for suffix in WRITTEN},
    **{f"transparent {suffix}": ("image", transparent(suffix)) for suffix in ("png", "webp", "tif")},
    "txt": ("txt", text("a.txt", LINES)),
    "ground truth": ("ground truth", text("gt_a.txt", LINES)),
    "results": ("results", text("res_a.txt", "10,10,90,10,90,40,10,40,0.5\n" * 3)),
    "zip": ("zip", zipped),
    "gt.mat": ("gt.mat", mat),
    "index": ("index", index),
    "plan.json": ("plan.json", text("plan.json", json.dumps(ORIGINAL_PLAN))),
    "results.csv": ("results.csv", text("results.csv", CURVES)),
    "metrics.json": ("metrics.json", text("metrics.json", json.dumps(METRICS))),
    "video": ("video", video),
}


def read_all(kind: str, files: list[Path]) -> None:
    """Read the files in a process of their own, and fail with the file's name if one of them does harm."""
    line = [sys.executable, "-m", "tests.robustness.reader", kind, *map(str, files)]
    process = subprocess.run(
        line, cwd=ROOT, capture_output=True, text=True, errors="replace", timeout=60 + SECONDS_PER_FILE * len(files)
    )
    answers = process.stdout.splitlines()
    last = next((answer for answer in reversed(answers) if answer.startswith("file: ")), "no file")
    assert process.returncode == 0, f"exit code {process.returncode} at {last}\n{process.stderr[-2000:]}"
    for file, answer in zip(answers[:-1:2], answers[1:-1:2], strict=True):
        assert answer.startswith(("read", "refused: ")), f"{file}\n{answer}"
        assert "\\n" not in answer, f"{file}\n{answer}"
    assert len(answers) == 2 * len(files) + 1
    assert int(answers[-1].removeprefix("memory: ")) < MEMORY, answers[-1]


@pytest.mark.parametrize("kind", sorted({kind for kind, _ in SEEDS.values()}))
def test_mutated_files(tmp_path, mutations, kind):
    """Whole and damaged ones. The message of a failure names the file, which stays where it is."""
    files = []
    for name, (_, make) in ((name, seed) for name, seed in SEEDS.items() if seed[0] == kind):
        (tmp_path / name / "whole").mkdir(parents=True)
        whole = make(tmp_path / name / "whole")
        files.append(whole)
        for number, data in enumerate(mutations_of(whole.read_bytes(), mutations, seed=len(name))):
            folder = tmp_path / name / f"{number:03}"
            folder.mkdir()
            if kind == "index":  # each beside a gt.mat of its own
                index(folder)
            (folder / whole.name).write_bytes(data)
            files.append(folder / whole.name)
    for start in range(0, len(files), FILES_AT_ONCE):
        read_all(kind, files[start : start + FILES_AT_ONCE])


def test_mutated_checkpoints(tmp_path, mutations, small_checkpoint):
    data = small_checkpoint.read_bytes()
    files = [small_checkpoint]
    for number, damaged in enumerate(mutations_of(data, mutations, seed=1)):
        files.append(tmp_path / f"{number:03}.pt")
        files[-1].write_bytes(damaged)
    read_all("checkpoint", files)
