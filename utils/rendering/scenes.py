"""Scenes with words: blocks of text on smooth parts of a background, then the effects of a camera."""

from dataclasses import dataclass, field, replace
from typing import NamedTuple

import cv2
import numpy as np

from utils.rendering.distractors import draw_distractor
from utils.rendering.lettering import moved, outline_of, paint, set_block, tilt, transform
from utils.rendering.scenery import Scenery
from utils.rendering.typefaces import Typeface, built_in_typefaces
from utils.rendering.vocabulary import Vocabulary

_CELL = 4
"""Pixels per cell of the occupancy map."""
_BORDER = 2
"""Pixels that words keep from the picture's border."""


@dataclass(frozen=True)
class Studio:
    """Sources of scenes: backgrounds, typefaces and words."""

    scenery: Scenery = field(default_factory=Scenery)
    typefaces: list[Typeface] = field(default_factory=built_in_typefaces)
    vocabulary: Vocabulary = field(default_factory=Vocabulary)


@dataclass(frozen=True)
class Style:
    """Parameters of scenes; heights are those of capital letters, in pixels."""

    size: tuple[int, int] = (450, 600)
    """Height and width."""
    words: tuple[int, int] = (8, 20)
    """Range of the number of words in a scene, if there is room for them."""
    heights: tuple[float, float] = (7.0, 90.0)
    usual_height: float = 14.0
    """Median; the logarithms are normal."""
    height_spread: float = 0.45
    tilt: float = 1.0
    """Strength of the rotation of blocks in space and in the picture; 0: none."""
    long_blocks: float = 0.6
    """Share of blocks with more than one word."""
    large_blocks: float = 0.06
    """Share of blocks with a height between the usual one and the largest, all equally likely."""
    steep_blocks: float = 0.0
    """Share of blocks in any direction up to vertical."""
    wide_blocks: float = 0.0
    """Share of blocks with wide gaps between the letters."""
    distractors: tuple[int, int] = (0, 0)
    """Range of the number of things that look like words, see `utils.rendering.distractors`."""
    hard: float = 0.0
    """Share of scenes that are drawn in the style `HARD` instead, at this size."""


HARD = Style(
    usual_height=12,
    height_spread=0.5,
    heights=(6, 160),
    tilt=1.3,
    large_blocks=0.4,
    long_blocks=0.4,
    steep_blocks=0.25,
    wide_blocks=0.2,
    distractors=(1, 8),
)
"""Scenes of what a detector trained on the default ones misses: small, large, steep and wide words, distractors."""


class Lettered(NamedTuple):
    """A block's words in the picture's pixels."""

    lines: list[list[str]]
    quads: np.ndarray
    """(words, 4, 2)."""
    characters: list[np.ndarray]
    """Of each word (characters, 4, 2)."""

    @property
    def words(self) -> list[str]:
        return [word for line in self.lines for word in line]


class Scene(NamedTuple):
    """A picture and its words."""

    picture: np.ndarray
    """(H, W, 3) uint8 RGB."""
    blocks: list[Lettered]

    @property
    def quads(self) -> np.ndarray:
        """(words, 4, 2) float32."""
        return np.concatenate([np.zeros((0, 4, 2)), *(block.quads for block in self.blocks)]).astype(np.float32)

    @property
    def characters(self) -> np.ndarray:
        """(characters, 4, 2) float32, in the words' order."""
        parts = [characters for block in self.blocks for characters in block.characters]
        return np.concatenate([np.zeros((0, 4, 2)), *parts]).astype(np.float32)

    @property
    def words(self) -> list[str]:
        return [word for block in self.blocks for word in block.words]


def draw_scene(rng: np.random.Generator, studio: Studio, style: Style) -> Scene:
    """A background with blocks of words that do not overlap, before the effects of a camera."""
    if _happens(rng, style.hard):
        style = replace(HARD, size=style.size, words=style.words)
    picture = studio.scenery.draw(rng, *style.size)
    if style.distractors[1]:
        for _ in range(rng.integers(style.distractors[0], style.distractors[1] + 1)):
            draw_distractor(rng, picture)
    room = _Room(picture)
    blocks, count, wanted = [], 0, int(rng.integers(style.words[0], style.words[1] + 1))
    for _ in range(3 * wanted):
        if count >= wanted:
            break
        lettered = _add_block(rng, room, studio, style, wanted - count)
        if lettered:
            blocks.append(lettered)
            count += len(lettered.quads)
    return Scene(picture, blocks)


def _add_block(rng: np.random.Generator, room: "_Room", studio: Studio, style: Style, most: int) -> Lettered | None:
    """Draw a block of at most `most` words into the room's picture; None, and nothing drawn, without room."""
    height = style.usual_height * np.exp(rng.normal(0, style.height_spread))
    if rng.random() < style.large_blocks:
        height = rng.uniform(style.usual_height, style.heights[1])
    height = float(np.clip(height, *style.heights))
    lines = _lines(rng, studio.vocabulary, most, style.long_blocks)
    face = _typeface(rng, studio.typefaces, lines)
    block = face and set_block(rng, face, lines, height, wide=_happens(rng, style.wide_blocks))
    if not block:
        return None
    angle = style.tilt * np.clip(rng.normal(0, rng.choice((0.04, 0.09, 0.3), p=(0.5, 0.4, 0.1))), -0.75, 0.75)
    if _happens(rng, style.steep_blocks):
        angle = rng.choice((-1, 1)) * (np.pi / 2 + rng.normal(0, 0.1) if rng.random() < 0.5 else rng.uniform(0.2, 1.6))
    homography = tilt(rng, block, height / block.capital_height, angle, style.tilt)
    with_board = rng.random() < 0.4
    reach = outline_of(block, rng.uniform(0.3, 1.2) if with_board else 0.25)
    centre = room.find(rng, transform(reach, homography))
    if centre is None:
        return None
    homography = moved(homography, centre)
    quads = transform(block.quads, homography)
    room.take(transform(reach, homography))
    paint(rng, room.picture, block, homography, reach if with_board else None)
    return Lettered(block.lines, quads, [transform(boxes, homography) for boxes in block.characters])


def _happens(rng: np.random.Generator, share: float) -> bool:
    """True in this share of the calls. A share of 0 draws nothing, so that other draws stay the same."""
    return share > 0 and rng.random() < share


def _lines(rng: np.random.Generator, vocabulary: Vocabulary, most: int, long_blocks: float) -> list[list[str]]:
    """One word, a line, or some lines of words; at most `most` words."""
    kind = rng.random()
    if kind >= long_blocks or most == 1:
        counts = [1]
    elif kind < long_blocks / 2:
        counts = [rng.integers(2, 6)]
    elif rng.random() < 0.12:  # a paragraph
        counts = rng.integers(2, 6, rng.integers(3, 6))
    else:
        counts = rng.integers(1, 4, rng.integers(2, 5))
    lines: list[list[str]] = []
    for count in counts:
        count = min(int(count), most - sum(len(line) for line in lines))
        if count > 0:
            lines.append(vocabulary.line(rng, count))
    return lines


def _typeface(rng: np.random.Generator, faces: list[Typeface], lines: list[list[str]]) -> Typeface | None:
    """A random typeface that has all characters of the words, or None."""
    text = "".join(word for line in lines for word in line)
    for number in rng.permutation(len(faces))[:20]:
        if faces[number].covers(text):
            return faces[number]
    return None


class _Room:
    """A picture, how smooth each part of it is, and which parts have words already."""

    def __init__(self, picture: np.ndarray):
        self.picture = picture
        small = cv2.resize(picture, None, fx=1 / _CELL, fy=1 / _CELL, interpolation=cv2.INTER_AREA)
        grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
        gradient = cv2.morphologyEx(grey, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
        self._integral = cv2.integral(gradient)
        self._taken = np.zeros(grey.shape, np.uint8)
        self._size = np.array(picture.shape[1::-1])

    def find(self, rng: np.random.Generator, corners: np.ndarray, candidates: int = 8) -> np.ndarray | None:
        """Where to put the corners' (0, 0): the smoothest of some free positions; None if none is free."""
        low, high = _BORDER - corners.min(0), self._size - 1 - _BORDER - corners.max(0)
        if (low >= high).any():
            return None
        best, least = None, np.inf
        for centre in rng.uniform(low, high, (candidates, 2)):
            window, cover = self._cells(corners + centre)
            if (self._taken[window] & cover).any():
                continue
            roughness = self._roughness(window)
            if roughness < least:
                best, least = centre, roughness
        return best

    def take(self, corners: np.ndarray) -> None:
        """Mark the area inside the corners as occupied."""
        window, cover = self._cells(corners)
        self._taken[window] |= cover

    def _cells(self, corners: np.ndarray) -> tuple[tuple[slice, slice], np.ndarray]:
        """A window of cells and, in it, those that the corners' area touches."""
        cells = (corners + 0.5) / _CELL - 0.5
        low = np.maximum(np.floor(cells.min(0)).astype(int), 0)
        high = np.minimum(np.ceil(cells.max(0)).astype(int) + 1, self._taken.shape[::-1])
        cover = np.zeros((high - low)[::-1], np.uint8)
        fixed = np.rint((cells - low) * 16).astype(np.int32)
        cv2.fillConvexPoly(cover, fixed, 1, shift=4)
        cv2.polylines(cover, [fixed], True, 1, 1, shift=4)
        return (slice(low[1], high[1]), slice(low[0], high[0])), cover

    def _roughness(self, window: tuple[slice, slice]) -> float:
        rows, columns = window
        upper, lower = self._integral[rows.start], self._integral[rows.stop]
        total = lower[columns.stop] - upper[columns.stop] - lower[columns.start] + upper[columns.start]
        return total / max((rows.stop - rows.start) * (columns.stop - columns.start), 1)


def photograph(rng: np.random.Generator, picture: np.ndarray, strength: float = 1.0) -> np.ndarray:
    """The (H, W, 3) uint8 picture as a hand-held camera takes it: uneven light, blur, exposure, noise."""
    height, width = picture.shape[:2]
    if rng.random() < 0.6 * strength:
        light = rng.normal(128, 30 * strength, (2, 3)).clip(40, 200).astype(np.float32)
        light = cv2.resize(light, (width, height), interpolation=cv2.INTER_LINEAR).astype(np.uint8)
        picture = cv2.multiply(picture, cv2.merge([light] * 3), scale=1 / 128)
    picture = _blurred(rng, picture, strength)
    dark = rng.random() < 0.2 * strength
    gain = rng.uniform(0.35, 0.7) if dark else np.exp(rng.normal(0, 0.15 * strength))
    gain = max(gain, min(1, 40 / max(float(picture.mean()), 1)))
    cast = np.exp(rng.normal(0, (0.12 if dark else 0.05) * strength, 3))
    levels = 255 * (np.arange(256) / 255)[:, None] ** np.exp(rng.normal(0, 0.15 * strength)) * gain * cast
    picture = cv2.LUT(picture, np.clip(levels, 0, 255).astype(np.uint8)[None])
    deviation = rng.exponential(3.5 if dark else 2.5) * strength
    if deviation > 0.7:
        step = int(rng.integers(1, 3))
        noise = rng.standard_normal((-(-height // step), -(-width // step), 3 if step > 1 else 1), np.float32)
        noise = cv2.resize(noise, (width, height)) * np.float32(min(deviation, 10))
        picture = cv2.add(picture, noise if noise.ndim == 3 else cv2.merge([noise] * 3), dtype=cv2.CV_8U)
    return picture


def _blurred(rng: np.random.Generator, picture: np.ndarray, strength: float) -> np.ndarray:
    kind = rng.random() / strength if strength else 1
    if kind < 0.2:
        return motion_blur(picture, rng.uniform(2, 8), rng.uniform(0, np.pi))
    if kind < 0.65:
        return cv2.GaussianBlur(picture, (0, 0), 0.3 + rng.gamma(2, 0.25))
    return picture


def motion_blur(picture: np.ndarray, length: float, angle: float) -> np.ndarray:
    """The picture smeared along a line of `length` pixels at `angle` radians from the x axis."""
    side = 2 * int(np.ceil(length / 2)) + 1
    kernel = np.zeros((side, side), np.uint8)
    middle = np.full(2, (side - 1) / 2)
    step = np.array([np.cos(angle), np.sin(angle)]) * (length - 1) / 2
    ends = np.rint((middle + np.array([[-1], [1]]) * step) * 16).astype(int)
    start, end = ends.tolist()
    cv2.line(kernel, start, end, 255, 1, cv2.LINE_AA, 4)
    kernel = kernel.astype(np.float32)
    return cv2.filter2D(picture, -1, kernel / kernel.sum())
