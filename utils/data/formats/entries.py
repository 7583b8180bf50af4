"""What every reader returns and every writer takes: images with their words, as the annotation file gives them."""

import contextlib
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from utils.data.formats.shapes import smallest_rectangle
from utils.data.problems import Problems

DONT_CARE = "###"
"""ICDAR's transcription of a word that counts neither for nor against a detector."""

DONT_CARE_LABELS = {DONT_CARE, "ignore", "ignored", "difficult", "illegible"} | {
    f"don{apostrophe}t{space}care" for apostrophe in ("", "'") for space in ("", " ", "_", "-")
}
"""Labels, attributes and flags (lower case) that mark a word as don't-care in formats without a field for it."""

_POLYGONS = "polygons of other than four corners, replaced by the smallest rectangle around each"
_MALFORMED = "malformed entries, left out"


class Malformed(Exception):
    """An entry that contradicts its format. The message has the value and what is expected, not the place."""


class Entry(NamedTuple):
    """One image and its words. Corners are not repaired yet."""

    name: str
    """Path of the image relative to the dataset's folder, with forward slashes."""
    quads: np.ndarray
    """(M, 4, 2) float64 corners (x, y) in pixels."""
    ignored: np.ndarray
    """(M,) bool: don't-care."""
    texts: list[str]
    """M transcriptions, "" where the format has none."""
    part: str | None = None
    """"train" or "test" where the file says so."""
    left_out: int = 0
    """Words of the image that cannot be read."""
    scores: list[float | None] | None = None
    """Of draft annotations, by a detector; readers leave them out."""
    stated_size: tuple[float, float] | None = None
    """(height, width) of the picture where the file says so; the corners are in pixels of that size."""

    @property
    def broken(self) -> bool:
        """Whether the file has words of the image, but none that can be read."""
        return bool(self.left_out) and not len(self.quads)


class Shape(NamedTuple):
    """A word's outline and what its file says about it."""

    points: np.ndarray
    """(K, 2) float64."""
    text: str = ""
    ignored: bool = False


class WordList:
    """Collects the words of one image; malformed ones are left out and counted.

    place: names the file (and the entry) in messages.
    """

    def __init__(self, place: str, problems: Problems):
        self.place, self.problems = place, problems
        self._quads: list[np.ndarray] = []
        self._ignored: list[bool] = []
        self._texts: list[str] = []
        self._left_out = 0

    def add(self, shape: Shape) -> None:
        """A shape of four corners stays as it is; another polygon becomes the smallest rectangle around it."""
        points = shape.points
        if len(points) < 3:
            self.malformed(f"{len(points)} points; expected at least 3")
            return
        if len(points) != 4:
            if not np.isfinite(points).all():
                self.malformed(f"a polygon with the corner {_first_bad(points)}; expected finite numbers")
                return
            self.problems.add(_POLYGONS, f"{self.place}: {len(points)} corners")
            points = smallest_rectangle(points)
        self._quads.append(points)
        self._ignored.append(bool(shape.ignored))
        self._texts.append(shape.text)

    def malformed(self, message: str) -> None:
        self.leave_out(_MALFORMED, f"{self.place}: {message}")

    def leave_out(self, kind: str, example: str) -> None:
        self._left_out += 1
        self.problems.add(kind, example)

    @contextlib.contextmanager
    def entry_of(self, what: object) -> Iterator[None]:
        """Count a `Malformed` raised inside as a problem of this entry (its number or name)."""
        try:
            yield
        except Malformed as error:
            self.malformed(f"{what}: {error}")

    def entry(self, name: str, part: str | None = None, size: Sequence[object] = ()) -> Entry:
        """The image's entry. size: height and width as the file states them, of any type; without effect if invalid."""
        quads = np.array(self._quads, np.float64).reshape(-1, 4, 2)
        entry = Entry(name, quads, np.array(self._ignored, bool), list(self._texts), part, self._left_out)
        return entry._replace(stated_size=_positive_numbers(size))


def _positive_numbers(values: Sequence[object]) -> tuple[float, float] | None:
    """Two positive numbers, or texts of such; None for anything else."""
    try:
        height, width = map(float, values)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None
    return (height, width) if 0 < min(height, width) <= max(height, width) < math.inf else None


def _first_bad(points: np.ndarray) -> str:
    return str(points[~np.isfinite(points).all(1)][0].tolist())


def is_dont_care(text: object) -> bool:
    """Whether a label, transcription or attribute name marks a don't-care."""
    return isinstance(text, str) and text.strip().lower() in DONT_CARE_LABELS


def points_of(values: object) -> np.ndarray:
    """[[x, y], ...] or [x, y, x, y, ...] of numbers, as JSON has them -> (K, 2) float64. Raises `Malformed`."""
    if not isinstance(values, list) or not values:
        raise Malformed(f"points {shown(values)}; expected a list of [x, y]")
    if all(isinstance(value, list) for value in values):
        if any(len(pair) < 2 for pair in values):
            raise Malformed(f"points {shown(values)}; expected a list of [x, y]")
        values = [number for pair in values for number in pair[:2]]
    return numbers_of(values).reshape(-1, 2)


def numbers_of(values: object, count: int | None = None) -> np.ndarray:
    """A list of numbers, `count` of them or an even number -> float64 array. Raises `Malformed`."""
    expected = f"{count} numbers" if count else "an even number of numbers"
    if not isinstance(values, Sequence) or isinstance(values, str):
        raise Malformed(f"{shown(values)}; expected {expected}")
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        raise Malformed(f"{shown(values)}; expected {expected}")
    if (len(values) != count) if count else (len(values) % 2 or not values):
        raise Malformed(f"{len(values)} numbers in {shown(values)}; expected {expected}")
    try:
        return np.array(values, np.float64)
    except OverflowError:
        raise Malformed(f"{shown(values)}: a number is too large") from None


def parse_numbers(texts: Sequence[str | None]) -> np.ndarray:
    """Texts of numbers, as XML attributes and lines have them -> float64 array. Raises `Malformed`."""
    try:
        return np.array([float(text) for text in texts], np.float64)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise Malformed(f"{shown(list(texts))}; expected numbers") from None


def text_of(value: object) -> str:
    """A transcription on one line; "" for what is no text. Line breaks become spaces."""
    if not isinstance(value, str):
        return ""
    return " ".join(value.encode("utf-8", errors="replace").decode("utf-8").splitlines())


def shown(value: object) -> str:
    """The value's representation, shortened for a message."""
    text = repr(value) if not isinstance(value, list | dict) else repr(value[:9] if isinstance(value, list) else value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def dont_care_texts(entry: Entry, problems: Problems, marks: Sequence[str] = (DONT_CARE,)) -> list[str]:
    """The texts to write where these texts (`marks`) mean don't-care: a word that counts loses such a text, counted."""
    texts = []
    for text, ignored in zip(entry.texts, entry.ignored, strict=True):
        if not ignored and text.strip() in marks:
            problems.add(
                "words that count but have a don't-care's text, written without text", f"{entry.name}: {text!r}"
            )
            text = ""
        texts.append(text)
    return texts
