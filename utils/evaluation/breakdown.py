"""Recall and precision by classes of words: by size and by rotation."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from utils.data.annotations import Words
from utils.evaluation.protocol import assign, find_overlaps
from utils.geometry import min_area_rectangles
from utils.runtime.tables import format_table

SIZE_STEPS = (0, 8, 16, 32, 64, np.inf)
"""Bounds of the classes by a word's short side, in pixels of the frame."""

ANGLE_STEPS = (0, 5, 15, 30, 45.001)
"""Bounds of the classes by the absolute value of a word's rotation, in degrees."""


class WordClass(NamedTuple):
    """Counts of one class. Recall is over the words of the class, precision over the detections of the class."""

    low: float
    high: float
    words: int
    found: int
    """Words that a detection matches."""
    detections: int
    correct: int
    """Detections that match a word of any class."""

    @property
    def recall(self) -> float:
        return self.found / self.words if self.words else float("nan")

    @property
    def precision(self) -> float:
        return self.correct / self.detections if self.detections else float("nan")


def short_sides(quads: np.ndarray) -> np.ndarray:
    """(N, 4, 2) -> (N,) length of the short side, in pixels."""
    return min_area_rectangles(quads).sizes.min(1, initial=np.inf)


def rotations(quads: np.ndarray) -> np.ndarray:
    """(N, 4, 2) -> (N,) absolute rotation in degrees: 0 (horizontal or vertical) to 45."""
    return np.degrees(np.abs(min_area_rectangles(quads).theta))


def break_down(
    ground_truth: Sequence[Words], quads: Sequence[np.ndarray], measure: Callable, steps: Sequence[float]
) -> list[WordClass]:
    """Counts of words and detections in each class of a measure of their quads.

    measure: `short_sides` or `rotations`. steps: bounds of the classes; each class includes its lower bound.
    """
    counts = np.zeros((len(steps) - 1, 4), int)
    for words, found in zip(ground_truth, quads, strict=True):
        found = np.asarray(found, np.float64).reshape(-1, 4, 2)
        overlaps = find_overlaps(words, found)
        pairs = np.array(assign(overlaps.candidates), int).reshape(-1, 2)
        for column, shapes, counted, matched in (
            (0, words.quads, ~overlaps.ignored_words, pairs[:, 0]),
            (2, found, ~overlaps.ignored_detections, pairs[:, 1]),
        ):
            number = np.searchsorted(steps, measure(np.asarray(shapes, np.float64)), side="right") - 1
            np.add.at(counts[:, column], number[counted], 1)
            np.add.at(counts[:, column + 1], number[matched], 1)
    return [WordClass(low, high, *map(int, row)) for low, high, row in zip(steps[:-1], steps[1:], counts, strict=True)]


def format_breakdowns(ground_truth: Sequence[Words], quads: Sequence[np.ndarray]) -> str:
    """Two tables: recall and precision by the words' size and by their rotation."""
    by_size = break_down(ground_truth, quads, short_sides, SIZE_STEPS)
    by_angle = break_down(ground_truth, quads, rotations, ANGLE_STEPS)
    return f"{_format_classes('short side, pixels', by_size)}\n\n{_format_classes('rotation, degrees', by_angle)}"


def _format_classes(title: str, classes: Sequence[WordClass]) -> str:
    rows = [[title, "words", "recall", "detections", "precision"]]
    for each in classes:
        name = f"{each.low:g} or more" if np.isinf(each.high) else f"{each.low:g} to {each.high:.0f}"
        recall, precision = (f"{share:.3f}".replace("nan", "-") for share in (each.recall, each.precision))
        rows.append([name, str(each.words), recall, str(each.detections), precision])
    return format_table(rows)
