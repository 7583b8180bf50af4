"""Backgrounds of rendered words: photographs or drawn walls, with patterns that are not text."""

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

from utils.data.images import IMAGE_SUFFIXES, UnreadableImage, image_problem, read_image
from utils.data.problems import Problems
from utils.errors import UserError

DRAWN_SHARE = 0.15
"""Share of drawn walls among the backgrounds where there are photographs."""
_SHIFT = 4  # OpenCV draws at sixteenths of a pixel


Shapes = Iterator[tuple[np.ndarray, bool]]
"""Points in the unit square, (k, 2), and whether they bound a filled area."""
Place = Callable[[np.ndarray], np.ndarray]
"""From points of the unit square, (k, 2), to the picture's pixels."""


class Scenery:
    """Backgrounds. photos: files to crop them from; without any, all are drawn."""

    def __init__(self, photos: list[Path] | None = None):
        self._photos = photos or []

    def draw(self, rng: np.random.Generator, height: int, width: int) -> np.ndarray:
        """A random background, (H, W, 3) uint8 RGB."""
        if self._photos and rng.random() >= DRAWN_SHARE:
            picture = _view_of_photo(rng, self._photos[rng.integers(len(self._photos))], height, width)
            patterns = rng.choice(4, p=(0.4, 0.3, 0.2, 0.1))
        else:
            picture = _wall(rng, height, width)
            patterns = rng.integers(2, 8)
        for _ in range(patterns):
            draw_pattern(rng, picture)
        return picture


def load_photos(folder: Path) -> tuple[list[Path], Problems]:
    """The readable pictures of a folder, in order of their names, and what was left out. Raises `UserError`."""
    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such folder; give --backgrounds one with photographs")
    problems, photos = Problems(), []
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    for path in paths:
        if problem := image_problem(path):
            problems.add("backgrounds that cannot be read, left out", f"{path}: {problem}")
        else:
            photos.append(path)
    if not photos:
        why = f"none of its {len(paths)} pictures can be read: {problems}" if paths else "it has no pictures"
        raise UserError(f"{folder}: {why}; give --backgrounds another folder")
    return photos, problems


def _view_of_photo(rng: np.random.Generator, path: Path, height: int, width: int) -> np.ndarray:
    """A random part of a photograph, flipped or not, with other light."""
    try:
        photo = read_image(path)
    except UnreadableImage as error:
        raise UserError(f"{error}; take it out of --backgrounds") from None
    full = np.array(photo.shape[:2])
    wanted = full / full.min() / np.array([height, width]) * min(height, width)
    part = full.min() * rng.uniform(0.6, 1) * min(1, *wanted)
    size = np.maximum(np.floor(part * np.array([height, width]) / min(height, width)), 1).astype(int)
    size = np.minimum(size, full)
    top, left = rng.integers(0, full - size + 1)
    view = photo[top : top + size[0], left : left + size[1]]
    if rng.random() < 0.5:
        view = view[:, ::-1]
    view = cv2.resize(np.ascontiguousarray(view), (width, height), interpolation=cv2.INTER_CUBIC)
    levels = np.linspace(0, 1, 256)[:, None] ** np.exp(rng.normal(0, 0.25)) * rng.normal(1, 0.08, 3) * 255
    levels = (levels - 128) * rng.uniform(0.65, 1.1) + rng.normal(120, 20)
    return cv2.LUT(view, np.clip(levels, 0, 255).astype(np.uint8)[None])


def _wall(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Smooth colour, grain of several sizes, some large plain faces."""
    base = any_colour(rng)
    coarse = base + rng.normal(0, rng.uniform(5, 40), (rng.integers(2, 5), rng.integers(2, 5), 3))
    picture = cv2.resize(coarse.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    for step in (2, 6, 24):
        grain = rng.normal(0, rng.uniform(0, 6), (height // step + 1, width // step + 1)).astype(np.float32)
        picture = picture + cv2.resize(grain, (width, height))[..., None]
    picture = np.clip(picture, 0, 255).astype(np.uint8)
    for _ in range(rng.integers(0, 5)):
        place = _placer(rng, height, width, (0.25, 0.9))
        fill(picture, place(rectangle(0, 0, 1, 1)[0]), any_colour(rng))
    return picture


def any_colour(rng: np.random.Generator) -> np.ndarray:
    """A random colour, (3,) RGB from 0 to 255: a grey or a saturated one."""
    value = rng.uniform(0, 255)
    if rng.random() < 0.4:
        return np.clip(value + rng.normal(0, 8, 3), 0, 255)
    hue, saturation = rng.uniform(0, 6), rng.beta(1.5, 1.5)
    wheel = np.clip(np.abs((hue + np.array([0, 4, 2])) % 6 - 3) - 1, 0, 1)
    return value * (1 - saturation * (1 - wheel))


def draw_pattern(rng: np.random.Generator, picture: np.ndarray) -> None:
    """Draw something regular that is not text somewhere into the (H, W, 3) picture."""
    pattern = _PATTERNS[rng.integers(len(_PATTERNS))]
    height, width = picture.shape[:2]
    place = _placer(rng, height, width, (0.08, 0.5))
    first, second = any_colour(rng), any_colour(rng)
    if rng.random() < 0.4:
        fill(picture, place(rectangle(-0.03, -0.03, 1.03, 1.03)[0]), second)
    thickness = int(rng.choice((1, 1, 2, 3, 5)))
    for points, closed in pattern(rng):
        stroke(picture, place(points), first, closed, -1 if closed else thickness)


def _placer(rng: np.random.Generator, height: int, width: int, shares: tuple[float, float]) -> Place:
    """A map of the unit square to a tilted quadrilateral of the picture.

    shares: range of the quadrilateral's sides, as shares of the picture's.
    """
    least, most = np.log(shares)
    size = np.exp(rng.uniform(least, most, 2)) * [width, height]
    return tilted(rng, size, rng.normal(0, 0.15), 0.04, (height, width))


def tilted(
    rng: np.random.Generator, size: np.ndarray, angle: float, unevenness: float, picture: tuple[int, int]
) -> Place:
    """A map of the unit square to a quadrilateral at a random place of a picture of (height, width).

    size: width and height. angle: radians, clockwise. unevenness: deviation of its corners, as a share of its sides.
    """
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    corners = (np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) / 2 + rng.normal(0, unevenness, (4, 2))) * size
    corners = corners @ turn.T + rng.uniform(0, 1, 2) * picture[::-1]
    unit = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)
    homography = cv2.getPerspectiveTransform(unit, corners.astype(np.float32))
    return lambda points: cv2.perspectiveTransform(np.asarray(points, float).reshape(1, -1, 2), homography)[0]


def fill(picture: np.ndarray, points: np.ndarray, colour: np.ndarray) -> None:
    stroke(picture, points, colour, True, -1)


def stroke(picture: np.ndarray, points: np.ndarray, colour: np.ndarray, closed: bool, thickness: int) -> None:
    fixed = np.rint(np.clip(points, -4000, 4000) * 2**_SHIFT).astype(np.int32)
    if thickness < 0:
        cv2.fillPoly(picture, [fixed], colour.tolist(), cv2.LINE_AA, _SHIFT)
    else:
        cv2.polylines(picture, [fixed], closed, colour.tolist(), thickness, cv2.LINE_AA, _SHIFT)


def rectangle(left: float, top: float, right: float, bottom: float) -> tuple[np.ndarray, bool]:
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]]), True


def grid(rng: np.random.Generator) -> Shapes:
    for axis in (0, 1):
        for place in np.linspace(0, 1, rng.integers(2, 14)):
            line = np.array([[place, 0], [place, 1.0]])
            yield (line if axis else line[:, ::-1]), False


def bricks(rng: np.random.Generator) -> Shapes:
    rows, columns = rng.integers(3, 14), rng.integers(2, 9)
    for row in range(rows + 1):
        yield np.array([[0, row / rows], [1, row / rows]]), False
    for row in range(rows):
        for column in range(columns):
            x = (column + 0.5 * (row % 2)) / columns
            yield np.array([[x, row / rows], [x, (row + 1) / rows]]), False


def _stripes(rng: np.random.Generator) -> Shapes:
    count, lean, share = rng.integers(2, 16), rng.normal(0, 0.3), rng.uniform(0.2, 0.7)
    for number in range(count):
        left, right = number / count, (number + share) / count
        yield np.array([[left, 0], [right, 0], [right + lean, 1], [left + lean, 1]]), True


def bars(rng: np.random.Generator) -> Shapes:
    """Bars of uneven widths, as in a bar code or on a book shelf."""
    edges = np.cumsum(rng.uniform(0.3, 2, rng.integers(8, 50)))
    for left, right in zip(edges[:-1:2] / edges[-1], edges[1::2] / edges[-1], strict=False):
        yield rectangle(left, rng.uniform(0, 0.15), right, 1)


def windows(rng: np.random.Generator) -> Shapes:
    rows, columns = rng.integers(1, 8), rng.integers(2, 10)
    share = rng.uniform(0.35, 0.85, 2)
    for row in range(rows):
        for column in range(columns):
            left, top = column / columns, row / rows
            yield rectangle(left, top, left + share[0] / columns, top + share[1] / rows)


def checks(rng: np.random.Generator) -> Shapes:
    rows, columns = rng.integers(2, 8), rng.integers(2, 12)
    for row in range(rows):
        for column in range(row % 2, columns, 2):
            yield rectangle(column / columns, row / rows, (column + 1) / columns, (row + 1) / rows)


CIRCLE = np.stack([f(np.linspace(0, 2 * np.pi, 25)) for f in (np.cos, np.sin)], 1) / 2


def _rings(rng: np.random.Generator) -> Shapes:
    for radius in np.linspace(1, 0.2, rng.integers(1, 5)):
        yield 0.5 + CIRCLE * radius, False


def _dots(rng: np.random.Generator) -> Shapes:
    rows, columns, share = rng.integers(1, 5), rng.integers(2, 12), rng.uniform(0.3, 0.9)
    for row in range(rows):
        for column in range(columns):
            yield (CIRCLE * share + 0.5 + [column, row]) / [columns, rows], True


def _curve(rng: np.random.Generator) -> Shapes:
    for _ in range(rng.integers(1, 5)):
        x = np.linspace(0, 1, 40)
        y = 0.5 + 0.3 * np.sin(rng.uniform(2, 30) * x + rng.uniform(0, 6)) * rng.uniform(0.2, 1)
        yield np.stack([x, y], 1), False


def _leaves(rng: np.random.Generator) -> Shapes:
    """Small triangles of all directions, as in foliage and gravel."""
    for centre in rng.uniform(0, 1, (rng.integers(20, 120), 2)):
        yield centre + rng.normal(0, 0.025, (3, 2)), True


def _beams(rng: np.random.Generator) -> Shapes:
    for _ in range(rng.integers(1, 5)):
        ends = rng.uniform(-0.5, 1.5, (2, 2))
        yield ends, False


_PATTERNS = (grid, bricks, _stripes, bars, windows, checks, _rings, _dots, _curve, _leaves, _beams)
