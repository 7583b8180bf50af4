"""Network output -> word quads: threshold, merge the candidates of one word, non-maximum suppression.

Merging is by locality first, as in EAST's locality-aware NMS (Zhou et al. 2017, section 3.6): neighbours
in a map's row that tell of the same box become one, weighted by their scores. Here that is one pass over
all rows at once; then the rows' boxes of a word are merged with its best one in the same way.
"""

import numpy as np

from utils.geometry import bounding_boxes, box_intersections, pairwise_iou, rotation_axes, signed_areas
from utils.maps import STRIDE, Prediction

SCORE_THRESHOLD = 0.5
"""Default least probability of a cell that counts as text."""

NMS_THRESHOLD = 0.2
"""Default IoU above which the weaker of two words goes."""

MERGE_THRESHOLD = 0.5
"""Candidates with more IoU than this tell of the same word."""

MAX_BOXES = 3000
"""Merged rows beyond this many (noise, never text) are dropped, those of least weight first."""

_PAIRS_AT_ONCE = 100_000


def decode(
    prediction: Prediction, score_threshold: float = SCORE_THRESHOLD, nms_threshold: float = NMS_THRESHOLD
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Per image: word quads (K, 4, 2) float32, clockwise from top-left in the input's pixels, and scores (K,).

    score_threshold: smallest probability (0 to 1) of a cell that counts as text. nms_threshold: of two
    words with more IoU than this, the one of the lower score goes. Best score first.
    """
    scores = prediction.confidence.detach().float().sigmoid().cpu().numpy()[:, 0]
    distances = prediction.distances.detach().float().cpu().numpy()
    angles = prediction.angle.detach().float().cpu().numpy()[:, 0]
    results = []
    for image_scores, image_distances, image_angles in zip(scores, distances, angles, strict=True):
        y, x = np.nonzero(image_scores >= score_threshold)
        quads = restore_quads(x, y, image_distances[:, y, x], image_angles[y, x])
        whole = np.isfinite(quads).all((1, 2))
        merged = merge_rows(x[whole], y[whole], quads[whole], image_scores[y, x][whole].astype(np.float64))
        quads, scores_of_words = suppress(*merge_words(*merged), nms_threshold)
        results.append((quads.astype(np.float32), scores_of_words.astype(np.float32)))
    return results


def restore_quads(x: np.ndarray, y: np.ndarray, distances: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """Cells (K,), their distances (4, K) and angles (K,) -> quads (K, 4, 2) float64 in input pixels."""
    top, right, bottom, left = distances.astype(np.float64)
    axes = rotation_axes(angles.astype(np.float64) - np.pi / 4)
    along = np.stack([-left, right, right, -left], 1)
    down = np.stack([-top, -top, bottom, bottom], 1)
    centres = np.stack([x, y], 1)[:, None] * float(STRIDE)
    return centres + np.stack([along, down], 2) @ axes


def merge_rows(
    x: np.ndarray, y: np.ndarray, quads: np.ndarray, scores: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Neighbouring cells of a row (in row order) that overlap -> quads (R, 4, 2), scores (R,), weights (R,).

    Quads and scores are means weighted by the scores; a weight is the sum of the scores.
    """
    if not len(quads):
        return quads, scores, scores
    linked = (np.diff(x) == 1) & (np.diff(y) == 0)
    linked[linked] = pairwise_iou(quads[:-1][linked], quads[1:][linked]) > MERGE_THRESHOLD
    starts = np.flatnonzero(np.r_[True, ~linked])
    weights = np.add.reduceat(scores, starts)
    quads = np.add.reduceat(quads * scores[:, None, None], starts) / weights[:, None, None]
    return quads, np.add.reduceat(scores**2, starts) / weights, weights


def merge_words(quads: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """From the heaviest box on, each takes in those that overlap it -> quads (W, 4, 2), scores (W,)."""
    order = np.argsort(-weights, kind="stable")[:MAX_BOXES]
    quads, scores, weights = quads[order], scores[order], weights[order]
    groups = _greedy_groups(_overlapping(quads, MERGE_THRESHOLD))
    words = np.empty((len(groups), 4, 2)), np.empty(len(groups))
    for word, members in enumerate(groups):
        words[0][word] = np.average(quads[members], axis=0, weights=weights[members])
        words[1][word] = np.average(scores[members], weights=weights[members])
    return words


def suppress(quads: np.ndarray, scores: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Standard non-maximum suppression on polygons, best score first."""
    order = np.argsort(-scores, kind="stable")
    quads, scores = quads[order], scores[order]
    kept = [members[0] for members in _greedy_groups(_overlapping(quads, threshold))]
    return quads[kept], scores[kept]


def _overlapping(quads: np.ndarray, threshold: float) -> np.ndarray:
    """(N, N) bool: which quads have more IoU than the threshold."""
    boxes, areas = bounding_boxes(quads), signed_areas(quads)
    most = box_intersections(boxes, boxes)  # their intersection is no larger than that of their boxes
    first, second = np.nonzero(np.triu(most > threshold * (areas[:, None] + areas - most), 1))
    overlapping = np.zeros((len(quads), len(quads)), bool)
    for start in range(0, len(first), _PAIRS_AT_ONCE):
        some = slice(start, start + _PAIRS_AT_ONCE)
        found = pairwise_iou(quads[first[some]], quads[second[some]]) > threshold
        overlapping[first[some][found], second[some][found]] = True
    return overlapping | overlapping.T


def _greedy_groups(overlapping: np.ndarray) -> list[np.ndarray]:
    """In order, each box that is still free and all the free ones that overlap it."""
    free = np.ones(len(overlapping), bool)
    groups = []
    for box in range(len(overlapping)):
        if free[box]:
            members = np.flatnonzero(overlapping[box] & free)
            groups.append(np.r_[box, members])
            free[members] = free[box] = False
    return groups
