"""Network output -> word quads: score threshold, merging of near-duplicate candidates, non-maximum suppression.

Every text cell predicts a word box. As in EAST's locality-aware NMS (Zhou et al. 2017, section 3.6), near-duplicate
boxes of neighbouring cells in a row are merged first, weighted by their scores; here, all rows are merged in one pass.
Then each box, in order of decreasing weight, is merged with all its near duplicates. The weight of a box is the sum of
its cells' scores. Of overlapping words, the one with the largest weight is kept, as in EAST. The score of a word is
the mean of its cells' scores, weighted by these scores, so it remains a probability.

A word is complete if all cells of its core, its text cells in training, predict its box with certainty: then its weight
is their number. Fences, windows and pieces of words collect few of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import shapely

from utils.geometry import bounding_boxes, least_iou, pairwise_iou, signed_areas
from utils.maps import SHRINK_RATIO, STRIDE, Prediction

if TYPE_CHECKING:
    import torch

SCORE_THRESHOLD = 0.5
"""Default lowest probability of a text cell."""

NMS_THRESHOLD = 0.2
"""Default IoU of two words above which the one with the smaller weight is removed."""

WORD_THRESHOLD = 0.5
"""Default lowest completeness of a word."""

MERGE_THRESHOLD = 0.8
"""IoU above which candidates are near duplicates and are merged. Less accurate candidates would blur the corners of
the word; suppression removes them."""

MAX_BOXES = 5000
"""Limit on the boxes after the merging of rows; those with the smallest weights are dropped. Frames have a few
hundred, but noise can have any number."""

_HEADS_AT_ONCE = 32
"""Group heads that are compared with the other boxes in one step."""


class Thresholds(NamedTuple):
    """The numbers that decide which words a network's maps contain."""

    score: float = SCORE_THRESHOLD
    """Lowest probability of a text cell, 0 to 1."""
    nms: float = NMS_THRESHOLD
    """IoU of two words above which the one with the smaller weight is removed, 0 to 1."""
    word: float = WORD_THRESHOLD
    """Lowest completeness of a word, 0 to 1."""


def decode(
    prediction: Prediction,
    score_threshold: float = SCORE_THRESHOLD,
    nms_threshold: float = NMS_THRESHOLD,
    word_threshold: float = 0.0,
) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each image: word quads (K, 4, 2) float32, clockwise from top-left in input pixels, and scores (K,) float32.

    The best score comes first. An image without words gives (0, 4, 2) and (0,).

    score_threshold: lowest probability (0 to 1) of a text cell. nms_threshold: of two words with a larger IoU, the
    one with the smaller weight is removed. word_threshold: lowest completeness (0 to 1) of a word; by default all words
    are returned; detectors use `WORD_THRESHOLD`. Cells with a NaN or infinite logit, distance or angle are no text.
    """
    results, size = [], prediction.confidence.shape[2:]
    for cells in _text_cells(prediction, score_threshold):
        quads, scores, weights = merge_words(*merge_rows(*cells))
        kept = suppress(quads, weights, nms_threshold)
        kept = kept[weights[kept] >= word_threshold * core_cells(quads[kept], *size)]
        kept = kept[np.argsort(-scores[kept], kind="stable")]
        results.append((quads[kept].astype(np.float32), scores[kept].astype(np.float32)))
    return results


def _text_cells(prediction: Prediction, score_threshold: float) -> Iterator[tuple[np.ndarray, ...]]:
    """For each image: x (K,), y (K,), quads (K, 4, 2) and scores (K,) of the text cells, row by row.

    Distances and angles are copied from the prediction's device for these cells only.
    """
    # The logit of slightly less than the threshold; the probabilities are compared exactly below.
    least = _logit(min(max(score_threshold - 1e-4, 1e-9), 1 - 1e-6))
    for logits, distances, angles in zip(*prediction, strict=True):
        logits = _as_array(logits[0])
        y, x = np.nonzero((logits >= least) & (logits < np.inf))
        scores = 1 / (1 + np.exp(-logits[y, x].astype(np.float64)))
        distances, angles = _gather(distances, y, x), _gather(angles, y, x)[0]
        text = (scores >= score_threshold) & np.isfinite(distances.sum(0) + angles)
        x, y = x[text], y[text]
        yield x, y, restore_quads(x, y, distances[:, text], angles[text]), scores[text]


def _gather(maps: torch.Tensor | np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Maps (C, h, w) on any device -> (C, K) at these cells. On the CPU, numpy avoids the cost of torch's threads."""
    if isinstance(maps, np.ndarray) or maps.device.type == "cpu":
        return _as_array(maps)[:, y, x]
    import torch  # not at the top: an exported network is used without PyTorch

    y, x = (torch.from_numpy(indices).to(maps.device) for indices in (y, x))
    return _as_array(maps[:, y, x])


def _as_array(maps: torch.Tensor | np.ndarray) -> np.ndarray:
    """A tensor on any device, or an array, as a float32 array."""
    return np.asarray(maps, np.float32) if isinstance(maps, np.ndarray) else maps.detach().float().cpu().numpy()


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
    """Merge near-duplicate rectangles of neighbouring cells in a row: quads (R, 4, 2), scores (R,), weights (R,).

    Quads and scores are means weighted by the cells' scores; a weight is the sum of the scores. x, y, quads, scores:
    of the cells, row by row.
    """
    if not len(quads):
        return quads, scores, scores
    linked = (np.diff(x) == 1) & (np.diff(y) == 0)
    undecided = linked.copy()
    undecided[linked] = least_iou(quads[:-1][linked], quads[1:][linked]) <= MERGE_THRESHOLD + 1e-6
    linked[undecided] = pairwise_iou(quads[:-1][undecided], quads[1:][undecided]) > MERGE_THRESHOLD
    starts = np.flatnonzero(np.r_[True, ~linked])
    weights = np.add.reduceat(scores, starts)
    quads = np.add.reduceat(quads * scores[:, None, None], starts) / weights[:, None, None]
    return quads, np.add.reduceat(scores**2, starts) / weights, weights


def merge_words(
    quads: np.ndarray, scores: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Merge each box, in order of decreasing weight, with its near duplicates.

    Returns quads (W, 4, 2) and scores (W,), which are means by weight, and weights (W,), which are sums.
    """
    order = np.argsort(-weights, kind="stable")[:MAX_BOXES]
    quads, scores, weights = quads[order], scores[order], weights[order]
    heads = _greedy_groups(quads, MERGE_THRESHOLD)
    word = (np.cumsum(_is_head(heads)) - 1)[heads]
    totals = np.bincount(word, weights)
    columns = np.column_stack([quads.reshape(-1, 8), scores]).T * weights
    means = np.stack([np.bincount(word, column) for column in columns], 1) / totals[:, None]
    return means[:, :8].reshape(-1, 4, 2), means[:, 8], totals


def core_cells(quads: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """(K,) how many text cells words with these quads (K, 4, 2) have in training, by their area; at least 1.

    Of a word that is partly outside the maps (rows, columns), the same share of its core as of its bounding box counts.
    """
    sides = np.linalg.norm(quads[:, 1:3] - quads[:, :2], axis=2)  # the top and the right side
    core = sides - 2 * SHRINK_RATIO * sides.min(1, keepdims=True)
    boxes = bounding_boxes(quads)
    whole = np.maximum(boxes[:, 2:] - boxes[:, :2], 1e-6)
    end = np.array([columns, rows]) * STRIDE
    inside = np.clip(boxes[:, 2:], 0, end) - np.clip(boxes[:, :2], 0, end)
    return np.maximum((core * inside / whole).prod(1) / STRIDE**2, 1)


def suppress(quads: np.ndarray, priority: np.ndarray, threshold: float) -> np.ndarray:
    """Non-maximum suppression of quads (N, 4, 2): indices (K,) of the quads to keep, highest priority (N,) first."""
    order = np.argsort(-priority, kind="stable")
    return order[_is_head(_greedy_groups(quads[order], threshold))]


def _is_head(heads: np.ndarray) -> np.ndarray:
    """(N,) bool: which quads are heads. (np.unique imports all of np.ma, in every process that detects.)"""
    return heads == np.arange(len(heads))


def _greedy_groups(quads: np.ndarray, threshold: float) -> np.ndarray:
    """(N, 4, 2) -> (N,) index of the head of each quad's group.

    In order, each quad without a group becomes the head of a group with all other quads without a group whose IoU
    with it is above the threshold.
    """
    heads = np.full(len(quads), -1)
    boxes, areas = bounding_boxes(quads), signed_areas(quads)
    rectangles = shapely.box(*boxes.T)
    tree = shapely.STRtree(rectangles)
    while len(free := np.flatnonzero(heads < 0)):
        # A few heads at a time, not all pairs: the first head of a word takes most of its quads.
        few = free[:_HEADS_AT_ONCE]
        number, second = tree.query(rectangles[few])  # sorted by `number`
        later = (second > few[number]) & (heads[second] < 0)
        first, second = few[number[later]], second[later]
        # An upper bound of the intersection: that of the bounding boxes, and the smaller of the two areas.
        sides = np.minimum(boxes[first, 2:], boxes[second, 2:]) - np.maximum(boxes[first, :2], boxes[second, :2])
        upper_bound = np.minimum(sides[:, 0] * sides[:, 1], np.minimum(areas[first], areas[second]))
        near = upper_bound > threshold * (areas[first] + areas[second] - upper_bound)
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
