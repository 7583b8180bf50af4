"""The ICDAR 2015 incidental scene text protocol (task 4.1, localisation), as its official script does it.

A detection matches a word at IoU > 0.5, one to one, in file order. A detection that lies by more than half
of its own area in a don't-care word counts neither for nor against; nor does the don't-care word.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import shapely

from utils.annotations import Words

MATCH_IOU = 0.5
DONT_CARE_PRECISION = 0.5


class Evaluation(NamedTuple):
    """Shares in 0 to 1 over all images together, and the counts that they come from."""

    precision: float
    recall: float
    hmean: float
    matched: int
    words: int
    detections: int

    @classmethod
    def of_counts(cls, matched: int, words: int, detections: int) -> "Evaluation":
        """Don't-cares are in none of the counts."""
        precision = matched / detections if detections else 0.0
        recall = matched / words if words else 0.0
        hmean = 2 * precision * recall / (precision + recall) if matched else 0.0
        return cls(precision, recall, hmean, matched, words, detections)


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
    return Evaluation.of_counts(matched, words, found)


def match(words: Words, detections: np.ndarray) -> Matching:
    """One image: words against detections (K, 4, 2)."""
    ignored_words = np.asarray(words.ignored, bool)
    detections = np.asarray(detections).reshape(-1, 4, 2)
    word_polygons, detection_polygons = _polygons(words.quads), _polygons(detections)
    intersection = shapely.area(shapely.intersection(word_polygons[:, None], detection_polygons[None, :]))
    word_areas, detection_areas = shapely.area(word_polygons), shapely.area(detection_polygons)
    precision = intersection / np.where(detection_areas > 0, detection_areas, np.inf)
    ignored_detections = (precision[ignored_words] > DONT_CARE_PRECISION).any(0)
    union = word_areas[:, None] + detection_areas[None, :] - intersection
    candidates = intersection / np.where(union > 0, union, np.inf) > MATCH_IOU
    candidates &= ~ignored_words[:, None] & ~ignored_detections[None, :]
    pairs, free = [], np.ones(len(detections), bool)
    for word in range(len(word_polygons)):
        hits = np.flatnonzero(candidates[word] & free)
        if len(hits):
            pairs.append((word, int(hits[0])))
            free[hits[0]] = False
    return Matching(pairs, ignored_detections)


def _polygons(quads: np.ndarray) -> np.ndarray:
    """(N, 4, 2) -> (N,) shapely polygons, those with crossing sides mended."""
    polygons = shapely.polygons(np.asarray(quads, np.float64).reshape(-1, 4, 2))
    invalid = ~shapely.is_valid(polygons)
    polygons[invalid] = shapely.make_valid(polygons[invalid])
    return polygons
