"""Beyond one hmean: average precision, the curve over score thresholds, what kinds of words are found."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from utils.data.annotations import Words
from utils.evaluation.protocol import Evaluation, Overlaps, assign, find_overlaps, summarise
from utils.geometry import min_area_rectangles
from utils.runtime.tables import format_table

SIZE_STEPS = (0, 8, 16, 32, 64, np.inf)
"""Bounds of the classes by a word's short side, in pixels of the frame."""

ANGLE_STEPS = (0, 5, 15, 30, 45.001)
"""Bounds of the classes by a word's rotation, either way, in degrees."""

THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(2, 20))
"""Score thresholds of a sweep."""


class Bin(NamedTuple):
    """One class of words. Recall is over the words of that class, precision over the detections of it."""

    low: float
    high: float
    words: int
    found: int
    """Words that a detection matches."""
    detections: int
    correct: int
    """Detections that match a word (of any class)."""

    @property
    def recall(self) -> float:
        return self.found / self.words if self.words else float("nan")

    @property
    def precision(self) -> float:
        return self.correct / self.detections if self.detections else float("nan")


def average_precision(
    ground_truth: Sequence[Words], quads: Sequence[np.ndarray], scores: Sequence[np.ndarray]
) -> float:
    """The official script's AP: each image's detections matched best score first, then all images' together.

    The mean, over the words that count, of the precision at the rank where each was found (0 if it was not).
    """
    all_scores, hits, total = [], [], 0
    for words, image_quads, image_scores in zip(ground_truth, quads, scores, strict=True):
        order = np.argsort(-np.asarray(image_scores), kind="stable")
        overlaps = find_overlaps(words, np.asarray(image_quads).reshape(-1, 4, 2)[order])
        matched = np.zeros(len(order), bool)
        matched[[detection for _, detection in assign(overlaps.candidates)]] = True
        counted = ~overlaps.ignored_detections
        all_scores.append(np.asarray(image_scores)[order][counted])
        hits.append(matched[counted])
        total += int((~overlaps.ignored_words).sum())
    if not total:
        return 0.0
    hits = np.concatenate(hits)[np.argsort(-np.concatenate(all_scores), kind="stable")]
    return float((hits.cumsum() / np.arange(1, len(hits) + 1))[hits].sum() / total)


def threshold_curve(
    ground_truth: Sequence[Words],
    quads: Sequence[np.ndarray],
    scores: Sequence[np.ndarray],
    thresholds: Sequence[float] = THRESHOLDS,
) -> dict[float, Evaluation]:
    """Threshold -> the evaluation of the words whose score reaches it."""
    overlaps = [find_overlaps(words, found) for words, found in zip(ground_truth, quads, strict=True)]
    curve = {}
    for threshold in thresholds:
        chosen = [np.asarray(image_scores) >= threshold for image_scores in scores]
        curve[threshold] = _count(overlaps, chosen)
    return curve


def _count(overlaps: Sequence[Overlaps], chosen: Sequence[np.ndarray]) -> Evaluation:
    matched = sum(len(assign(image.candidates[:, some])) for image, some in zip(overlaps, chosen, strict=True))
    words = sum(int((~image.ignored_words).sum()) for image in overlaps)
    found = sum(int((~image.ignored_detections[some]).sum()) for image, some in zip(overlaps, chosen, strict=True))
    return summarise(matched, words, found)


def best_threshold(curve: dict[float, Evaluation]) -> float:
    """Of the highest hmean; of several, the one in their middle."""
    best = max(evaluation.hmean for evaluation in curve.values())
    equal = [threshold for threshold, evaluation in curve.items() if evaluation.hmean == best]
    return equal[len(equal) // 2]


def short_sides(quads: np.ndarray) -> np.ndarray:
    """(N, 4, 2) -> (N,) pixels."""
    return min_area_rectangles(quads).sizes.min(1, initial=np.inf)


def rotations(quads: np.ndarray) -> np.ndarray:
    """(N, 4, 2) -> (N,) degrees from 0 (level or upright) to 45, either way."""
    return np.degrees(np.abs(min_area_rectangles(quads).theta))


def breakdown(
    ground_truth: Sequence[Words], quads: Sequence[np.ndarray], measure: Callable, steps: Sequence[float]
) -> list[Bin]:
    """Words and detections sorted by a measure of their quads (`short_sides`, `rotations`) into classes."""
    counts = np.zeros((len(steps) - 1, 4), int)
    for words, found in zip(ground_truth, quads, strict=True):
        found = np.asarray(found, np.float64).reshape(-1, 4, 2)
        overlaps = find_overlaps(words, found)
        pairs = np.array(assign(overlaps.candidates), int).reshape(-1, 2)
        for column, shapes, counted, matched in (
            (0, words.quads, ~overlaps.ignored_words, pairs[:, 0]),
            (2, found, ~overlaps.ignored_detections, pairs[:, 1]),
        ):
            place = np.searchsorted(steps, measure(np.asarray(shapes, np.float64)), side="right") - 1
            np.add.at(counts[:, column], place[counted], 1)
            np.add.at(counts[:, column + 1], place[matched], 1)
    return [Bin(low, high, *map(int, row)) for low, high, row in zip(steps[:-1], steps[1:], counts, strict=True)]


def curve_rows(curve: dict[float, Evaluation]) -> list[list[str]]:
    """A table for `utils.runtime.tables.format_table`; a star marks the best hmean."""
    best = best_threshold(curve)
    rows = [["score threshold", "precision", "recall", "hmean", "detections"]]
    for threshold, scores in curve.items():
        name = f"{threshold:.2f}{' *' if threshold == best else ''}"
        shares = [f"{value:.4f}" for value in scores[:3]]
        rows.append([name, *shares, str(scores.detections)])
    return rows


def bin_rows(title: str, bins: Sequence[Bin]) -> list[list[str]]:
    """A table for `utils.runtime.tables.format_table`."""
    rows = [[title, "words", "recall", "detections", "precision"]]
    for each in bins:
        name = f"{each.low:g} or more" if np.isinf(each.high) else f"{each.low:g} to {each.high:.0f}"
        recall, precision = (f"{share:.3f}".replace("nan", "-") for share in (each.recall, each.precision))
        rows.append([name, str(each.words), recall, str(each.detections), precision])
    return rows


def describe_kinds(ground_truth: Sequence[Words], quads: Sequence[np.ndarray]) -> str:
    """Two tables: recall and precision by the words' size and by their rotation."""
    by_size = breakdown(ground_truth, quads, short_sides, SIZE_STEPS)
    by_angle = breakdown(ground_truth, quads, rotations, ANGLE_STEPS)
    return "\n\n".join(
        format_table(bin_rows(title, bins))
        for title, bins in (("short side, pixels", by_size), ("rotation, degrees", by_angle))
    )
