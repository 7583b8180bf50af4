"""Frame -> network input: one affine warp for training, one resize for validation.

Matrices are (2, 3) and map (x, y) pixel positions of the frame to those of the input; the words' quads go
through the same matrix as the pixels. Picture: pixel (x, y) covers x - 0.5 to x + 0.5.
"""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol

import cv2
import numpy as np

from utils.errors import UserError
from utils.maps import PADDING_COLOUR, STRIDE, padded_size

LONGEST = 64
"""A whole frame longer than this times its short side is taken smaller: a strip of 1 x 5000 pixels must not
become one of 280 x 1,400,000."""


class NetworkInput(NamedTuple):
    """A picture ready for the network."""

    image: np.ndarray
    """(H, W, 3) uint8 RGB."""
    matrix: np.ndarray
    """(2, 3): the frame's pixels -> this picture's."""
    size: tuple[int, int]
    """Height and width of what is no padding; that lies to the right and below."""


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
    """The frame is turned by up to this many degrees, either way, about its centre."""
    stretch: tuple[float, float] = (0.9, 1.1)
    """Range of the factor on the height."""
    crop: int = 280
    scale: tuple[float, float] = (1.0, 1.0)
    """Range of a factor on the short side; its logarithm is drawn evenly."""
    word_crops: float = 0.0
    """Share of the crops that are drawn among those around a word's centre, not among all."""
    colour: float = 0.0
    """How far light and colour are changed: 0 not at all, 1 strongly."""
    least_crop: ClassVar[int] = 68
    """The encoder's deepest map has to have more than one cell, for BatchNorm."""

    def __post_init__(self):
        if self.short_side < 1 or not 0 <= self.rotation <= 45 or not 0 < self.stretch[0] <= self.stretch[1]:
            raise UserError(f"{self}: expected short_side > 0, rotation from 0 to 45, stretch 0 < low <= high")
        if not 0 < self.scale[0] <= self.scale[1] or not 0 <= self.word_crops <= 1 or not 0 <= self.colour <= 1:
            raise UserError(f"{self}: expected scale 0 < low <= high, word_crops and colour from 0 to 1")
        if self.crop < self.least_crop or self.crop % STRIDE:
            raise UserError(f"crop: {self.crop} pixels; expected a multiple of {STRIDE}, {self.least_crop} or more")

    def __call__(
        self,
        image: np.ndarray,
        rng: np.random.Generator,
        size: tuple[int, int] | None = None,
        reduced: int = 1,
        quads: np.ndarray | None = None,
    ) -> NetworkInput:
        """image: (H, W, 3) uint8. size, reduced: as `utils.data.images.Picture`'s, of a frame read at a smaller size.

        quads: (M, 4, 2), the frame's words that are worth a crop of their own.
        """
        matrix = self.matrix(*(size or image.shape[:2]), rng, quads)
        picture = warp(image, from_reduced(matrix, reduced), self.crop, self.crop)
        if self.colour:
            picture = recolour(picture, rng, self.colour)
        return NetworkInput(picture, matrix, (self.crop, self.crop))

    def shrinkage(self, height: int, width: int) -> float:
        """How many pixels of a frame go to one of the crop's, at least."""
        return min(height, width) / self.short_side / self.scale[1] / max(self.stretch[1], 1)

    def matrix(self, height: int, width: int, rng: np.random.Generator, quads: np.ndarray | None = None) -> np.ndarray:
        """Resize, then rotate, then stretch, then crop, as one matrix.

        Every crop position inside the resized and stretched frame is equally likely, the last one too; around a
        word, every one that holds its centre. A frame that is smaller than the crop lies at its top-left and the
        rest is padding.
        """
        factor = self.short_side / min(height, width)
        if self.scale[0] < self.scale[1]:
            factor *= np.exp(rng.uniform(*np.log(self.scale)))
        angle = rng.uniform(-self.rotation, self.rotation)
        stretch = rng.uniform(*self.stretch)
        resized = np.rint([width * factor, height * factor])
        rotate = np.eye(3)
        rotate[:2] = cv2.getRotationMatrix2D(((resized[0] - 1) / 2, (resized[1] - 1) / 2), angle, 1)
        stretched_height = round(resized[1] * stretch)
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
    """The whole frame at a given short side, in pixels, padded to multiples of 32; its shape is kept."""

    short_side: int = 280

    def __post_init__(self):
        if self.short_side < 1:
            raise UserError(f"short side: {self.short_side} pixels; expected 1 or more")

    def __call__(
        self,
        image: np.ndarray,
        rng: np.random.Generator | None = None,
        size: tuple[int, int] | None = None,
        reduced: int = 1,
        quads: np.ndarray | None = None,
    ) -> NetworkInput:
        """image: (H, W, 3) uint8. Nothing is left to chance or to the words. size, reduced: as `TrainTransform`'s."""
        height, width = size or image.shape[:2]
        factor = 1 / self.shrinkage(height, width)
        resized = max(round(width * factor), 1), max(round(height * factor), 1)
        matrix = scaling(resized[0] / width, resized[1] / height)[:2]
        if height % reduced or width % reduced:  # its last pixels stand for less than the others
            image = warp(image, from_reduced(matrix, reduced), *resized[::-1], cv2.BORDER_REPLICATE)
        else:
            image = cv2.resize(image, resized, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR)
        return NetworkInput(pad(image, *padded_size(*image.shape[:2])), matrix, image.shape[:2])

    def shrinkage(self, height: int, width: int) -> float:
        """How many pixels of a frame go to one of the input's."""
        return max(min(height, width), max(height, width) / LONGEST) / self.short_side


def recolour(image: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """Other saturation, colour of the light, contrast and brightness; (H, W, 3) uint8 RGB in and out.

    strength 1: saturation 0 to 2, each channel's gain some 20 % off, contrast 0.6 to 1.6, brightness 50 of 255 off.
    """
    grey = np.full((3, 3), 1 / 3)
    saturated = grey + (1 + strength * rng.uniform(-1, 1)) * (np.eye(3) - grey)
    gains = np.exp(strength * rng.normal(0, 0.2, 3))
    contrast = np.exp(strength * rng.uniform(-0.5, 0.5))
    offset = 128 * (1 - contrast) + strength * rng.uniform(-50, 50)
    return cv2.transform(image, np.c_[contrast * gains[:, None] * saturated, np.full(3, offset)])


def scaling(x: float, y: float) -> np.ndarray:
    """(3, 3) matrix of a resize by these factors, as `cv2.resize` does it (the picture's corner stays)."""
    return np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2], [0, 0, 1]])


def from_reduced(matrix: np.ndarray, reduced: int) -> np.ndarray:
    """The (2, 3) matrix for a frame's pixels as one for those of the frame read smaller by a whole factor."""
    return matrix if reduced == 1 else (_square(matrix) @ scaling(reduced, reduced))[:2]


def warp(
    image: np.ndarray, matrix: np.ndarray, height: int, width: int, border: int = cv2.BORDER_CONSTANT
) -> np.ndarray:
    """The image under an affine matrix, area-correct when it shrinks: no aliasing.

    border: what lies around the image, OpenCV's name for it; by default padding.

    Shrinking by more than 2 is first done by whole factors. For what is left, `s`, the picture is smoothed
    by [a, 1 - 2a, a] with a = (s^2 - 1) / 8: at the frequencies that the result can hold, within 10 % of
    averaging over each result pixel's area, and less of those beyond.
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
        image, matrix = _seen_part(image, matrix, height, width)
        side = min((shrink**2 - 1) / 8, 0.25)
        kernel = np.array([side, 1 - 2 * side, side])
        image = cv2.sepFilter2D(image, -1, kernel, kernel, borderType=cv2.BORDER_REPLICATE)
    image = cv2.cvtColor(image, cv2.COLOR_RGB2RGBA)  # four bytes a pixel: OpenCV's warp is twice as fast
    colour = *PADDING_COLOUR, 0
    image = cv2.warpAffine(
        image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=border, borderValue=colour
    )
    return cv2.cvtColor(image, cv2.COLOR_RGBA2RGB)


def _seen_part(image: np.ndarray, matrix: np.ndarray, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """What of the image the warp's result shows, with a margin, and the matrix for it."""
    (xx, xy, x), (yx, yy, y) = cv2.invertAffineTransform(matrix).tolist()
    left, right = _span([x, x + xx * width, x + xy * height, x + xx * width + xy * height], image.shape[1])
    top, bottom = _span([y, y + yx * width, y + yy * height, y + yx * width + yy * height], image.shape[0])
    moved = matrix.copy()
    moved[:, 2] += matrix[:, :2] @ [left, top]
    return image[top:bottom, left:right], moved


def _span(places: list[float], side: int) -> tuple[int, int]:
    """The pixels around the places, at least one, inside a side."""
    low = min(max(int(min(places)) - 3, 0), side - 1)
    return low, min(max(int(max(places)) + 4, low + 1), side)


def pad(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """The image with padding right and below up to (height, width)."""
    below, right = height - image.shape[0], width - image.shape[1]
    if not (below or right):
        return image
    return cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_CONSTANT, value=PADDING_COLOUR)


def transform_points(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """(..., 2) points through a (2, 3) matrix."""
    return points @ matrix[:, :2].T + matrix[:, 2]


def invert(matrix: np.ndarray) -> np.ndarray:
    """The (2, 3) matrix that leads back."""
    return np.linalg.inv(_square(matrix))[:2]


def _square(matrix: np.ndarray) -> np.ndarray:
    return np.vstack([matrix, [0, 0, 1]])
