"""`benchmarks.deploy`: engines in processes of their own, whole processes of detect.py."""

import json

from tests.deploy.conftest import CHECKPOINT, float_file  # noqa: F401 - a fixture
from tests.helpers import write_picture


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


def test_files_that_no_engine_runs(tmp_path, run_script):
    (tmp_path / "a.onnx").write_text("no network")
    process = run_script("-m", "benchmarks.deploy", f"a={tmp_path / 'a.onnx'}", "--threads", 1, expect=2)
    assert "a.onnx: onnxruntime cannot load it" in process.stderr
