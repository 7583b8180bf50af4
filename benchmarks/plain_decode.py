"""Decoding in plain Python: a loop over cells, and a shapely polygon for every pair of boxes.

`decode_plain` follows the rules of `utils.decode` step by step and gives the same boxes. `decode_sequential` merges as
locality-aware NMS does (Zhou et al. 2017, section 3.6): candidates in row order, each into the last box if their IoU
is above a threshold, by default 0.5.
"""

import math

import numpy as np
from shapely.geometry import Polygon

from utils.decode import MERGE_THRESHOLD
from utils.maps import STRIDE, Prediction

Box = tuple[np.ndarray, float, float]
"""Quad (4, 2), score, weight."""


def decode_plain(prediction: Prediction, score_threshold: float, nms_threshold: float) -> list:
    """For each image: quads (K, 4, 2) and scores (K,), as `utils.decode.decode`."""
    return [_suppress(_merge_words(_merge_rows(cells)), nms_threshold) for cells in _cells(prediction, score_threshold)]


def decode_sequential(
    prediction: Prediction, score_threshold: float, nms_threshold: float, merge_threshold: float = 0.5
) -> list:
    """As `decode_plain`, with sequential merging; scores are means here, too, so they remain probabilities."""
    return [
        _suppress(_merge_into_last(cells, merge_threshold), nms_threshold)
        for cells in _cells(prediction, score_threshold)
    ]


def _cells(prediction: Prediction, score_threshold: float) -> list[list[tuple]]:
    """For each image: (x, y, quad, score) of each text cell, row by row."""
    images = []
    for confidence, distances, angles in zip(*(maps.float().cpu().numpy() for maps in prediction), strict=True):
        cells: list[tuple] = []
        for y in range(confidence.shape[1]):
            for x in range(confidence.shape[2]):
                score = 1 / (1 + math.exp(-float(confidence[0, y, x])))
                if score >= score_threshold:
                    cells.append((x, y, restore(x, y, distances[:, y, x], angles[0, y, x]), score))
        images.append(cells)
    return images


def restore(x: int, y: int, distances: np.ndarray, angle: float) -> np.ndarray:
    """The box (4, 2) that a cell predicts, clockwise from top-left. distances: (4,) top, right, bottom, left."""
    top, right, bottom, left = map(float, distances)
    theta = float(angle) - math.pi / 4
    corners = [(-left, -top), (right, -top), (right, bottom), (-left, bottom)]
    return np.array(
        [
            (
                STRIDE * x + along * math.cos(theta) + down * math.sin(theta),
                STRIDE * y - along * math.sin(theta) + down * math.cos(theta),
            )
            for along, down in corners
        ]
    )


def iou(first: np.ndarray, second: np.ndarray) -> float:
    first, second = Polygon(first), Polygon(second)
    shared = first.intersection(second).area
    union = first.area + second.area - shared
    return shared / union if union else 0.0


def _mean(boxes: list[Box]) -> Box:
    """The weighted mean of several boxes; its weight is the sum of theirs."""
    weight = sum(box[2] for box in boxes)
    quad = sum((box[0] * box[2] for box in boxes), np.zeros((4, 2))) / weight
    return quad, sum(box[1] * box[2] for box in boxes) / weight, weight


def _merge_rows(cells: list[tuple]) -> list[Box]:
    rows: list[list[Box]] = []
    last = None
    for x, y, quad, score in cells:
        neighbours = last is not None and (x - 1, y) == last[:2] and iou(last[2], quad) > MERGE_THRESHOLD
        if not neighbours:
            rows.append([])
        rows[-1].append((quad, score, score))
        last = (x, y, quad)
    return [_mean(row) for row in rows]


def _merge_words(boxes: list[Box]) -> list[Box]:
    boxes = sorted(boxes, key=lambda box: -box[2])
    words = []
    while boxes:
        members = [box for box in boxes[1:] if iou(boxes[0][0], box[0]) > MERGE_THRESHOLD]
        words.append(_mean([boxes[0], *members]))
        boxes = [box for box in boxes[1:] if not any(box is member for member in members)]
    return words


def _merge_into_last(cells: list[tuple], threshold: float) -> list[Box]:
    boxes: list[Box] = []
    for _, _, quad, score in cells:
        if boxes and iou(boxes[-1][0], quad) > threshold:
            boxes[-1] = _mean([boxes[-1], (quad, score, score)])
        else:
            boxes.append((quad, score, score))
    return boxes


def _suppress(boxes: list[Box], threshold: float) -> tuple[np.ndarray, np.ndarray]:
    kept: list[Box] = []
    for box in sorted(boxes, key=lambda box: -box[2]):
        if all(iou(box[0], heavier[0]) <= threshold for heavier in kept):
            kept.append(box)
    kept.sort(key=lambda box: -box[1])
    quads = np.array([box[0] for box in kept]).reshape(-1, 4, 2)
    return quads, np.array([box[1] for box in kept])
