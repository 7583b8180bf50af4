"""The data pipeline as it is often written: the slow version that `benchmarks.data` compares with.

Every step of the augmentation resamples the whole frame in float32; every word allocates a whole map and fills it pixel
by pixel.
"""

import math
from pathlib import Path

import cv2
import numpy as np

from utils.data.annotations import Words
from utils.data.augmentation import TrainTransform
from utils.data.targets import SHRINK_RATIO
from utils.geometry import min_area_rectangles
from utils.maps import IMAGE_MEAN, IMAGE_STD, PADDING_COLOUR, STRIDE


def slow_sample(path: Path, words: Words, transform: TrainTransform, rng: np.random.Generator):
    """(image (3, crop, crop) float32 normalised, maps): the results of `transform` and `encode`, step by step."""
    picture = cv2.imread(str(path))
    assert picture is not None, path
    image = picture.astype(np.float32)[..., ::-1]
    quads = words.quads.astype(np.float64)
    factor = transform.short_side / min(image.shape[:2])
    image, quads = _resize(image, quads, factor, factor)
    height, width = image.shape[:2]
    turn = cv2.getRotationMatrix2D(
        ((width - 1) / 2, (height - 1) / 2), rng.uniform(-transform.rotation, transform.rotation), 1
    )
    image = cv2.warpAffine(image, turn, (width, height), borderValue=PADDING_COLOUR)
    quads = quads @ turn[:, :2].T + turn[:, 2]
    image, quads = _resize(image, quads, 1, rng.uniform(*transform.stretch))
    left, top = (int(rng.integers(0, max(side - transform.crop, 0) + 1)) for side in image.shape[1::-1])
    crop = np.empty((transform.crop, transform.crop, 3), np.float32)
    crop[:] = PADDING_COLOUR
    part = image[top : top + transform.crop, left : left + transform.crop]
    crop[: part.shape[0], : part.shape[1]] = part
    normalised = (crop / 255 - np.array(IMAGE_MEAN, np.float32)) / np.array(IMAGE_STD, np.float32)
    maps = slow_maps(quads - [left, top], words.ignored, transform.crop, transform.crop)
    return np.ascontiguousarray(normalised.transpose(2, 0, 1)), maps


def _resize(image: np.ndarray, quads: np.ndarray, x: float, y: float) -> tuple[np.ndarray, np.ndarray]:
    size = round(image.shape[1] * x), round(image.shape[0] * y)
    factors = np.array([size[0] / image.shape[1], size[1] / image.shape[0]])
    way = cv2.INTER_AREA if factors.min() < 1 else cv2.INTER_LINEAR
    return cv2.resize(image, size, interpolation=way), (quads + 0.5) * factors - 0.5


def slow_maps(quads: np.ndarray, ignored: np.ndarray, height: int, width: int) -> tuple[np.ndarray, ...]:
    """Score map (h, w), geometry map (5, h, w), training mask (h, w) of word quads in the input's pixels."""
    rows, columns = height // STRIDE, width // STRIDE
    score, training_mask = np.zeros((rows, columns), np.float32), np.ones((rows, columns), np.float32)
    geometry = np.zeros((5, rows, columns), np.float32)
    quads = quads / STRIDE
    whole = min_area_rectangles(quads)
    for word in np.argsort(-whole.sizes.prod(1), kind="stable"):
        visible = min_area_rectangles(quads[word : word + 1], (columns, rows))
        if not np.isfinite(visible.low).all():
            continue
        is_cut = [*(quads[word].min(0) < 0), *(quads[word].max(0) > [columns, rows])]
        box = visible if any(is_cut) else min_area_rectangles(quads[word : word + 1])
        theta, shrinkage = float(box.theta[0]), SHRINK_RATIO * whole.sizes[word].min()
        covered = np.zeros((rows, columns), np.uint8)
        cv2.fillPoly(covered, [np.rint(box.corners()[0]).astype(np.int32)], 1)
        corners = np.pad(box.corners()[0], ((0, 0), (0, 1)))
        for y, x in np.argwhere(covered):
            point = np.array([x, y, 0.0])
            distances = [distance_to_line(corners[edge], corners[(edge + 1) % 4], point) for edge in range(4)]
            if min(distances) < 0:
                continue
            positive = min(distances) >= shrinkage and not ignored[word]
            for edge, distance in zip(is_cut, (x, y, columns - x, rows - y), strict=True):
                positive = positive and not (edge and distance < shrinkage)
            score[y, x] = training_mask[y, x] = positive
            geometry[:, y, x] = [*(STRIDE * value for value in distances), theta + math.pi / 4] if positive else 0
    return score, geometry, training_mask


def distance_to_line(start: np.ndarray, end: np.ndarray, point: np.ndarray) -> float:
    """Signed distance of a point to the line start -> end; each (3,) with third number 0.

    As in EAST's public code, but for the sign: positive to the right of the line on the picture, inside a clockwise
    quad.
    """
    area = np.cross(end - start, point - start)
    return np.copysign(np.linalg.norm(area) / np.linalg.norm(end - start), area[2])
