"""Network output -> word quads: threshold, merge candidates that tell the same, non-maximum suppression.

Merging is by locality first, as in EAST's locality-aware NMS (Zhou et al. 2017, section 3.6): neighbours in a map's
row whose boxes nearly agree become one, weighted by their scores. Here that is one pass over all rows at once; then,
from the heaviest on, each box takes in all those that nearly agree with it. A box's weight is the sum of its cells'
scores. Of words that overlap, the heavier one stays, as there; a word's score is the mean of its cells' scores,
weighted by themselves, so that it stays a probability.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import shapely
import torch

from utils.geometry import bounding_boxes, least_iou, pairwise_iou, signed_areas
from utils.maps import STRIDE, Prediction

SCORE_THRESHOLD = 0.5
"""Default least probability of a cell that counts as text."""

NMS_THRESHOLD = 0.2
"""Default IoU above which the lighter of two words goes."""


class Thresholds(NamedTuple):
    """The two numbers that decide which words a network's maps contain."""

    score: float = SCORE_THRESHOLD
    """Lowest probability of a text cell, 0 to 1."""
    nms: float = NMS_THRESHOLD
    """IoU of two words above which the lighter one is removed."""


MERGE_THRESHOLD = 0.8
"""Candidates with more IoU than this are merged. Those that tell less well of a word would blur its corners: they
are left to the suppression."""

MAX_BOXES = 5000
"""Rows' boxes beyond this many are dropped, the lightest first. Frames have some hundred, noise any number."""

_HEADS_AT_ONCE = 32


def decode(
    prediction: Prediction, score_threshold: float = SCORE_THRESHOLD, nms_threshold: float = NMS_THRESHOLD
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Per image: word quads (K, 4, 2) float32, clockwise from top-left in the input's pixels, and scores (K,).

    score_threshold: smallest probability (0 to 1) of a cell that counts as text. nms_threshold: of two
    words with more IoU than this, the lighter one goes. Best score first; nothing found gives
    (0, 4, 2) and (0,). Cells with a NaN or an infinite logit, distance or angle count as no text.
    """
    results = []
    for cells in _text_cells(prediction, score_threshold):
        quads, scores, weights = merge_words(*merge_rows(*cells))
        kept = suppress(quads, weights, nms_threshold)
        kept = kept[np.argsort(-scores[kept], kind="stable")]
        results.append((quads[kept].astype(np.float32), scores[kept].astype(np.float32)))
    return results


def _text_cells(prediction: Prediction, score_threshold: float) -> Iterator[tuple[np.ndarray, ...]]:
    """Per image: x (K,), y (K,), quads (K, 4, 2), scores (K,) of the text cells, row by row.

    Only their distances and angles are brought over from the prediction's device, and only their logits
    become probabilities.
    """
    # The logit of a little less than the threshold: the probabilities themselves are compared below.
    least = _logit(min(max(score_threshold - 1e-4, 1e-9), 1 - 1e-6))
    for logits, distances, angles in zip(*(maps.detach() for maps in prediction), strict=True):
        logits = logits[0].float().cpu().numpy()
        y, x = np.nonzero((logits >= least) & (logits < np.inf))
        scores = 1 / (1 + np.exp(-logits[y, x].astype(np.float64)))
        distances, angles = _gather(distances, y, x), _gather(angles, y, x)[0]
        text = (scores >= score_threshold) & np.isfinite(distances.sum(0) + angles)
        x, y = x[text], y[text]
        yield x, y, restore_quads(x, y, distances[:, text], angles[text]), scores[text]


def _gather(maps: torch.Tensor, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """(C, h, w) on any device -> (C, K) at those cells. On the CPU by numpy, which does not wake torch's threads."""
    if maps.device.type == "cpu":
        return maps.float().numpy()[:, y, x]
    y, x = (torch.from_numpy(places).to(maps.device) for places in (y, x))
    return maps[:, y, x].float().cpu().numpy()


def _logit(probability: float) -> float:
    return math.log(probability / (1 - probability))


def restore_quads(x: np.ndarray, y: np.ndarray, distances: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """Cells (K,), their distances (4, K) and angles (K,) -> quads (K, 4, 2) float64 in input pixels."""
    top, right, bottom, left = distances.astype(np.float64)
    theta = angles.astype(np.float64) - np.pi / 4
    cos, sin = np.cos(theta), np.sin(theta)
    quads = np.empty((4, 2, len(x)))
    for corner, (along, down) in enumerate([(-left, -top), (right, -top), (right, bottom), (-left, bottom)]):
        quads[corner, 0] = x * float(STRIDE) + along * cos + down * sin
        quads[corner, 1] = y * float(STRIDE) - along * sin + down * cos
    return quads.transpose(2, 0, 1)


def merge_rows(
    x: np.ndarray, y: np.ndarray, quads: np.ndarray, scores: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Neighbouring cells' rectangles (in row order) that nearly agree -> quads (R, 4, 2), scores (R,), weights (R,).

    Quads and scores are means weighted by the scores; a weight is the sum of the scores.
    """
    if not len(quads):
        return quads, scores, scores
    linked = (np.diff(x) == 1) & (np.diff(y) == 0)
    unsure = linked.copy()
    unsure[linked] = least_iou(quads[:-1][linked], quads[1:][linked]) <= MERGE_THRESHOLD + 1e-6
    linked[unsure] = pairwise_iou(quads[:-1][unsure], quads[1:][unsure]) > MERGE_THRESHOLD
    starts = np.flatnonzero(np.r_[True, ~linked])
    weights = np.add.reduceat(scores, starts)
    quads = np.add.reduceat(quads * scores[:, None, None], starts) / weights[:, None, None]
    return quads, np.add.reduceat(scores**2, starts) / weights, weights


def merge_words(
    quads: np.ndarray, scores: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """From the heaviest on, each box takes in those that nearly agree with it.

    Returns quads (W, 4, 2) and scores (W,), means by weight, and weights (W,), sums.
    """
    order = np.argsort(-weights, kind="stable")[:MAX_BOXES]
    quads, scores, weights = quads[order], scores[order], weights[order]
    word = _greedy_groups(quads, MERGE_THRESHOLD)
    _, word = np.unique(word, return_inverse=True)
    totals = np.bincount(word, weights)
    columns = np.column_stack([quads.reshape(-1, 8), scores]).T * weights
    means = np.stack([np.bincount(word, column) for column in columns], 1) / totals[:, None]
    return means[:, :8].reshape(-1, 4, 2), means[:, 8], totals


def suppress(quads: np.ndarray, priority: np.ndarray, threshold: float) -> np.ndarray:
    """Standard non-maximum suppression on polygons, highest priority first -> indices (K,) of what stays, in order."""
    order = np.argsort(-priority, kind="stable")
    return order[np.unique(_greedy_groups(quads[order], threshold))]


def _greedy_groups(quads: np.ndarray, threshold: float) -> np.ndarray:
    """(N, 4, 2) -> (N,) the head of each one's group: in order, what is still free becomes the head of all
    free ones that have more IoU with it than the threshold.
    """
    heads = np.full(len(quads), -1)
    boxes, areas = bounding_boxes(quads), signed_areas(quads)
    rectangles = shapely.box(*boxes.T)
    tree = shapely.STRtree(rectangles)
    while len(free := np.flatnonzero(heads < 0)):
        # The next few with what is free, not all with all: the first ones of a word take most of it in.
        few = free[:_HEADS_AT_ONCE]
        number, second = tree.query(rectangles[few])  # in the order of few
        later = (second > few[number]) & (heads[second] < 0)
        first, second = few[number[later]], second[later]
        # Their intersection is no larger than that of their bounding boxes, nor than the smaller of the two.
        sides = np.minimum(boxes[first, 2:], boxes[second, 2:]) - np.maximum(boxes[first, :2], boxes[second, :2])
        most = np.minimum(sides[:, 0] * sides[:, 1], np.minimum(areas[first], areas[second]))
        near = most > threshold * (areas[first] + areas[second] - most)
        first, second = first[near], second[near]
        hit = pairwise_iou(quads[first], quads[second]) > threshold
        first, second = first[hit], second[hit]
        starts, ends = (np.searchsorted(first, few, side) for side in ("left", "right"))
        for head, start, end in zip(few, starts, ends, strict=True):
            if heads[head] < 0:
                heads[head] = head
                members = second[start:end]
                heads[members[heads[members] < 0]] = head
    return heads
