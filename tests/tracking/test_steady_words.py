"""Detections of a rendered video with known motion, made worse as those of a network are, made steady."""

from collections import Counter

import numpy as np
import pytest

from tests.tracking.test_tracker import HEIGHT, WIDTH, frame, truth, visible, wall  # noqa: F401
from utils.geometry import pairwise_iou
from utils.tracking.steady_words import BRIDGED, SteadyVideo
from utils.tracking.tracker import match_quads

FRAMES = 40


def detections(wall, number: int, rng: np.random.Generator, found: float):  # noqa: F811
    """The visible words, each with a probability of `found`, their corners off by a pixel or so."""
    quads = truth(wall, number)[visible(wall, number)]
    quads = quads[rng.random(len(quads)) < found]
    return quads + rng.normal(0, 1.2, quads.shape), np.full(len(quads), 0.9)


def matched(quads: np.ndarray, wall, number: int) -> list[tuple[int, int]]:  # noqa: F811
    return match_quads(quads, truth(wall, number), 0.5)


@pytest.mark.parametrize("every", [1, 5])
def test_numbers_stay_gaps_are_bridged_and_corners_are_smooth(wall, every):  # noqa: F811
    rng, video = np.random.default_rng(0), SteadyVideo()
    numbers: dict[int, Counter] = {}
    seen = due = 0
    errors: dict[str, list[float]] = {"detected": [], "steady": []}
    for number in range(FRAMES):
        found = detections(wall, number, rng, 0.8) if number % every == 0 else None
        words = video.next(frame(wall, number), found)
        assert len(words.quads) == len(words.scores) == len(words.tracks) == len(set(words.tracks.tolist()))
        real = truth(wall, number)
        for word, index in matched(words.quads, wall, number):
            numbers.setdefault(index, Counter())[int(words.tracks[word])] += 1
            if visible(wall, number)[index]:
                errors["steady"].append(float(np.abs(words.quads[word] - real[index]).mean()))
        for word, index in matched(found[0], wall, number) if found else []:
            errors["detected"].append(float(np.abs(found[0][word] - real[index]).mean()))
        if number >= every:
            due += visible(wall, number).sum()
            seen += sum(visible(wall, number)[index] for _, index in matched(words.quads, wall, number))
    assert seen > 0.9 * due  # of the detections, a fifth are missing
    of_one_number = sum(max(counts.values()) for counts in numbers.values())
    assert of_one_number > 0.85 * sum(sum(counts.values()) for counts in numbers.values())
    assert np.mean(errors["steady"]) < (0.8 if every == 1 else 1.5) * np.mean(errors["detected"])


def test_between_detections_words_move_with_the_picture(wall):  # noqa: F811
    video = SteadyVideo()
    start = truth(wall, 0)[visible(wall, 0)]
    words = video.next(frame(wall, 0), (start, np.ones(len(start))))
    for number in range(1, 9):
        words = video.next(frame(wall, number), None)
    indices = np.flatnonzero(visible(wall, 0))[words.tracks]
    followed = pairwise_iou(words.quads, truth(wall, 8)[indices])
    frozen = pairwise_iou(truth(wall, 0)[indices], truth(wall, 8)[indices])
    assert len(followed) >= 3
    assert followed.mean() > 0.85
    assert frozen.mean() < 0.6


def test_a_false_alarm_ends(wall):  # noqa: F811
    """It is detected once, and could be followed for ever."""
    video, word = SteadyVideo(), truth(wall, 0)[visible(wall, 0)][:1]
    nothing = np.zeros((0, 4, 2)), np.zeros(0)
    seen = [len(video.next(frame(wall, 0), (word, np.ones(1))).quads)]
    seen += [len(video.next(frame(wall, 0), nothing).quads) for _ in range(BRIDGED + 2)]
    assert seen == [1] * (BRIDGED + 1) + [0, 0]


def test_a_picture_without_words():
    video, nothing = SteadyVideo(), (np.zeros((0, 4, 2)), np.zeros(0))
    for found in (nothing, None):
        assert video.next(np.zeros((HEIGHT, WIDTH, 3), np.uint8), found).quads.shape == (0, 4, 2)
