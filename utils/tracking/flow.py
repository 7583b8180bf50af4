"""The motion of words between frames, by sparse optical flow (pyramidal Lucas-Kanade) on points in each word.

A point counts if it comes back to its place when it is followed to the new frame and back. The motion of a word is a
similarity, or an affine map where many points agree, from the frame in which its points were chosen: errors do not
accumulate from frame to frame. The word's pixels, rectified, must still look alike.
"""

from typing import NamedTuple

import cv2
import numpy as np

from utils.geometry import bounding_boxes

FLOW_SIDE = 720
"""Pixels: pictures with a longer short side are reduced to it before points are followed."""

_WINDOW = 21, 21
_LEVELS = 4
_CRITERIA = cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 20, 0.03
_GREY_MEAN, _GREY_DEVIATION, _MOST_GAIN = 128, 50, 8
_MOST_POINTS = 40
_ROUND_TRIP = 1.0
"""Pixels between a point and itself, followed to the new frame and back."""
_INLIER = 2.0
"""Pixels between a followed point and where the word's motion moves it."""
_LEAST_POINTS = 6
_AFFINE_POINTS = 24
_LEAST_SHARE = 0.5
"""Of a word's points, that agree with its motion."""
_LARGEST_CHANGE = 3.0
"""Of a word's size since its points were chosen; beyond, the motion is wrong."""
_PATCH_HEIGHT, _PATCH_WIDTH = 16, 64
LEAST_LIKENESS = 0.4
"""Correlation of a word's pixels with those of the frame in which its points were chosen."""


class FlowPicture:
    """A frame as the optical flow needs it: grey, its short side at most `FLOW_SIDE` pixels."""

    def __init__(self, image: np.ndarray):
        """image: (H, W, 3) uint8 RGB."""
        self.size = image.shape[:2]
        self.scale = min(1.0, FLOW_SIDE / min(self.size))
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        if self.scale < 1:
            grey = cv2.resize(grey, None, fx=self.scale, fy=self.scale, interpolation=cv2.INTER_AREA)
        self.grey = _level(grey)

    def choose_points(self, quad: np.ndarray) -> np.ndarray:
        """Corners (K, 2) float32 in and around a word (4, 2); all coordinates in the frame's pixels."""
        scaled = np.asarray(quad) * self.scale
        sides = np.linalg.norm(scaled - np.roll(scaled, 1, 0), axis=1)
        reach = 0.25 * sides.min() + 2
        left, top, right, bottom = bounding_boxes(scaled[None])[0] + [-reach, -reach, reach, reach]
        height, width = self.grey.shape
        left, top = max(int(left), 0), max(int(top), 0)
        right, bottom = min(int(np.ceil(right)), width), min(int(np.ceil(bottom)), height)
        if right - left < 4 or bottom - top < 4:
            return np.zeros((0, 2), np.float32)
        window = self.grey[top:bottom, left:right]
        found = cv2.goodFeaturesToTrack(window, _MOST_POINTS, 0.02, max(1.5, sides.min() / 8), blockSize=3)
        if found is None:
            return np.zeros((0, 2), np.float32)
        return ((found.reshape(-1, 2) + np.array([left, top])) / self.scale).astype(np.float32)

    def patch(self, quad: np.ndarray) -> np.ndarray:
        """The word's pixels, upright, (16, 64) float32 with mean 0 and norm 1 (0 for a plain area)."""
        corners = np.array([[0, 0], [_PATCH_WIDTH, 0], [_PATCH_WIDTH, _PATCH_HEIGHT], [0, _PATCH_HEIGHT]], np.float32)
        homography = cv2.getPerspectiveTransform((np.asarray(quad) * self.scale).astype(np.float32), corners)
        size = _PATCH_WIDTH, _PATCH_HEIGHT
        pixels = cv2.warpPerspective(self.grey, homography, size, borderMode=cv2.BORDER_REPLICATE)
        pixels = cv2.GaussianBlur(pixels.astype(np.float32), (3, 3), 0)
        pixels -= pixels.mean()
        return pixels / max(float(np.linalg.norm(pixels)), 1e-6)


def _level(grey: np.ndarray) -> np.ndarray:
    """The picture with a mean of 128 and a deviation of 50: the flow needs equal pixels, and exposure changes."""
    mean, deviation = (float(value[0, 0]) for value in cv2.meanStdDev(grey))
    gain = min(_GREY_DEVIATION / max(deviation, 1e-6), _MOST_GAIN)
    values = (np.arange(256) - mean) * gain + _GREY_MEAN
    return cv2.LUT(grey, np.clip(np.rint(values), 0, 255).astype(np.uint8))


class Motion(NamedTuple):
    """How a word moved since its points were chosen."""

    matrix: np.ndarray
    """(2, 3) affine map."""
    agreement: float
    """Share of the points that were followed and agree with the map."""


def follow_points(
    before: FlowPicture, after: FlowPicture, points: np.ndarray, steps: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Points (K, 2) of one frame in another, (K, 2) float32, and (K,) bool: followed there and back.

    steps: (K, 2) about how far each moves.
    """
    if not len(points):
        return np.zeros((0, 2), np.float32), np.zeros(0, bool)
    start = np.ascontiguousarray(points * before.scale, np.float32).reshape(-1, 1, 2)
    step = np.asarray(steps * before.scale, np.float32).reshape(-1, 1, 2)
    moved, found = _follow(before.grey, after.grey, start, start + step)
    back, found_back = _follow(after.grey, before.grey, moved, moved - step)
    height, width = after.grey.shape
    inside = ((moved >= 0) & (moved < (width, height))).all((1, 2))
    near = np.linalg.norm(back - start, axis=2)[:, 0] < _ROUND_TRIP
    good = (found[:, 0] == 1) & (found_back[:, 0] == 1) & inside & near
    return moved.reshape(-1, 2) / np.float32(after.scale), good


def _follow(
    before: np.ndarray, after: np.ndarray, points: np.ndarray, guess: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(K, 1, 2) points -> their places (K, 1, 2) in the other picture, and (K, 1) uint8: 1 where found."""
    options = {"winSize": _WINDOW, "maxLevel": _LEVELS, "criteria": _CRITERIA, "flags": cv2.OPTFLOW_USE_INITIAL_FLOW}
    moved, found, _ = cv2.calcOpticalFlowPyrLK(before, after, points, guess.copy(), **options)  # type: ignore
    return moved, found


def fit_motion(start: np.ndarray, end: np.ndarray, count: int, scale: float) -> Motion | None:
    """The motion that most of the point pairs (K, 2), (K, 2) agree with; None if too few do.

    count: points that were chosen. scale: of the pictures in which the points were followed.
    """
    if len(start) < _LEAST_POINTS:
        return None
    limit = _INLIER / scale
    matrix, inliers = cv2.estimateAffinePartial2D(start, end, method=cv2.RANSAC, ransacReprojThreshold=limit)
    if matrix is None or inliers.sum() < _LEAST_POINTS:
        return None
    chosen = inliers[:, 0] == 1
    if chosen.sum() >= _AFFINE_POINTS:
        affine, affine_inliers = cv2.estimateAffine2D(
            start[chosen], end[chosen], method=cv2.RANSAC, ransacReprojThreshold=limit
        )
        if affine is not None and affine_inliers.sum() >= 0.9 * chosen.sum():
            matrix = affine
    size = np.sqrt(abs(np.linalg.det(matrix[:, :2])))
    agreement = float(chosen.sum() / max(count, 1))
    if not 1 / _LARGEST_CHANGE < size < _LARGEST_CHANGE or chosen.sum() < _LEAST_SHARE * len(start):
        return None
    return Motion(matrix, agreement)
