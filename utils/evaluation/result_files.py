"""ICDAR 2015's text files `gt_NAME.txt` and `res_NAME.txt`, read by the rules of its official script.

A line of ground truth is `x1,y1,...,x4,y4,text`; a line of results is `x1,y1,...,x4,y4`, or `x1,y1,...,x4,y4,score`
for detectors with scores. The official script accepts neither decimals in coordinates, nor names without a prefix, nor
scores; these functions do.
"""

import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from utils.data.annotations import DONT_CARE, Words
from utils.data.formats.entries import Malformed
from utils.data.formats.shapes import smallest_rectangle
from utils.data.formats.text_lines import parse_line, recognise_form, unquoted
from utils.data.problems import Problems
from utils.errors import UserError
from utils.evaluation.text_sources import read_text_sources
from utils.geometry import signed_areas
from utils.runtime.files import write_file

_NUMBER = r"\s*([+-]?[0-9]+(?:\.[0-9]*)?)\s*"
_CORNERS = ",".join([_NUMBER] * 8)
_WORD_LINE = re.compile(rf"^{_CORNERS},(.*)$")
_RESULT_LINE = re.compile(rf"^{_CORNERS}(?:,\s*([-+.0-9eE]+)\s*)?$")

_Item = TypeVar("_Item")


class Detections(NamedTuple):
    """A detector's output for one image, in the order of its file."""

    quads: np.ndarray
    """(K, 4, 2) float64, clockwise, in pixels."""
    scores: np.ndarray | None
    """(K,), or None if the file has no scores."""


def read_ground_truth(source: Path, problems: Problems | None = None) -> dict[str, Words]:
    """NAME -> its words, from a folder or zip of `gt_NAME.txt`. Raises `UserError`.

    The form of the lines is recognised for each file, see `utils.data.formats.text_lines`: ICDAR 2015's, ICDAR MLT's
    with a script, polygons (each becomes the smallest rectangle around it, counted in problems), ICDAR 2013's boxes.
    """
    counted = Problems() if problems is None else problems
    return _read_all(source, "gt_", functools.partial(_read_words, problems=counted))


def read_results(source: Path) -> dict[str, Detections]:
    """NAME -> its detections, from a folder or zip of `res_NAME.txt`. Raises `UserError`."""
    return _read_all(source, "res_", _read_detections)


def write_results(path: Path, quads: np.ndarray, scores: np.ndarray | None = None) -> None:
    """Write a `res_NAME.txt`: quads (K, 4, 2) as whole pixels, with scores (K,) if given."""
    lines = [",".join(str(int(value)) for value in quad) for quad in whole_pixels(quads).reshape(-1, 8)]
    if scores is not None:
        lines = [f"{line},{score:.4f}" for line, score in zip(lines, scores, strict=True)]
    write_file(path, "".join(f"{line}\r\n" for line in lines))


def whole_pixels(quads: np.ndarray) -> np.ndarray:
    """(K, 4, 2) rounded; a quad thinner than a pixel whose corners then run anticlockwise is reordered clockwise."""
    quads = np.rint(quads).reshape(-1, 4, 2) + 0.0  # no -0
    turned = signed_areas(quads) < 0
    quads[turned] = quads[turned][:, [0, 3, 2, 1]]
    return quads


def _read_all(source: Path, prefix: str, read: Callable[[str, str], _Item]) -> dict[str, _Item]:
    """Name without prefix -> contents of each text file. Files without the prefix are ignored if others have it."""
    files = read_text_sources(source)
    prefixed = {name: data for name, data in files.items() if name.startswith(prefix)}
    found = {}
    for name, data in (prefixed or files).items():
        text = data.decode("utf-8-sig", errors="replace")
        found[name.removeprefix(prefix).removesuffix(".txt")] = read(text, f"{source}/{name}")
    return found


def _lines(text: str, place: str) -> list[tuple[str, str]]:
    """(place, line) of the lines that are not empty. Only line feeds separate lines; carriage returns are removed."""
    lines = [line.replace("\r", "") for line in text.split("\n")]
    return [(f"{place}:{number}", line) for number, line in enumerate(lines, 1) if line]


def _read_words(text: str, place: str, problems: Problems) -> Words:
    lines = _lines(text, place)
    form = recognise_form([line for _, line in lines])
    if form != "quads":
        return _read_other_form(lines, form, problems)
    quads, ignored = [], []
    for where, line in lines:
        if not (fields := _WORD_LINE.match(line)):
            raise UserError(f"{where}: {line[:60]!r}; expected x1,y1,x2,y2,x3,y3,x4,y4,text")
        quads.append(_corners(fields, where))
        ignored.append(unquoted(fields[9]) == DONT_CARE)
    return Words(np.array(quads).reshape(-1, 4, 2), np.array(ignored, bool))


def _read_other_form(lines: list[tuple[str, str]], form: str, problems: Problems) -> Words:
    quads, ignored = [], []
    for where, line in lines:
        try:
            points, text, _ = parse_line(line, form)
        except Malformed as error:
            raise UserError(f"{where}: {error}") from None
        if len(points) != 4:
            problems.add("polygons, replaced by the smallest rectangle around each", f"{where}: {len(points)} corners")
            points = smallest_rectangle(_checked(points, where))
        quads.append(_clockwise(_checked(points, where), where))
        ignored.append(unquoted(text) == DONT_CARE)
    return Words(np.array(quads).reshape(-1, 4, 2), np.array(ignored, bool))


def _read_detections(text: str, place: str) -> Detections:
    quads, scores = [], []
    for where, line in _lines(text, place):
        if not (fields := _RESULT_LINE.match(line)):
            raise UserError(f"{where}: {line[:60]!r}; expected x1,y1,x2,y2,x3,y3,x4,y4 and an optional score")
        quads.append(_corners(fields, where))
        if fields[9] is not None:
            try:
                scores.append(float(fields[9]))
            except ValueError:
                raise UserError(f"{where}: score {fields[9]!r}; expected a number") from None
    if scores and len(scores) < len(quads):
        raise UserError(f"{place}: {len(scores)} of {len(quads)} lines have a score; give all lines a score, or none")
    return Detections(np.array(quads).reshape(-1, 4, 2), np.array(scores) if scores else None)


def _corners(fields: re.Match, where: str) -> np.ndarray:
    """(4, 2). Anticlockwise corners are an error, as in the official script."""
    return _checked(_clockwise(np.array(fields.groups()[:8], np.float64).reshape(4, 2), where), where)


def _clockwise(quad: np.ndarray, where: str) -> np.ndarray:
    if signed_areas(quad) < 0:
        raise UserError(f"{where}: the corners run anticlockwise on the picture; ICDAR's order is clockwise")
    return quad


def _checked(points: np.ndarray, where: str) -> np.ndarray:
    if not np.abs(points).max() < 2**31:  # also nan
        raise UserError(f"{where}: a coordinate of {np.abs(points).max():g}; expected pixels")
    return points
