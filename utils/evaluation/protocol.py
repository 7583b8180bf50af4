"""The ICDAR 2015 protocol for incidental scene text (task 4.1, localisation), equal to its official script.

A detection matches a word at IoU > 0.5, one to one, in file order. A detection of which more than half of the area
lies in a don't-care word is ignored, and so is the don't-care word.

Details of the official script that change results: coordinates are truncated to whole numbers; a polygon's area is
that of the shoelace formula (the halves of a bow-tie cancel), but areas of intersections are exact.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import shapely

from utils.data.annotations import Words
from utils.geometry import bounding_boxes, box_intersections, signed_areas

MATCH_IOU = 0.5
DONT_CARE_PRECISION = 0.5
_LARGEST = 2**31 - 1  # the official script keeps coordinates in int32


class Evaluation(NamedTuple):
    """Shares from 0 to 1 over all images together, and the counts from which they are computed."""

    precision: float
    recall: float
    hmean: float
    matched: int
    words: int
    detections: int

    @classmethod
    def from_counts(cls, matched: int, words: int, detections: int) -> "Evaluation":
        """The shares of these counts; a share of nothing is 0."""
        precision = matched / detections if detections else 0.0
        recall = matched / words if words else 0.0
        hmean = 2 * recall * precision / (recall + precision) if matched else 0.0
        return cls(precision, recall, hmean, matched, words, detections)


class Overlaps(NamedTuple):
    """Which of one image's M words and K detections can match."""

    candidates: np.ndarray
    """(M, K) bool: IoU above the limit, neither of the two ignored."""
    ignored_words: np.ndarray
    """(M,) bool: don't-care."""
    ignored_detections: np.ndarray
    """(K,) bool: inside a don't-care word."""


class Matching(NamedTuple):
    """The matches in one image."""

    pairs: list[tuple[int, int]]
    """(word, detection) indices that match."""
    ignored_words: np.ndarray
    ignored_detections: np.ndarray
    """As in `Overlaps`."""

    @property
    def counts(self) -> tuple[int, int, int]:
        """The matches, and the words and detections that are not ignored."""
        return len(self.pairs), int((~self.ignored_words).sum()), int((~self.ignored_detections).sum())


def evaluate(ground_truth: Iterable, detections: Iterable) -> Evaluation:
    """Precision, recall and hmean over all images, by the ICDAR 2015 protocol.

    ground_truth: for each image `Words`, or (quads (M, 4, 2), ignored (M,) bool).
    detections: for each image quads (K, 4, 2), or (quads, scores) as `decode` returns them.
    Raises ValueError for coordinates that are not finite.
    """
    counts = np.zeros(3, int)
    for words, found in zip(ground_truth, detections, strict=True):
        quads = found[0] if isinstance(found, tuple) else found
        counts += match(Words(*words), quads).counts
    return Evaluation.from_counts(*counts.tolist())


def match(words: Words, detections: np.ndarray) -> Matching:
    """The matches of one image's words and detections (K, 4, 2)."""
    overlaps = find_overlaps(words, detections)
    return Matching(assign(overlaps.candidates), overlaps.ignored_words, overlaps.ignored_detections)


def find_overlaps(words: Words, detections: np.ndarray) -> Overlaps:
    """Which words and detections (K, 4, 2) of one image can match, and which are ignored."""
    word_quads, detection_quads = truncate(words.quads), truncate(detections)
    ignored_words = np.asarray(words.ignored, bool).reshape(-1)
    word_areas, detection_areas = np.abs(signed_areas(word_quads)), np.abs(signed_areas(detection_quads))
    intersection = intersections(word_quads, detection_quads)
    with np.errstate(divide="ignore", invalid="ignore"):  # 0 / 0, of a polygon without area, counts as no overlap
        inside = intersection / detection_areas > DONT_CARE_PRECISION
        iou = intersection / (detection_areas + word_areas[:, None] - intersection)
    ignored_detections = (inside & (detection_areas > 0))[ignored_words].any(0)
    candidates = np.isfinite(iou) & (iou > MATCH_IOU) & ~ignored_words[:, None] & ~ignored_detections
    return Overlaps(candidates, ignored_words, ignored_detections)


def assign(candidates: np.ndarray) -> list[tuple[int, int]]:
    """(M, K) bool -> pairs (word, detection): each word in order gets the first free detection."""
    pairs, free = [], np.ones(candidates.shape[1], bool)
    for word in np.flatnonzero(candidates.any(1)):
        hits = np.flatnonzero(candidates[word] & free)
        if len(hits):
            pairs.append((int(word), int(hits[0])))
            free[hits[0]] = False
    return pairs


def truncate(quads: np.ndarray) -> np.ndarray:
    """(N, 4, 2) float64, truncated to whole numbers. Raises ValueError for coordinates that are not finite."""
    quads = np.trunc(np.asarray(quads, np.float64).reshape(-1, 4, 2))
    if not (np.abs(quads) <= _LARGEST).all():
        raise ValueError(f"a quad with coordinates beyond +-{_LARGEST} or not finite cannot be evaluated")
    return quads


def intersections(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Quads (A, 4, 2), (B, 4, 2) -> (A, B) areas of their intersections."""
    areas = np.zeros((len(first), len(second)))
    if not areas.size:
        return areas
    one, other = np.nonzero(box_intersections(bounding_boxes(first), bounding_boxes(second)))
    areas[one, other] = shapely.area(shapely.intersection(_polygons(first)[one], _polygons(second)[other]))
    return areas


def _polygons(quads: np.ndarray) -> np.ndarray:
    """(N, 4, 2) -> (N,) shapely polygons, self-crossing ones as the areas that they enclose."""
    polygons = shapely.polygons(quads)
    invalid = ~shapely.is_valid(polygons)
    polygons[invalid] = shapely.make_valid(polygons[invalid])
    return polygons
