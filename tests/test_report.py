"""`test_sample.py`: what it prints and writes, and the pages and pictures that it makes."""

import json
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.test_targets import box, words_of
from utils.analysis import THRESHOLDS
from utils.detector import load_detector
from utils.drawing import DONT_CARE_COLOUR, FALSE_ALARM, FOUND_WORD, MATCHED, MISSED, draw_detections, draw_quads
from utils.evaluation import Evaluation
from utils.report import FrameScore, render_page
from utils.timing import time_stages


class Links(HTMLParser):
    """All pictures and links of a page, and its text."""

    def __init__(self, page: str):
        super().__init__()
        self.sources, self.links, self.text = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == "img":
            self.sources.append(attributes["src"])
        if "href" in attributes:
            self.links.append(attributes["href"])

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module")
def measured(tmp_path_factory, rendered, small_checkpoint, run_script) -> tuple[Path, str]:
    out = tmp_path_factory.mktemp("measured")
    process = run_script(
        "test_sample.py", "--test-folder-sample", rendered / "frames", "--pretrain-model", small_checkpoint, "--prune",
        "--val-short-side", 64, "--batch-size", 2, "--sweep", "--multi-scale", 48, "--output-dir", out,
        "--num-workers", 0, "--score-threshold", 0.6,
    )  # fmt: skip
    return out, process.stdout


def test_metrics(measured):
    out, printed = measured
    metrics = json.loads((out / "metrics.json").read_text())
    for name in ("hmean", "precision", "recall", "average_precision", "parameters", "gmacs", "milliseconds_per_frame"):
        assert metrics[name] >= 0, name
    assert metrics["short_sides"] == [64, 48]
    assert [row["score_threshold"] for row in metrics["sweep"]] == list(THRESHOLDS)
    assert metrics["timing"]["batch_size"] == 2
    assert all(metrics["timing"][stage] > 0 for stage in ("read", "resize", "network", "decoding"))
    assert "best: --score-threshold" in printed
    assert "images/s at batch size 2" in printed
    assert "rotation, degrees" in printed


def test_the_sweep_is_the_score_at_that_threshold(measured, rendered, small_checkpoint, run_script, tmp_path):
    """What `--sweep` says of a threshold is what a run with it gives."""
    out, _ = measured
    run_script(
        "test_sample.py", "--test-folder-sample", rendered / "frames", "--pretrain-model", small_checkpoint, "--prune",
        "--short-side", 64, "--multi-scale", 48, "--output-dir", tmp_path, "--num-workers", 0, "--batch-size", 2,
        "--score-threshold", 0.4,
    )  # fmt: skip
    again = json.loads((tmp_path / "metrics.json").read_text())
    row = next(row for row in json.loads((out / "metrics.json").read_text())["sweep"] if row["score_threshold"] == 0.4)
    assert {name: again[name] for name in row if name != "score_threshold"} == {
        name: value for name, value in row.items() if name != "score_threshold"
    }


def test_files(measured, rendered):
    out, _ = measured
    frames = sorted((rendered / "frames" / "test_images1").iterdir())
    page = Links((out / "index.html").read_text(encoding="utf-8"))
    assert sorted(page.sources) == [f"{frame.stem}.jpg" for frame in frames]
    for frame in frames:
        assert cv2.imread(str(out / f"{frame.stem}.jpg")).shape == cv2.imread(str(frame)).shape
        assert (out / f"res_{frame.stem}.txt").is_file()
    assert not [link for link in [*page.sources, *page.links] if "://" in link or link.startswith("/")]


def test_worst_frames_first_and_names_escaped():
    def frame(name: str, matched: int, words: int, detections: int) -> FrameScore:
        hmean = 2 * matched / (words + detections) if matched else 0.0
        return FrameScore(name, name + ".jpg", Evaluation(0, 0, hmean, matched, words, detections))

    scores = [frame("good", 3, 3, 3), frame("empty", 0, 0, 0), frame("half", 1, 2, 2), frame("bad", 0, 1, 0),
              frame("worst", 0, 4, 2), frame("a<b>&#?", 1, 1, 2)]  # fmt: skip
    order = [score.name for score in sorted(scores, key=FrameScore.badness)]
    assert order == ["worst", "bad", "half", "a<b>&#?", "good", "empty"]
    page = Links(render_page(scores, {"hmean": 0.5, "device": "<CPU>"}, "a < b"))
    assert page.sources[-1] == "a%3Cb%3E%26%23%3F.jpg"
    assert any("a<b>&#?" in text for text in page.text)
    assert "<CPU>" in page.text


def test_colours():
    words = words_of(box(20, 20, 90, 50), box(20, 80, 90, 110), box(20, 140, 90, 170), ignored=[2])
    quads = np.array([box(22, 22, 92, 52), box(150, 80, 200, 110), box(24, 144, 86, 166)], float)
    picture = draw_detections(np.zeros((200, 240, 3), np.uint8), words, quads)

    def near(pixel: np.ndarray, colour: tuple[int, int, int]) -> bool:  # edges are smooth
        return np.abs(pixel.astype(int) - colour).max() < 60

    assert near(picture[35, 20], FOUND_WORD)
    assert near(picture[37, 22], MATCHED)
    assert near(picture[95, 20], MISSED)
    assert near(picture[95, 150], FALSE_ALARM)
    for side, colour in ((picture[145:165, 20], DONT_CARE_COLOUR), (picture[148:162, 24], MATCHED)):
        assert any(near(pixel, colour) for pixel in side)
        assert any(near(pixel, (0, 0, 0)) for pixel in side)  # the gaps between dashes


def test_a_frame_without_words_is_not_copied():
    image = np.zeros((20, 30, 3), np.uint8)
    assert draw_quads(image, np.zeros((0, 4, 2))) is image
    assert draw_quads(image, np.array([box(2, 2, 20, 10)])).any()
    assert not image.any()


def test_timing_of_fewer_frames_than_a_batch(rendered, small_checkpoint):
    paths = sorted((rendered / "frames" / "test_images1").iterdir())
    timing = time_stages(load_detector(small_checkpoint, short_side=64), paths, 3, batches=4)
    assert timing.batch_size == 3
    assert timing.images_per_second == pytest.approx(1000 / sum(timing[:4]), rel=0.9)
