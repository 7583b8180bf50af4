"""Frame -> network input: one affine warp for training, one resize for validation.

Matrices are (2, 3) and map (x, y) pixel positions of the frame to those of the input; the words' quads are mapped by
the same matrix as the pixels. Pixel (x, y) covers x - 0.5 to x + 0.5.
"""

from __future__ import annotations  # else `np.random` in them imports it, which a detector does not use

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol

import cv2
import numpy as np

from utils.errors import UserError
from utils.maps import PADDING_COLOUR, STRIDE, padded_size

MOST_SIDE = 4096
"""Pixels: the largest short side, and the largest side of a crop. A mistyped short side of 60,000 fills the memory of
any machine."""

MOST_FRAME_PIXELS = 2**25
"""Of a whole frame as the network's input: a frame that would have more is resized to fewer."""

LONGEST = 64
"""A whole frame whose long side is more than this times its short side is resized by its long side: a strip of
1 x 5000 pixels must not become one of 280 x 1,400,000."""


class NetworkInput(NamedTuple):
    """A picture at the network's input size, not normalised yet."""

    image: np.ndarray
    """(H, W, 3) uint8 RGB."""
    matrix: np.ndarray
    """(2, 3) affine map: the frame's pixels -> this picture's."""
    size: tuple[int, int]
    """(height, width) of the picture inside `image`; the rest, right and below, is padding."""


class Transform(Protocol):
    """What makes a network input of an image; `TrainTransform` and `WholeFrame` do."""

    def __call__(
        self,
        image: np.ndarray,
        rng: np.random.Generator,
        size: tuple[int, int] | None = None,
        reduced: int = 1,
        quads: np.ndarray | None = None,
    ) -> NetworkInput:
        """The input. image: (H, W, 3) uint8 RGB.

        size, reduced: of an image that was decoded smaller, see `utils.data.images.Picture`. quads: (M, 4, 2) readable
        words, in the pixels of the full-size image.
        """
        ...

    def shrinkage(self, height: int, width: int) -> float:
        """How many pixels of an image of that size go to one of the input's, at least."""
        ...


@dataclass(frozen=True)
class TrainTransform:
    """Random crop of a resized, rotated and stretched frame; sizes in pixels."""

    short_side: int = 320
    rotation: float = 10.0
    """The frame is rotated about its centre by up to this many degrees, either way."""
    stretch: tuple[float, float] = (0.9, 1.1)
    """Range of the factor on the height."""
    crop: int = 280
    scale: tuple[float, float] = (1.0, 1.0)
    """Range of a factor on the short side; its logarithm is uniform."""
    word_crops: float = 0.0
    """Share of the crops that are drawn around a word, not anywhere in the frame."""
    colour: float = 0.0
    """Strength of the changes of brightness, contrast and colour: 0 none, 1 strong."""
    least_crop: ClassVar[int] = 68
    """The encoder's deepest map must have more than one cell, for BatchNorm."""

    def __post_init__(self):
        if (
            not 1 <= self.short_side <= MOST_SIDE
            or not 0 <= self.rotation <= 45
            or not 0 < self.stretch[0] <= self.stretch[1]
        ):
            raise UserError(f"{self}: expected short_side 1 to {MOST_SIDE}, rotation 0 to 45, stretch 0 < low <= high")
        if not 0 < self.scale[0] <= self.scale[1] or not 0 <= self.word_crops <= 1 or not 0 <= self.colour <= 1:
            raise UserError(f"{self}: expected scale 0 < low <= high, word_crops and colour from 0 to 1")
        if not self.least_crop <= self.crop <= MOST_SIDE or self.crop % STRIDE:
            bounds = f"{self.least_crop} to {MOST_SIDE}"
            raise UserError(f"crop: {self.crop} pixels; expected a multiple of {STRIDE}, {bounds}")

    def __call__(
        self,
        image: np.ndarray,
        rng: np.random.Generator,
        size: tuple[int, int] | None = None,
        reduced: int = 1,
        quads: np.ndarray | None = None,
    ) -> NetworkInput:
        """A random crop; see `Transform`. quads: the words that `word_crops` chooses from."""
        height, width = size or image.shape[:2]
        matrix = self.matrix(height, width, rng, quads)
        picture = warp(image, from_reduced(matrix, reduced), self.crop, self.crop)
        if self.colour:
            picture = recolour(picture, rng, self.colour)
        return NetworkInput(picture, matrix, (self.crop, self.crop))

    def shrinkage(self, height: int, width: int) -> float:
        """How many pixels of a frame of that size go to one of the crop's, at least."""
        return min(height, width) / self.short_side / self.scale[1] / max(self.stretch[1], 1)

    def matrix(self, height: int, width: int, rng: np.random.Generator, quads: np.ndarray | None = None) -> np.ndarray:
        """(2, 3) random resize, rotation, stretch and crop of a frame, as one matrix.

        Every crop position inside the resized and stretched frame is equally likely, the last one included; around a
        word, every position that contains its centre. A frame smaller than the crop is at the crop's top-left; the
        rest is padding.
        """
        factor = self.short_side / min(height, width)
        if self.scale[0] < self.scale[1]:
            factor *= np.exp(rng.uniform(*np.log(self.scale)))
        angle = rng.uniform(-self.rotation, self.rotation)
        stretch = rng.uniform(*self.stretch)
        resized = np.maximum(np.rint([width * factor, height * factor]), 1)
        rotate = np.eye(3)
        rotate[:2] = cv2.getRotationMatrix2D(((resized[0] - 1) / 2, (resized[1] - 1) / 2), angle, 1)
        stretched_height = max(round(resized[1] * stretch), 1)
        stretching = scaling(1, stretched_height / resized[1])
        whole = stretching @ rotate @ scaling(resized[0] / width, resized[1] / height)
        last = np.maximum([int(resized[0]) - self.crop, stretched_height - self.crop], 0)
        first = np.zeros_like(last)
        if self.word_crops and quads is not None and len(quads) and rng.random() < self.word_crops:
            centre = transform_points(quads[rng.integers(len(quads))].mean(0), whole[:2])
            first, last = (np.clip(np.rint(place), 0, last).astype(int) for place in (centre - self.crop, centre))
        left, top = (rng.integers(*ends, endpoint=True) for ends in zip(first, last, strict=True))
        crop = np.array([[1, 0, -left], [0, 1, -top], [0, 0, 1.0]])
        return (crop @ whole)[:2]


@dataclass(frozen=True)
class WholeFrame:
    """The whole frame at a given short side, in pixels, aspect ratio kept, padded to multiples of 32."""

    short_side: int = 280

    def __post_init__(self):
        if not 1 <= self.short_side <= MOST_SIDE:
            raise UserError(f"short side: {self.short_side} pixels; expected 1 to {MOST_SIDE}")

    def __call__(
        self,
        image: np.ndarray,
        rng: np.random.Generator | None = None,
        size: tuple[int, int] | None = None,
        reduced: int = 1,
        quads: np.ndarray | None = None,
    ) -> NetworkInput:
        """The resized frame; see `Transform`. Deterministic: rng and quads have no effect."""
        height, width = size or image.shape[:2]
        factor = 1 / self.shrinkage(height, width)
        resized = max(round(width * factor), 1), max(round(height * factor), 1)
        matrix = scaling(resized[0] / width, resized[1] / height)[:2]
        if height % reduced or width % reduced:  # the last pixels cover less of the frame than the others
            image = warp(image, from_reduced(matrix, reduced), *resized[::-1], cv2.BORDER_REPLICATE)
        else:
            image = cv2.resize(image, resized, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR)
        return NetworkInput(pad(image, *self.padded_size(*image.shape[:2])), matrix, image.shape[:2])

    def padded_size(self, height: int, width: int) -> tuple[int, int]:
        """The input's size for a resized frame of that size."""
        return padded_size(height, width)

    def shrinkage(self, height: int, width: int) -> float:
        """How many pixels of a frame of that size go to one of the input's."""
        factor = max(min(height, width), max(height, width) / LONGEST) / self.short_side
        return max(factor, math.sqrt(height * width / MOST_FRAME_PIXELS))


def recolour(image: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """The picture with random saturation, channel gains, contrast and brightness; (H, W, 3) uint8 RGB in and out.

    Ranges at strength 1: saturation 0 to 2, gains within about 20 %, contrast 0.6 to 1.6, brightness +-50 of 255.
    """
    grey = np.full((3, 3), 1 / 3)
    saturated = grey + (1 + strength * rng.uniform(-1, 1)) * (np.eye(3) - grey)
    gains = np.exp(strength * rng.normal(0, 0.2, 3))
    contrast = np.exp(strength * rng.uniform(-0.5, 0.5))
    offset = 128 * (1 - contrast) + strength * rng.uniform(-50, 50)
    return cv2.transform(image, np.c_[contrast * gains[:, None] * saturated, np.full(3, offset)])


def scaling(x: float, y: float) -> np.ndarray:
    """(3, 3) matrix of a resize by these factors, as in `cv2.resize`: the corner of the first pixel is fixed."""
    return np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2], [0, 0, 1]])


def from_reduced(matrix: np.ndarray, reduced: int) -> np.ndarray:
    """The (2, 3) matrix for a frame's pixels -> that for the frame decoded smaller by an integer factor."""
    return matrix if reduced == 1 else (_square(matrix) @ scaling(reduced, reduced))[:2]


def warp(
    image: np.ndarray, matrix: np.ndarray, height: int, width: int, border: int = cv2.BORDER_CONSTANT
) -> np.ndarray:
    """The (H, W, 3) uint8 image under a (2, 3) affine matrix, without aliasing where it shrinks.

    border: OpenCV's border mode; the default is padding.

    Shrinking by more than 2 is first done by integer factors. For the remaining factor `s` the picture is smoothed by
    [a, 1 - 2a, a] with a = (s^2 - 1) / 8: at the frequencies that the result can represent, this is within 10 % of
    averaging over each result pixel's area; higher frequencies are attenuated more.
    """
    shrink = 1 / np.sqrt(abs(np.linalg.det(matrix[:, :2])))
    if shrink >= 2:
        whole = int(shrink)
        size = max(image.shape[1] // whole, 1), max(image.shape[0] // whole, 1)
        reduced = scaling(size[0] / image.shape[1], size[1] / image.shape[0])
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        matrix = (_square(matrix) @ np.linalg.inv(reduced))[:2]
        shrink /= whole
    if shrink > 1.05:
        image, matrix = _visible_part(image, matrix, height, width)
        side = min((shrink**2 - 1) / 8, 0.25)
        kernel = np.array([side, 1 - 2 * side, side])
        image = cv2.sepFilter2D(image, -1, kernel, kernel, borderType=cv2.BORDER_REPLICATE)
    image = cv2.cvtColor(image, cv2.COLOR_RGB2RGBA)  # four bytes per pixel: OpenCV's warp is twice as fast
    colour = *PADDING_COLOUR, 0
    image = cv2.warpAffine(
        image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=border, borderValue=colour
    )
    return cv2.cvtColor(image, cv2.COLOR_RGBA2RGB)


def _visible_part(image: np.ndarray, matrix: np.ndarray, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """The part of the image that the warp's result shows, with a margin, and the matrix for that part."""
    (xx, xy, x), (yx, yy, y) = cv2.invertAffineTransform(matrix).tolist()
    left, right = _span([x, x + xx * width, x + xy * height, x + xx * width + xy * height], image.shape[1])
    top, bottom = _span([y, y + yx * width, y + yy * height, y + yx * width + yy * height], image.shape[0])
    moved = matrix.copy()
    moved[:, 2] += matrix[:, :2] @ [left, top]
    return image[top:bottom, left:right], moved


def _span(positions: list[float], side: int) -> tuple[int, int]:
    """First and end pixel of a range around the positions, at least one pixel, within the side."""
    low = min(max(int(min(positions)) - 3, 0), side - 1)
    return low, min(max(int(max(positions)) + 4, low + 1), side)


def pad(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """The image with padding right and below up to (height, width)."""
    below, right = height - image.shape[0], width - image.shape[1]
    if not (below or right):
        return image
    return cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_CONSTANT, value=PADDING_COLOUR)


def transform_points(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """(..., 2) points mapped by a (2, 3) matrix."""
    return points @ matrix[:, :2].T + matrix[:, 2]


def invert(matrix: np.ndarray) -> np.ndarray:
    """The inverse of a (2, 3) matrix, as (2, 3)."""
    return np.linalg.inv(_square(matrix))[:2]


def _square(matrix: np.ndarray) -> np.ndarray:
    return np.vstack([matrix, [0, 0, 1]])
