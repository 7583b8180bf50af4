"""Typefaces for rendered words: TrueType and OpenType files, Pillow's own, OpenCV's Hershey fonts."""

import functools
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple, Protocol

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from utils.data.problems import Problems
from utils.errors import UserError

SUFFIXES = {".ttf", ".otf", ".ttc"}
SIZES = np.unique(np.rint(12 * 1.15 ** np.arange(21)).astype(int))
"""Font sizes that words are drawn at, 12 to 196; few of them, so that each font file is opened a few times only."""
_MISSING = "\U0010fffe"
"""No font has this character: its glyph is the font's sign for a missing character."""


class Ink(NamedTuple):
    """A drawn word, cropped to its ink."""

    mask: np.ndarray
    """(h, w) uint8."""
    top: int
    """Row of the mask's first row, counted from the base line; negative above it."""
    edges: np.ndarray
    """(characters + 1,) from 0 to w: where each character begins and the last one ends."""


class Typeface(Protocol):
    """A source of drawn words."""

    name: str

    def covers(self, text: str) -> bool:
        """Whether the typeface has all characters of the text."""
        ...

    def capital_height(self) -> float:
        """Height of an H, as a share of the font's size."""
        ...

    def draw(self, text: str, size: int, spacing: int = 0) -> Ink | None:
        """The drawn text, or None for a text without ink. spacing: additional pixels between characters."""
        ...


class FileTypeface:
    """A font drawn by Pillow. path: a font file; None: Pillow's own font. Raises `OSError` for a font without an H."""

    def __init__(self, path: Path | None):
        self.path, self.name = path, str(path or "Pillow's own font")
        self._missing = self._glyph(_MISSING)
        self._known: dict[str, bool] = {}
        _, top, _, bottom = _font(path, 64).getbbox("H", anchor="ls")
        self._capital_height = (bottom - top) / 64
        if self._capital_height <= 0:
            raise OSError("it draws no H")

    def _glyph(self, character: str) -> tuple:
        mask = _font(self.path, 24).getmask(character)
        return mask.size, bytes(mask)

    def covers(self, text: str) -> bool:
        for character in set(text) - self._known.keys():
            glyph = self._glyph(character)
            self._known[character] = glyph != self._missing and any(glyph[1])
        return all(self._known[character] for character in text)

    def capital_height(self) -> float:
        return self._capital_height

    def draw(self, text: str, size: int, spacing: int = 0) -> Ink | None:
        font = _font(self.path, size)
        starts = np.array([font.getlength(text[:count]) for count in range(len(text) + 1)])
        left, top, right, bottom = (round(side) for side in font.getbbox(text, anchor="ls"))
        if right <= left or bottom <= top:
            return None
        pad = max(2, size // 8)  # overhanging letters, where each is drawn alone
        canvas = Image.new("L", (right - left + spacing * (len(text) - 1) + 2 * pad, bottom - top + 2 * pad))
        pen = ImageDraw.Draw(canvas)
        if spacing:
            starts = starts + spacing * np.arange(len(text) + 1)
            for character, start in zip(text, starts, strict=False):
                pen.text((pad - left + start, pad - top), character, 255, font, anchor="ls")
        else:
            pen.text((pad - left, pad - top), text, 255, font, anchor="ls")
        return _cut(np.asarray(canvas), starts + (pad - left), pad - top)


class HersheyTypeface:
    """One of OpenCV's stroke fonts, ASCII only. boldness: stroke width as a share of the size."""

    _UNIT = 32.0
    """Font size of OpenCV's scale 1, about."""

    def __init__(self, number: int, boldness: float):
        self.number, self.boldness, self.name = number, boldness, f"Hershey {number}"

    def covers(self, text: str) -> bool:
        return all(" " < character <= "~" for character in text)

    @functools.cache  # noqa: B019 (a handful of typefaces live as long as the process)
    def capital_height(self) -> float:
        ink = self.draw("H", 64)
        assert ink is not None
        return ink.mask.shape[0] / 64

    def draw(self, text: str, size: int, spacing: int = 0) -> Ink | None:
        scale, thickness = size / self._UNIT, max(1, round(size * self.boldness))
        width = functools.partial(cv2.getTextSize, fontFace=self.number, fontScale=scale, thickness=thickness)
        starts = np.array([width(text[:count])[0][0] for count in range(len(text) + 1)], float)
        starts += (spacing + thickness / 2) * np.arange(len(text) + 1)
        pad, base = size, 2 * size
        mask = np.zeros((3 * size, int(starts[-1]) + 2 * pad), np.uint8)
        for character, start in zip(text, starts, strict=False):
            place = round(pad + start), base
            cv2.putText(mask, character, place, self.number, scale, 255, thickness, cv2.LINE_AA)
        return _cut(mask, starts + pad, base)


def _cut(mask: np.ndarray, edges: np.ndarray, base: int) -> Ink | None:
    left, top, width, height = cv2.boundingRect(mask)
    if not width:
        return None
    edges = np.maximum.accumulate(np.clip(edges - left, 0, width))
    edges[0], edges[-1] = 0, width
    return Ink(mask[top : top + height, left : left + width], top - base, edges)


@functools.lru_cache(maxsize=512)
def _font(path: Path | None, size: int) -> ImageFont.FreeTypeFont:
    if path is None:
        font = ImageFont.load_default(size)
        assert isinstance(font, ImageFont.FreeTypeFont)  # Pillow was built with FreeType
        return font
    return ImageFont.truetype(str(path), size, layout_engine=ImageFont.Layout.BASIC)


def built_in_typefaces() -> list[Typeface]:
    """The typefaces of the installed packages: Pillow's own font and OpenCV's Hershey fonts, half of each."""
    hershey = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_COMPLEX, cv2.FONT_HERSHEY_TRIPLEX)
    pillow = FileTypeface(None)
    return [pillow] * len(hershey) + [HersheyTypeface(number, weight) for number in hershey for weight in (0.06, 0.12)]


def load_typefaces(folder: Path, characters: Iterable[str]) -> tuple[list[Typeface], Problems]:
    """The fonts of a folder that have at least half of the characters, and what was left out. Raises `UserError`."""
    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such folder; give --fonts one with .ttf or .otf files")
    faces: list[Typeface] = []
    problems, characters = Problems(), list(characters)
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    for path in paths:
        try:
            face = FileTypeface(path)
            covered = sum(map(face.covers, characters))
        except (OSError, ValueError) as error:
            problems.add("fonts that cannot be read, left out", f"{path}: {error}")
            continue
        if 2 * covered < len(characters):
            example = f"{path}: {len(characters) - covered} of {len(characters)} characters"
            problems.add("fonts that lack most of the words' characters, left out", example)
        else:
            faces.append(face)
    if not faces:
        why = f"none of its {len(paths)} fonts can be used: {problems}" if paths else "it has no .ttf or .otf file"
        raise UserError(f"{folder}: {why}; give --fonts another folder")
    return faces, problems
