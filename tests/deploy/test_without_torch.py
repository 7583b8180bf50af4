"""detect.py and `load_detector` on an exported file, in a process that cannot import PyTorch; test_sample.py on one."""

import json
import os

import numpy as np
import pytest
import torch

import test_sample
from detect import load_detector
from tests.deploy.conftest import CHECKPOINT
from utils.errors import UserError

MISSING = "torch", "torchvision", "scipy", "onnx", "onnxscript", "matplotlib", "PIL", "tqdm"
"""What the packages of requirements-deploy.txt do not bring; and tqdm, which only a terminal's bars need."""

START = f"""
import runpy, sys
for name in {MISSING}:
    sys.modules[name] = None
sys.argv = sys.argv[1:]
sys.path.insert(0, "")
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_detect_without_torch(tmp_path, float_file, pictures, run_script):
    line = ("--output-dir", tmp_path, "--format", "jsonl", "--no-pictures", *pictures)
    process = run_script("-c", START, "detect.py", "--pretrain-model", float_file, *line)
    assert "ONNX Runtime" in process.stdout
    detector = load_detector(CHECKPOINT, short_side=320)
    lines = [json.loads(each) for each in (tmp_path / "detections.jsonl").read_text().splitlines()]
    assert len(lines) == len(pictures)
    for each in lines:
        quads, scores = detector.detect(each["source"])
        assert np.allclose([word["quad"] for word in each["words"]], quads.reshape(-1, 4, 2), atol=0.006)
        assert np.allclose([word["score"] for word in each["words"]], scores, atol=1e-4)


def test_a_checkpoint_needs_torch(tmp_path, pictures, run_script):
    process = run_script(
        "-c", START, "detect.py", "--pretrain-model", CHECKPOINT, "--output-dir", tmp_path, *pictures, expect=2
    )
    assert "export.py" in process.stderr
    assert len(process.stderr.splitlines()) == 1


def test_options_of_the_file_and_of_the_command(float_file):
    detector = load_detector(float_file)
    assert (detector.transform.short_side, *detector.thresholds) == (320, 0.5, 0.2, 0.5)
    detector = load_detector(
        float_file, short_side=96, score_threshold=0.7, nms_threshold=0.3, word_threshold=0.6, threads=1
    )
    assert (detector.transform.short_side, *detector.thresholds) == (96, 0.7, 0.3, 0.6)
    with pytest.raises(UserError, match="no exported file"):
        load_detector(CHECKPOINT, backend="opencv")
    with pytest.raises(UserError, match="cuda"):
        load_detector(float_file, device="cuda")
    with pytest.raises(UserError, match=r"none\.onnx: there is no such file"):
        load_detector("none.onnx")


def test_measured_like_a_checkpoint(tmp_path, rendered, float_file, run_script):
    """The same loss, words and costs as the checkpoint's."""
    metrics = []
    for path, extra in ((float_file, ()), (CHECKPOINT, ("--prune", "--short-side", 320))):
        folder = tmp_path / path.stem
        line = ("--test-folder-sample", rendered / "frames", "--ngpus", 0, "--num-workers", 0, "--output-dir", folder)
        run_script("test_sample.py", "--pretrain-model", path, *extra, *line)
        metrics.append(json.loads((folder / "metrics.json").read_text()))
    exported, checkpoint = metrics
    for name in ("hmean", "precision", "recall", "parameters", "gmacs", "input_size", "short_sides"):
        assert exported[name] == checkpoint[name], name
    assert exported["loss"] == pytest.approx(checkpoint["loss"], rel=0.01)  # its easy negatives are drawn at random
    assert "ONNX Runtime" in exported["device"]


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="needs /proc")
def test_measuring_takes_the_threads_that_are_asked_for(float_file):
    """The engine starts the others beside the caller's."""
    started = []
    for threads in (1, 4):
        line = ["--test-folder-sample", "frames", "--pretrain-model", str(float_file), "--threads", str(threads)]
        before = set(os.listdir("/proc/self/task"))
        opened = test_sample.open_network(test_sample.parse_args(line), torch.device("cpu"))
        started.append(len(set(os.listdir("/proc/self/task")) - before))
        del opened
    assert started == [0, 3]
