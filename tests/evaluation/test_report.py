"""`test_sample.py`: its output, files, report page and pictures; `validate` and the timing of stages."""

import json
import os
import signal
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest

from datasets import EpochSampler, make_loader, open_dataset
from loss import Criterion
from test_sample import all_short_sides
from tests.helpers import box, words_of
from utils.checkpoint import load_model
from utils.data.augmentation import WholeFrame
from utils.data.frames import FrameInfo
from utils.data.problems import Problems
from utils.decode import Thresholds
from utils.detector import load_detector
from utils.errors import UserError
from utils.evaluation.curves import SWEEP
from utils.evaluation.drawing import (
    DONT_CARE_COLOUR,
    FALSE_ALARM,
    FOUND_WORD,
    MATCHED,
    MISSED,
    draw_detections,
    draw_quads,
)
from utils.evaluation.html_report import FrameScore, render_page, report_folder, write_report
from utils.evaluation.multi_scale import merge_detections, merge_validations
from utils.evaluation.protocol import Evaluation
from utils.evaluation.timing import time_stages
from utils.evaluation.validation import ValidationSettings, validate
from utils.runtime.distributed import Ranks
from utils.runtime.signals import Stopped, StopRequest


class Links(HTMLParser):
    """The pictures, links and texts of an HTML page."""

    def __init__(self, page: str):
        super().__init__()
        self.sources: list[str] = []
        self.links: list[str] = []
        self.text: list[str] = []
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
    line = ("test_sample.py", "--test-folder-sample", rendered / "frames", "--pretrain-model", small_checkpoint)
    line = (*line, "--prune", "--val-short-side", 64, "--batch-size", 2, "--num-workers", 0, "--output-dir", out)
    return out, run_script(*line, "--sweep", "--multi-scale", 48, "--score-threshold", 0.6).stdout


def test_metrics(measured):
    out, printed = measured
    metrics = json.loads((out / "metrics.json").read_text())
    for name in ("hmean", "precision", "recall", "average_precision", "parameters", "gmacs", "milliseconds_per_frame"):
        assert metrics[name] >= 0, name
    assert metrics["short_sides"] == [64, 48]
    assert [row["score_threshold"] for row in metrics["sweep"]] == list(SWEEP)
    assert metrics["timing"]["batch_size"] == 2
    assert all(metrics["timing"][stage] > 0 for stage in ("read", "resize", "network", "decoding"))
    assert "best: --score-threshold" in printed
    assert "images/s at batch size 2" in printed
    assert "rotation, degrees" in printed


@pytest.fixture
def loader(rendered):
    dataset = open_dataset(None, rendered / "frames", False, transform=WholeFrame(64))
    return make_loader(dataset, EpochSampler(dataset), 2, 0)


def test_a_sweep_equals_validations_at_its_thresholds(loader, small_checkpoint):
    model, _ = load_model(small_checkpoint)
    swept = validate(model, loader, Criterion(), ValidationSettings(Thresholds(0.6, 0.2), sweep=(0.5, 0.6)))
    alone = validate(model, loader, Criterion(), ValidationSettings(Thresholds(0.5, 0.2)))
    assert alone.sweep == {}
    for words, same, other in zip(swept.sweep[0.5], alone.detections, swept.sweep[0.6], strict=True):
        assert np.array_equal(words[0], same[0])
        assert len(words[0]) > len(other[0])
    assert swept.sweep[0.6] == swept.detections
    assert merge_validations([alone], 0.2).detections is alone.detections
    assert merge_validations([alone], 0.2).evaluation == alone.evaluation


def test_a_stopped_validation_raises_and_restores_the_training_mode(loader, small_checkpoint):
    network, _ = load_model(small_checkpoint)
    network.train()
    settings = ValidationSettings(Thresholds())
    with StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Stopped):
            validate(network, loader, Criterion(), settings, stop)
    assert network.training
    several = settings._replace(ranks=TwoProcesses(world=2))
    with pytest.raises(Stopped):
        validate(network, loader, Criterion(), several, stop)
    assert network.training


def test_a_stop_in_another_process_stops_the_validation(loader, small_checkpoint):
    network, _ = load_model(small_checkpoint)
    several = ValidationSettings(Thresholds(), ranks=TwoProcesses(world=2))
    assert validate(network, loader, Criterion(), several).evaluation.words > 0
    with pytest.raises(Stopped):
        validate(network, loader, Criterion(), several._replace(ranks=OtherIsStopped(world=2)))


class TwoProcesses(Ranks):
    """The first of two processes, of which the other one has no frames."""

    def sum(self, values: list[float]) -> list[float]:
        return values


class OtherIsStopped(TwoProcesses):
    def sum(self, values: list[float]) -> list[float]:
        return [value + (place == 0) for place, value in enumerate(values)]


def test_validation_without_a_readable_image_is_an_error(small_checkpoint):
    problems = Problems()
    problems.add("images unreadable, left out", "a.jpg")
    network, _ = load_model(small_checkpoint)
    with pytest.raises(UserError, match=r"none of the images could be read(.|\n)*a\.jpg"):
        validate(network, [problems], Criterion(), ValidationSettings(Thresholds()))


def test_merging_scales_keeps_the_best_detection_of_each_word():
    first = [(np.array([box(0, 0, 90, 30), box(0, 50, 90, 80)], float), np.array([0.9, 0.5]))]
    second = [(np.array([box(2, 0, 92, 30), box(200, 50, 290, 80)], float), np.array([0.8, 0.7]))]
    [(quads, scores)] = merge_detections([first, second], 0.2)
    assert quads.tolist() == [box(0, 0, 90, 30), box(200, 50, 290, 80), box(0, 50, 90, 80)]
    assert scores.tolist() == [0.9, 0.7, 0.5]
    nothing = [(np.zeros((0, 4, 2), np.float32), np.zeros(0, np.float32))]
    assert len(merge_detections([nothing, nothing], 0.2)[0][0]) == 0


def test_short_sides():
    assert all_short_sides(280, None) == [280]
    assert all_short_sides(280, []) == [280, 196, 392]
    assert all_short_sides(280, [560, 280]) == [280, 560]


def test_files(measured, rendered):
    out, _ = measured
    frames = sorted((rendered / "frames" / "test_images1").iterdir())
    page = Links((out / "index.html").read_text(encoding="utf-8"))
    assert sorted(page.sources) == [f"{frame.stem}.jpg" for frame in frames]
    for frame in frames:
        assert cv2.imread(str(out / f"{frame.stem}.jpg")).shape == cv2.imread(str(frame)).shape
        assert (out / f"res_{frame.stem}.txt").is_file()
    assert not [link for link in [*page.sources, *page.links] if "://" in link or link.startswith("/")]


@pytest.mark.parametrize("size", [(100, 70_000), (70_000, 2)])
def test_a_picture_too_long_for_a_jpeg_is_written_smaller(tmp_path, size):
    path = tmp_path / "long.png"
    cv2.imwrite(str(path), np.full((*size, 3), 90, np.uint8))
    quads = np.array([box(size[1] * 0.9, size[0] * 0.9, size[1] - 1, size[0] - 1)])
    frame = FrameInfo(path, words_of(), np.eye(2, 3), size, 0)
    write_report(report_folder(tmp_path / "out"), [frame], [(quads, np.ones(1))], {}, "")
    picture = cv2.imread(str(tmp_path / "out" / "long.jpg"))
    assert picture.shape[:2] == tuple(round(side * 65_500 / 70_000) for side in size)
    end = picture[-max(size[0] // 8, 1) :, -max(size[1] // 8, 1) :].astype(int)
    assert (end[..., 2] > end[..., 1] + 50).any()  # the false alarm's red
    assert (tmp_path / "out" / "res_long.txt").read_text().count("\n") == 1


def test_worst_frames_first_and_names_escaped():
    def frame(name: str, matched: int, words: int, detections: int) -> FrameScore:
        hmean = 2 * matched / (words + detections) if matched else 0.0
        return FrameScore(name, name + ".jpg", Evaluation(0, 0, hmean, matched, words, detections))

    counts = {"good": (3, 3, 3), "empty": (0, 0, 0), "half": (1, 2, 2), "bad": (0, 1, 0), "worst": (0, 4, 2)}
    scores = [frame(name, *each) for name, each in (counts | {"a<b>&#?": (1, 1, 2)}).items()]
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

    def near(pixel: np.ndarray, colour: tuple[int, int, int]) -> bool:  # edges are anti-aliased
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
