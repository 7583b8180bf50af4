"""The ICDAR 2015 incidental scene text protocol (task 4.1, localisation), as its official script does it.

A detection matches a word at IoU > 0.5, one to one, in file order. A detection that lies by more than half
of its own area in a don't-care word counts neither for nor against; nor does the don't-care word.

Exactly as there: coordinates lose what follows their decimal point; a polygon's area is that of the
shoelace formula (a bow-tie's halves cancel), an intersection is the true one.
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
    """Shares in 0 to 1 over all images together, and the counts that they come from."""

    precision: float
    recall: float
    hmean: float
    matched: int
    words: int
    detections: int


class Overlaps(NamedTuple):
    """What the protocol needs to know of one image's M words and K detections."""

    candidates: np.ndarray
    """(M, K) bool: may match. Don't-cares may not."""
    ignored_words: np.ndarray
    """(M,) bool: don't-care."""
    ignored_detections: np.ndarray
    """(K,) bool: those in don't-care words."""


class Matching(NamedTuple):
    """What became of one image's words and detections."""

    pairs: list[tuple[int, int]]
    """(word, detection) that match."""
    ignored_detections: np.ndarray
    """(K,) bool: those in don't-care words."""


def evaluate(ground_truth: Iterable, detections: Iterable) -> Evaluation:
    """Precision, recall and hmean.

    ground_truth: per image `Words`, or (quads (M, 4, 2), ignored (M,) bool).
    detections: per image quads (K, 4, 2), or (quads, scores) as `decode` returns them.
    """
    matched = words = found = 0
    for image_words, image_detections in zip(ground_truth, detections, strict=True):
        image_words = Words(*image_words)
        quads = image_detections[0] if isinstance(image_detections, tuple) else image_detections
        matching = match(image_words, quads)
        matched += len(matching.pairs)
        words += int((~np.asarray(image_words.ignored, bool)).sum())
        found += int((~matching.ignored_detections).sum())
    return summarise(matched, words, found)


def summarise(matched: int, words: int, detections: int) -> Evaluation:
    """The shares of these counts; those of nothing are 0."""
    precision = matched / detections if detections else 0.0
    recall = matched / words if words else 0.0
    hmean = 2 * recall * precision / (recall + precision) if matched else 0.0
    return Evaluation(precision, recall, hmean, matched, words, detections)


def match(words: Words, detections: np.ndarray) -> Matching:
    """One image: words against detections (K, 4, 2)."""
    overlaps = find_overlaps(words, detections)
    return Matching(assign(overlaps.candidates), overlaps.ignored_detections)


def find_overlaps(words: Words, detections: np.ndarray) -> Overlaps:
    """Which words and detections of one image may match, and which detections are don't-cares."""
    word_quads, detection_quads = truncate(words.quads), truncate(detections)
    ignored_words = np.asarray(words.ignored, bool).reshape(-1)
    word_areas, detection_areas = np.abs(signed_areas(word_quads)), np.abs(signed_areas(detection_quads))
    intersection = _intersections(word_quads, detection_quads)
    with np.errstate(divide="ignore", invalid="ignore"):  # nothing divided by no area is no overlap
        inside = intersection / detection_areas > DONT_CARE_PRECISION
        iou = intersection / (detection_areas + word_areas[:, None] - intersection)
    ignored_detections = (inside & (detection_areas > 0))[ignored_words].any(0)
    candidates = np.isfinite(iou) & (iou > MATCH_IOU) & ~ignored_words[:, None] & ~ignored_detections
    return Overlaps(candidates, ignored_words, ignored_detections)


def assign(candidates: np.ndarray) -> list[tuple[int, int]]:
    """(M, K) bool -> pairs (word, detection): each word in order takes the first that is free."""
    pairs, free = [], np.ones(candidates.shape[1], bool)
    for word in np.flatnonzero(candidates.any(1)):
        hits = np.flatnonzero(candidates[word] & free)
        if len(hits):
            pairs.append((int(word), int(hits[0])))
            free[hits[0]] = False
    return pairs


def truncate(quads: np.ndarray) -> np.ndarray:
    """(N, 4, 2) -> the same as whole float64 numbers, cut towards zero. Raises ValueError for no numbers."""
    quads = np.trunc(np.asarray(quads, np.float64).reshape(-1, 4, 2))
    if not (np.abs(quads) <= _LARGEST).all():
        raise ValueError(f"a quad with coordinates beyond +-{_LARGEST} or not finite cannot be evaluated")
    return quads


def _intersections(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Quads (A, 4, 2), (B, 4, 2) -> (A, B) areas of their intersections."""
    areas = np.zeros((len(first), len(second)))
    if not areas.size:
        return areas
    one, other = np.nonzero(box_intersections(bounding_boxes(first), bounding_boxes(second)))
    areas[one, other] = shapely.area(shapely.intersection(_polygons(first)[one], _polygons(second)[other]))
    return areas


def _polygons(quads: np.ndarray) -> np.ndarray:
    """(N, 4, 2) -> (N,) shapely polygons, those with crossing sides as the areas that they enclose."""
    polygons = shapely.polygons(quads)
    invalid = ~shapely.is_valid(polygons)
    polygons[invalid] = shapely.make_valid(polygons[invalid])
    return polygons
