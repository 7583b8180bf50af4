"""Things that detectors take for words, drawn without an annotation: rows of similar shapes the size of a line of text.

Film strips, lattices, fences, brick walls, rows of lamps, of windows and of pictograms.
"""

from collections.abc import Callable

import cv2
import numpy as np

from utils.rendering.scenery import (
    CIRCLE,
    Place,
    Shapes,
    any_colour,
    bars,
    bricks,
    checks,
    fill,
    grid,
    rectangle,
    stroke,
    tilted,
    windows,
)

HEIGHTS = 8.0, 110.0
"""Range of the heights of distractors, in pixels; the logarithms are uniform."""
ASPECTS = 1.5, 14.0
"""Range of width / height; the logarithms are uniform."""
_MARGIN = 0.04
"""Of the plate behind a distractor, as a share of its sides."""


def draw_distractor(rng: np.random.Generator, picture: np.ndarray) -> None:
    """Draw one somewhere into the (H, W, 3) uint8 picture."""
    place, pixels = _line_of_text(rng, *picture.shape[:2])
    if rng.random() < 0.15:
        _lamps(rng, picture, place, pixels)
        return
    shapes = _SHAPES[rng.integers(len(_SHAPES))]
    colour, plate = any_colour(rng), any_colour(rng)
    if shapes is _film or rng.random() < 0.5:
        fill(picture, place(rectangle(-_MARGIN, -_MARGIN, 1 + _MARGIN, 1 + _MARGIN)[0]), plate)
    thickness = max(1, round(pixels * rng.uniform(0.02, 0.12)))
    for points, closed in shapes(rng):
        stroke(picture, place(points), colour, closed, -1 if closed else thickness)


def _line_of_text(rng: np.random.Generator, height: int, width: int) -> tuple[Place, float]:
    """A map of the unit square to a tilted strip of the picture, and the strip's height in pixels."""
    pixels, aspect = (float(np.exp(rng.uniform(*np.log(limits)))) for limits in (HEIGHTS, ASPECTS))
    pixels = min(pixels, 0.5 * height)
    size = np.array([min(pixels * aspect, 0.9 * width), pixels])
    angle = rng.uniform(-np.pi / 2, np.pi / 2) if rng.random() < 0.25 else rng.normal(0, 0.12)
    return tilted(rng, size, angle, 0.02, (height, width)), pixels


def _lamps(rng: np.random.Generator, picture: np.ndarray, place: Place, pixels: float) -> None:
    """A row of bright spots, each with a glow around it."""
    light = np.zeros(picture.shape[:2], np.float32)
    for x in (np.arange(count := rng.integers(2, 10)) + 0.5) / count:
        centre = np.rint(place(np.array([[x, 0.5 + rng.normal(0, 0.08)]]))[0] * 16).astype(int).tolist()
        cv2.circle(light, centre, max(16, round(pixels * rng.uniform(2, 6))), 1.0, -1, cv2.LINE_AA, 4)
    glow = cv2.GaussianBlur(light, (0, 0), max(1.0, pixels * rng.uniform(0.15, 0.5)))
    share = np.clip(light + glow * rng.uniform(0.3, 1.2), 0, 1)[..., None]
    colour = 255 - rng.uniform(0, 60) * np.array([0.1, 0.4, 1.0], np.float32)
    picture[:] = (picture + (colour - picture) * share).astype(np.uint8)


def _film(rng: np.random.Generator) -> Shapes:
    """Two rows of perforations, with pictures between them or not."""
    holes, share = rng.integers(5, 40), rng.uniform(0.4, 0.7)
    depth = rng.uniform(0.08, 0.22)
    for top in (0.04, 0.96 - depth):
        for number in range(holes):
            left = (number + (1 - share) / 2) / holes
            yield rectangle(left, top, left + share / holes, top + depth)
    for left in np.arange(frames := int(rng.integers(0, 6))) / max(frames, 1):
        yield rectangle(left + 0.02, depth + 0.12, left + 1 / frames - 0.02, 0.88 - depth)


def _fence(rng: np.random.Generator) -> Shapes:
    """Posts, pointed or not, and rails."""
    posts, share, tip = rng.integers(4, 30), rng.uniform(0.15, 0.6), rng.choice((0.0, 0.12))
    for number in range(posts):
        left, right = number / posts, (number + share) / posts
        yield np.array([[left, tip], [(left + right) / 2, 0], [right, tip], [right, 1], [left, 1]]), True
    for top in (0.2, 0.75)[: rng.integers(1, 3)]:
        yield rectangle(0, top, 1, top + 0.06)


def _lattice(rng: np.random.Generator) -> Shapes:
    """Bars that cross at a slant."""
    count, lean = rng.integers(4, 24), rng.uniform(0.05, 0.3)
    for x in np.linspace(0, 1, count):
        for way in (-1, 1)[: rng.choice((1, 2), p=(0.2, 0.8))]:
            yield np.array([[x, 0], [x + way * lean, 1]]), False


def _pictograms(rng: np.random.Generator) -> Shapes:
    """A row of signs: arrows, houses, people, stars, crosses, rings and others."""
    count = int(rng.integers(2, 12))
    kinds = rng.permutation(len(_SIGNS))[: rng.integers(1, len(_SIGNS) + 1)]
    share = rng.uniform(0.5, 0.9)
    for number in range(count):
        for points, closed in _SIGNS[rng.choice(kinds)]:
            x = (number + 0.5 + (points[:, 0] - 0.5) * share) / count
            yield np.stack([x, points[:, 1]], 1), closed


def _polygon(*corners: float) -> tuple[np.ndarray, bool]:
    return np.array(corners).reshape(-1, 2), True


def _star(points: int, inner: float) -> tuple[np.ndarray, bool]:
    angles = np.arange(2 * points) * np.pi / points
    radii = np.where(np.arange(2 * points) % 2, inner, 1)[:, None] / 2
    return 0.5 + radii * np.stack([np.sin(angles), -np.cos(angles)], 1), True


_SIGNS = (
    [_polygon(0, 0.35, 0.55, 0.35, 0.55, 0.1, 1, 0.5, 0.55, 0.9, 0.55, 0.65, 0, 0.65)],  # an arrow
    [_polygon(0.5, 0, 1, 0.45, 0.85, 0.45, 0.85, 1, 0.15, 1, 0.15, 0.45, 0, 0.45)],  # a house
    [
        (CIRCLE * 0.25 + [0.5, 0.14], True),
        _polygon(0.3, 0.3, 0.7, 0.3, 0.75, 0.65, 0.62, 0.65, 0.6, 1, 0.4, 1, 0.38, 0.65, 0.25, 0.65),
    ],  # a person
    [_star(5, 0.4)],
    [_star(2, 0.6)],
    [_polygon(0.35, 0, 0.65, 0, 0.65, 0.35, 1, 0.35, 1, 0.65, 0.65, 0.65, 0.65, 1, 0.35, 1, 0.35, 0.65, 0, 0.65)],
    [(CIRCLE * 0.9 + 0.5, False)],
    [(CIRCLE * 0.8 + 0.5, True)],
    [_polygon(0, 1, 0.5, 0.05, 1, 1)],
    [rectangle(0.05, 0.05, 0.95, 0.95)],
    [(np.array([[0, 0.2], [0.25, 0.9], [0.5, 0.2], [0.75, 0.9], [1, 0.2]]), False)],  # a wave
    [rectangle(0, y, 1, y + 0.15) for y in (0.1, 0.45, 0.8)],  # bars of a menu
)

_SHAPES: tuple[Callable[[np.random.Generator], Shapes], ...] = (
    _film,
    _film,
    _fence,
    _lattice,
    _pictograms,
    _pictograms,
    bars,
    bricks,
    checks,
    grid,
    windows,
    windows,
)
