"""A block of words: typeset, projected, painted into a picture."""

from typing import NamedTuple

import cv2
import numpy as np

from utils.rendering.scenery import any_colour
from utils.rendering.typefaces import SIZES, Ink, Typeface

_SIGN_COLOURS = """
ffffff-146e3c ffffff-b4191e ffffff-194696 141414-f0c81e 141414-f0f0eb fafaf5-191919
be141e-f5f5f0 1e3c8c-f0f0f0 ffd728-a0141e ffe63c-141414 146432-f0f5eb ffffff-e66e14
"""
_SIGNS = np.array([[list(bytes.fromhex(colour)) for colour in pair.split("-")] for pair in _SIGN_COLOURS.split()])
"""Colours of words and of the boards behind them, as on signs in streets and shops; RGB."""
_THIN = 50
"""A word whose mean ink (0 to 255) is lower gets thicker strokes, which else would fade."""
_LUMA = np.array([0.299, 0.587, 0.114])


class Block(NamedTuple):
    """Lines of words, before projection."""

    mask: np.ndarray
    """(h, w) uint8: the ink, with `margin` empty pixels around it."""
    margin: int
    quads: np.ndarray
    """(words, 4, 2) in the mask's pixels: the box of each word's ink, clockwise from its top left."""
    characters: list[np.ndarray]
    """The boxes of each word's characters, (characters, 4, 2)."""
    lines: list[list[str]]
    capital_height: float
    """Height of capital letters, in the mask's pixels."""


def set_block(
    rng: np.random.Generator, face: Typeface, lines: list[list[str]], height: float, *, wide: bool = False
) -> Block | None:
    """The lines in one typeface, with capital letters of `height` pixels or somewhat more.

    wide: with gaps between the letters that are up to as wide as letters. None if the typeface has no ink for a word.
    """
    size = int(SIZES[min(int(np.searchsorted(SIZES, height / face.capital_height())), len(SIZES) - 1)])
    spacing = int(rng.uniform(0.05, 0.3) * size) if rng.random() < 0.15 else 0
    spacing = int(rng.uniform(0.2, 0.7) * size) if wide else spacing
    bold = rng.random() < 0.25
    slant = rng.uniform(-0.1, 0.35) if rng.random() < 0.1 else 0
    gap = max(round(size * rng.uniform(0.27, 0.5) + 1.5 * spacing), 3)
    leading = max(round(size * rng.uniform(0.15, 0.7)), 2)
    margin = size // 2 + 2
    rows = []
    for line in lines:
        drawn = [face.draw(text, size, spacing) for text in line]
        inks = [ink for ink in drawn if ink is not None]
        if len(inks) < len(drawn):
            return None
        rows.append([_styled(ink, bold or ink.mask.mean() < _THIN, slant) for ink in inks])
    widths = [sum(ink.mask.shape[1] for ink in row) + gap * (len(row) - 1) for row in rows]
    tops = [min(ink.top for ink in row) for row in rows]
    bottoms = [max(ink.top + ink.mask.shape[0] for ink in row) for row in rows]
    total = sum(bottoms) - sum(tops) + leading * (len(rows) - 1)
    mask = np.zeros((total + 2 * margin, max(widths) + 2 * margin), np.uint8)
    alignment, y, words = rng.choice((0, 0.5, 0.5, 1)), margin, []
    for row, width, top, bottom in zip(rows, widths, tops, bottoms, strict=True):
        x = margin + int(alignment * (max(widths) - width))
        for ink in row:
            ink_height, ink_width = ink.mask.shape
            start = y + ink.top - top
            mask[start : start + ink_height, x : x + ink_width] = ink.mask
            words.append(_boxes(x, start, ink))
            x += ink_width + gap
        y += bottom - top + leading
    quads = np.array([boxes[0] for boxes in words])
    return Block(mask, margin, quads, [boxes[1:] for boxes in words], lines, size * face.capital_height())


def _styled(ink: Ink, bold: bool, slant: float) -> Ink:
    """The ink with thicker strokes, or slanted; its box is that of the changed ink."""
    mask, top, edges = ink
    if bold:
        grow = max(1, mask.shape[0] // 20)
        mask = cv2.copyMakeBorder(mask, grow, grow, grow, grow, cv2.BORDER_CONSTANT)
        mask = cv2.dilate(mask, np.ones((grow + 1, grow + 1), np.uint8))
        top, edges = top - grow, edges + grow
    if slant:
        height, width = mask.shape
        wide = width + int(abs(slant) * height) + 1
        matrix = np.array([[1, -slant, max(slant, 0) * height], [0, 1, 0]])
        mask = cv2.warpAffine(mask, matrix, (wide, height))
        edges = edges + max(slant, 0) * height / 2
    if not bold and not slant:
        return ink
    left, above, width, height = cv2.boundingRect(mask)
    edges = np.maximum.accumulate(np.clip(edges - left, 0, width))
    edges[0], edges[-1] = 0, width
    return Ink(mask[above : above + height, left : left + width], top + above, edges)


def _boxes(x: float, y: float, ink: Ink) -> np.ndarray:
    """(1 + characters, 4, 2): the word's box and its characters'; pixel centres have whole-number coordinates."""
    height, width = ink.mask.shape
    left, right = np.r_[0, ink.edges[:-1]], np.r_[width, ink.edges[1:]]
    top, bottom = np.zeros_like(left), np.full_like(left, height)
    corners = np.stack([np.stack(pair, 1) for pair in ((left, top), (right, top), (right, bottom), (left, bottom))], 1)
    return corners + np.array([x - 0.5, y - 0.5])


def tilt(rng: np.random.Generator, block: Block, scale: float, angle: float, strength: float) -> np.ndarray:
    """(3, 3): the block's pixels -> a picture's with the block's middle at (0, 0).

    The plane is rotated in space by up to about 40 degrees (strength 1; 0: not at all), then by `angle` radians in the
    picture.
    """
    height, width = block.mask.shape
    yaw, pitch = np.clip(rng.normal(0, strength * np.array([0.3, 0.15])), -0.75, 0.75)
    distance = rng.uniform(1.5, 4) * max(height, width)
    aspect = np.exp(rng.normal(0, 0.1 * strength))
    to_plane = np.array([[aspect, 0, -aspect * (width - 1) / 2], [0, 1, -(height - 1) / 2], [0, 0, 1]])
    cos_y, sin_y, cos_p, sin_p = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)
    upper = [[cos_y, 0, 0], [sin_y * sin_p, cos_p, 0]]
    view = np.array([*upper, [sin_y * cos_p / distance, -sin_p / distance, 1]])
    cos, sin = np.cos(angle) * scale, np.sin(angle) * scale
    turn = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    return turn @ view @ to_plane


def transform(points: np.ndarray, homography: np.ndarray) -> np.ndarray:
    """(..., 2) points through a (3, 3) homography."""
    points = np.asarray(points, float)
    return cv2.perspectiveTransform(points.reshape(1, -1, 2), homography).reshape(points.shape)


def moved(homography: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """The homography with its results shifted by (x, y)."""
    return np.array([[1, 0, shift[0]], [0, 1, shift[1]], [0, 0, 1.0]]) @ homography


def outline_of(block: Block, margin: float) -> np.ndarray:
    """(4, 2): the corners of the block's ink, enlarged by `margin` times the height of a capital letter."""
    height, width = block.mask.shape
    inset = block.margin - 0.5 - margin * block.capital_height
    left, top, right, bottom = inset, inset, width - 1 - inset, height - 1 - inset
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]])


def paint(
    rng: np.random.Generator, picture: np.ndarray, block: Block, homography: np.ndarray, board: np.ndarray | None
) -> None:
    """Draw the block into the (H, W, 3) uint8 picture.

    homography: the block's pixels -> the picture's. board: (4, 2) corners of a sign behind the block, in the block's
    pixels, or None.
    """
    height, width = picture.shape[:2]
    reach = outline_of(block, 0.5) if board is None else board
    corners = transform(reach, homography)
    low = np.clip(np.floor(corners.min(0)) - 2, 0, [width, height]).astype(int)
    high = np.clip(np.ceil(corners.max(0)) + 3, 0, [width, height]).astype(int)
    window = picture[low[1] : high[1], low[0] : high[0]]
    local = moved(homography, -low)
    ground, size = window.astype(np.float32), (high - low).tolist()
    colour, board_colour = _choose_colours(rng, ground, board is not None)
    if board is not None:
        ground = _with_board(rng, ground, transform(board, local), colour, board_colour)
    texture = (ground - ground.mean((0, 1))) * rng.choice((0.0, 0.0, 0.2, 0.5))
    cover = cv2.warpPerspective(block.mask, local, size)
    kind = rng.choice(4, p=(0.66, 0.16, 0.12, 0.06))
    if kind == 1:  # a shadow
        offset = rng.uniform(-0.12, 0.12, 2) * block.capital_height
        shadow = cv2.warpPerspective(block.mask, local @ moved(np.eye(3), offset), size)
        shadow = cv2.GaussianBlur(shadow, (0, 0), rng.uniform(0.5, 2))
        ground = _blend(ground, shadow, colour * rng.uniform(0, 0.4), rng.uniform(0.3, 0.9))
    elif kind == 2:  # an outline
        stroke = 2 * max(1, round(block.capital_height * rng.uniform(0.03, 0.07))) + 1
        thick = cv2.dilate(block.mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (stroke, stroke)))
        other = _contrasting(rng, colour, 60)
        ground = _blend(ground, cv2.warpPerspective(thick, local, size), other, 1)
    elif kind == 3:  # a glow
        glow = cv2.GaussianBlur(cover, (0, 0), max(1.0, rng.uniform(1, 5)))
        ground = _blend(ground, glow, np.minimum(colour * 1.1, 255), rng.uniform(0.3, 0.8))
    ground = _blend(ground, cover, colour + texture, rng.uniform(0.75, 1) if rng.random() < 0.3 else 1)
    window[:] = np.clip(ground + 0.5, 0, 255).astype(np.uint8)


def _with_board(
    rng, ground: np.ndarray, corners: np.ndarray, colour: np.ndarray, board_colour: np.ndarray
) -> np.ndarray:
    cover = np.zeros(ground.shape[:2], np.uint8)
    fixed = np.rint(corners * 16).astype(np.int32)
    cv2.fillConvexPoly(cover, fixed, 255, cv2.LINE_AA, 4)
    texture = (ground - ground.mean((0, 1))) * rng.choice((0.0, 0.1, 0.3))
    ground = _blend(ground, cover, board_colour + texture, rng.choice((1, 1, 0.85)))
    if rng.random() < 0.25:  # a frame
        middle = corners.mean(0)
        inner = np.rint((middle + (corners - middle) * 0.97) * 16).astype(np.int32)
        frame = np.zeros_like(cover)
        cv2.polylines(frame, [inner], True, 255, int(rng.integers(1, 3)), cv2.LINE_AA, 4)
        ground = _blend(ground, frame, colour, 1)
    return ground


def _blend(ground: np.ndarray, cover: np.ndarray, colour: np.ndarray, opacity: float) -> np.ndarray:
    share = (cover.astype(np.float32) * np.float32(opacity / 255))[..., None]
    return ground + (colour.astype(np.float32) - ground) * share


def _choose_colours(rng, ground: np.ndarray, board: bool) -> tuple[np.ndarray, np.ndarray]:
    """Colours of the words and of their board, with different luma."""
    contrast = rng.uniform(45, 170)
    if not board:
        mean, spread = ground.mean((0, 1)), float((ground @ _LUMA).std())
        return _contrasting(rng, mean, max(contrast, 2.5 * spread)), mean
    if rng.random() < 0.5:
        colours = np.clip(_SIGNS[rng.integers(len(_SIGNS))] + rng.normal(0, 12, (2, 3)), 0, 255)
        return colours[0], colours[1]
    board_colour = any_colour(rng)
    return _contrasting(rng, board_colour, contrast), board_colour


def _contrasting(rng: np.random.Generator, ground: np.ndarray, contrast: float) -> np.ndarray:
    """A colour whose luma differs from the ground's by at least `contrast`, if the draws find one."""
    luma = float(ground @ _LUMA)
    for _ in range(8):
        colour = any_colour(rng)
        if abs(float(colour @ _LUMA) - luma) >= contrast:
            return colour
    return rng.uniform(0, 40, 3) if luma > 127 else rng.uniform(215, 255, 3)
