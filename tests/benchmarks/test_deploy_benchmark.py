"""`benchmarks.deploy`: engines in processes of their own, whole processes of detect.py."""

import json

from tests.deploy.conftest import CHECKPOINT, float_file  # noqa: F401 - a fixture
from tests.helpers import write_picture


def test_engines_and_processes(tmp_path, float_file, run_script):  # noqa: F811
    picture = write_picture(tmp_path / "a.png", 120, 160)
    line = (f"net={CHECKPOINT}", f"net={float_file}", "--threads", 1, "--turns", 1, "--json", tmp_path / "a.json")
    run_script("-m", "benchmarks.deploy", *line, "--picture", picture)
    report = json.loads((tmp_path / "a.json").read_text())
    assert {"net, pytorch", "net, onnxruntime"} <= report["milliseconds"]["1"].keys()
    memory = {name.rpartition(".")[2]: megabytes for name, (_, megabytes) in report["processes"].items()}
    assert memory["onnx"] < 250 < memory["pt"]


def test_files_that_no_engine_runs(tmp_path, run_script):
    (tmp_path / "a.onnx").write_text("no network")
    process = run_script("-m", "benchmarks.deploy", f"a={tmp_path / 'a.onnx'}", "--threads", 1, expect=2)
    assert "a.onnx: onnxruntime cannot load it" in process.stderr
