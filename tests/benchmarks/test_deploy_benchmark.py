"""`benchmarks.deploy`: engines in processes of their own, whole processes of detect.py."""

import json
import os
from pathlib import Path

import pytest

from benchmarks.installation import installation_table
from tests.deploy.conftest import CHECKPOINT, float_file  # noqa: F401 - a fixture
from tests.helpers import write_picture
from utils.errors import UserError


def without(packages: tuple[str, ...], folder: Path) -> dict[str, str]:
    """The environment variables of a process that cannot import these packages."""
    folder.mkdir()
    for name in packages:
        (folder / f"{name}.py").write_text("raise ImportError('not here')")
    return os.environ | {"PYTHONPATH": str(folder)}


def test_engines_and_processes(tmp_path, float_file, run_script):  # noqa: F811
    """A column of ratios to the checkpoint; with --max-isa, PyTorch a second time."""
    picture = write_picture(tmp_path / "a.png", 120, 160)
    line = (f"net={CHECKPOINT}", f"net={float_file}", "--threads", 1, "--turns", 1, "--json", tmp_path / "a.json")
    shown = run_script("-m", "benchmarks.deploy", *line, "--picture", picture, "--max-isa", "AVX2").stdout
    report = json.loads((tmp_path / "a.json").read_text())
    times, processes = report["milliseconds"]["1"], report["processes"]
    assert {"net, pytorch float", "net, onnxruntime float", "net, pytorch float up to AVX2"} <= times.keys()
    ratio = times["net, pytorch float"]["736x1312"] / times["net, onnxruntime float"]["736x1312"]
    row = next(
        line for line in shown.splitlines() if line.startswith("net, onnxruntime float") and f"{ratio:.2f}" in line
    )
    assert len(row.split()) == 5
    assert processes["net, onnxruntime float"]["megabytes"] < 250 < processes["net, pytorch float"]["megabytes"]
    assert 0 < processes["net, onnxruntime float"]["ready"] < processes["net, pytorch float"]["ready"]


def test_without_pytorch(tmp_path, float_file, run_script):  # noqa: F811
    """As on a small device that has the packages of requirements-deploy.txt alone."""
    line = (f"net={float_file}", "--threads", 1, "--turns", 1)
    hidden = without(("torch", "openvino"), tmp_path / "hidden")
    shown = run_script("-m", "benchmarks.deploy", *line, env=hidden).stdout
    assert "net, onnxruntime float" in shown
    assert "net, openvino" not in shown
    line = ("-m", "benchmarks.deploy", f"net={CHECKPOINT}", "--threads", 1)
    assert "narrow_pruned.pt: nothing that runs it is installed" in run_script(*line, env=hidden, expect=2).stderr


def test_files_that_no_engine_runs(tmp_path, run_script):
    (tmp_path / "a.onnx").write_text("no network")
    line = ("-m", "benchmarks.deploy", f"a={tmp_path / 'a.onnx'}", "--threads", 1)
    for missing, reason in ((("openvino",), "onnxruntime cannot load it"), (("openvino", "onnxruntime"), "installed")):
        process = run_script(*line, env=without(missing, tmp_path / str(len(missing))), expect=2)
        assert len(process.stderr.splitlines()) == 1
        assert "a.onnx: " in process.stderr
        assert reason in process.stderr


def test_the_size_of_an_environment(tmp_path):
    """Links are not followed, and names are those of the largest packages."""
    packages = tmp_path / "lib" / "python3" / "site-packages"
    for number, name in enumerate("abcd", 1):
        (packages / name / "inner").mkdir(parents=True)
        (packages / name / "inner" / "file").write_bytes(bytes(number * 1_000_000))
    (tmp_path / "lib64").symlink_to("lib")
    assert installation_table([tmp_path])[1:] == [[str(tmp_path), "10", "d 4, c 3, b 2"]]
    with pytest.raises(UserError, match="no packages"):
        installation_table([packages / "a"])
