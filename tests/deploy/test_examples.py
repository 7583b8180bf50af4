"""docs/examples: the Python and the C++ program find the words that `detect.py` finds."""

import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.conftest import ROOT
from tests.helpers import words_of
from utils.data.images import read_image
from utils.deploy.exported_detector import ExportedDetector
from utils.evaluation import evaluate

EXAMPLES = ROOT / "docs" / "examples"


@pytest.fixture(scope="module")
def frames(float_file, pictures, tmp_path_factory) -> list[tuple[Path, np.ndarray]]:
    """Pictures as large as the network reads them, and the words in them."""
    detector, folder = ExportedDetector(float_file), tmp_path_factory.mktemp("frames")
    found = []
    for number, picture in enumerate(pictures[:3]):
        small = detector.transform(read_image(picture)).image
        path = folder / f"{number}.ppm"
        cv2.imwrite(str(path), small[..., ::-1])
        found.append((path, detector.detect(small)[0]))
    assert sum(len(quads) for _, quads in found) > 3
    return found


def agreement(line: list, frames: list[tuple[Path, np.ndarray]]) -> float:
    """The hmean of the words that a program prints, with the words of `ExportedDetector` as ground truth."""
    found = []
    for path, _ in frames:
        shown = subprocess.run([*line, path], capture_output=True, text=True, check=True).stdout
        rows = np.array([text.split(",") for text in shown.splitlines()], float).reshape(-1, 9)
        assert all(0.5 <= score <= 1 for score in rows[:, 8])
        found.append(rows[:, :8].reshape(-1, 4, 2))
    return evaluate([words_of(*quads) for _, quads in frames], found).hmean


def test_python(frames, float_file):
    assert agreement([sys.executable, EXAMPLES / "detect_onnx.py", float_file], frames) > 0.8


def test_cpp(frames, float_file, tmp_path):
    utils = pytest.importorskip("openvino.utils")
    if not (shutil.which("cmake") and shutil.which("c++")):
        pytest.skip("no cmake or no C++ compiler")
    for line in (["-S", EXAMPLES, "-B", tmp_path, f"-DOpenVINO_DIR={utils.get_cmake_path()}"], ["--build", tmp_path]):
        process = subprocess.run(["cmake", *line], capture_output=True, text=True)
        assert process.returncode == 0, process.stdout + process.stderr
    assert agreement([tmp_path / "detect", float_file], frames) > 0.8
    wrong = subprocess.run([tmp_path / "detect", float_file, float_file], capture_output=True, text=True)
    assert (wrong.returncode, wrong.stderr) == (2, f"{float_file}: expected a binary PPM of 8 bits\n")
