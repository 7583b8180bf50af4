"""The lines of `.txt` annotation files, a word a line, in the forms that text data sets use.

    quads         x1,y1,x2,y2,x3,y3,x4,y4,text              ICDAR 2015 and this project's own
    polygons      x1,y1,...,xK,yK,text  (K >= 3)            ICDAR ArT, CTW1500 and others
    script        x1,y1,x2,y2,x3,y3,x4,y4,script,text       ICDAR MLT 2017 and 2019
    boxes         x1,y1,x2,y2,text                          ICDAR 2013, test part (text in quotes)
    spaced boxes  x1 y1 x2 y2 "text"                        ICDAR 2013, training part
    spaced quads  x1 y1 x2 y2 x3 y3 x4 y4 text              DOTA and tools of its kind

One line cannot say which form it is in: `8,9,10` may end a polygon or be a price. So the form is recognised from
all lines of a file together.
"""

import re
from collections.abc import Iterable

import numpy as np

from utils.data.formats.base import Source
from utils.data.formats.entries import DONT_CARE, Malformed, Shape, WordList, parse_numbers
from utils.data.formats.shapes import box_corners
from utils.data.formats.text_files import read_text

SCRIPTS = {"Arabic", "Bangla", "Chinese", "Hindi", "Japanese", "Korean", "Latin", "Mixed", "None", "Symbols"}
"""ICDAR MLT's names of scripts."""

EXPECTED = {
    "quads": "8 numbers and the text, separated by commas",
    "polygons": "6 or more numbers (x,y of each corner) and the text, separated by commas",
    "script": "8 numbers, the script and the text, separated by commas",
    "boxes": "left,top,right,bottom and the text, separated by commas",
    "spaced boxes": 'left top right bottom "text", separated by spaces',
    "spaced quads": "8 numbers and the text, separated by spaces",
}

_NUMBER = re.compile(r"\s*[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?\s*", re.ASCII)


def split_lines(text: str) -> list[tuple[int, str]]:
    """(number, line) of the lines that are not blank; a line ends with LF, CR or both."""
    lines = enumerate(re.split("\r\n|\n|\r", text), 1)
    return [(number, line) for number, line in lines if line.strip()]


def read_lines(source: Source) -> list[tuple[int, str]]:
    """`split_lines` of a source's file. Raises `Malformed` if it cannot be read."""
    return split_lines(read_text(source.file, source.problems))


def recognise_form(lines: list[str]) -> str:
    """The form (see the module) that fits the lines of a file; "quads" if none does."""
    rows = [line.split(",") for line in lines]
    counts = [_leading_numbers(row) for row in rows]
    boxes = sum(4 <= count <= 5 for count in counts)
    short = sum(6 <= count <= 7 for count in counts)
    long = sum(count >= 8 for count in counts)
    spaced = [line for line, count in zip(lines, counts, strict=True) if count < 4]
    spaced_quads = sum(_is_spaced_quad(line) for line in spaced)
    spaced_boxes = sum(_is_spaced_box(line) for line in spaced)
    if spaced_quads + spaced_boxes > boxes + short + long:
        return "spaced quads" if spaced_quads >= spaced_boxes else "spaced boxes"
    if boxes and boxes + short > long:
        return "boxes"
    if _is_script(rows, counts):
        return "script"
    return "polygons" if short > long or _is_polygons(rows, counts) else "quads"


def _leading_numbers(fields: list[str]) -> int:
    for count, field in enumerate(fields):
        if not _NUMBER.fullmatch(field):
            return count
    return len(fields)


def _is_spaced_quad(line: str) -> bool:
    return _leading_numbers(line.split()) >= 8


def _is_spaced_box(line: str) -> bool:
    fields = line.split(None, 4)
    return len(fields) == 5 and _leading_numbers(fields) == 4 and not _is_spaced_quad(line)


def _is_script(rows: list[list[str]], counts: list[int]) -> bool:
    """Every line with eight numbers goes on with the name of a script and a text."""
    with_corners = [row for row, count in zip(rows, counts, strict=True) if count >= 8]
    return bool(with_corners) and all(len(row) >= 10 and row[8].strip() in SCRIPTS for row in with_corners)


def _is_polygons(rows: list[list[str]], counts: list[int]) -> bool:
    """Some line has numbers beyond its eighth that are points near the first four, not a text of numbers."""
    any_quad = any(count in (8, 9) for count in counts)
    for row, count in zip(rows, counts, strict=True):
        numeric_text = count == len(row) and any_quad and count < 12
        if count >= 10 and not numeric_text and _near_first_corners(row, count):
            return True
    return False


def _near_first_corners(row: list[str], count: int) -> bool:
    points = np.array(row[: count - count % 2], np.float64).reshape(-1, 2)
    low, high = points[:4].min(0), points[:4].max(0)
    reach = 2 * (high - low).max()
    return bool(((points[4:] >= low - reach) & (points[4:] <= high + reach)).all())


def parse_line(line: str, form: str) -> Shape:
    """The word of one line. Raises `Malformed`."""
    try:
        points, text = _PARSERS[form](line)
    except (Malformed, ValueError, IndexError):
        raise Malformed(f"{line[:60]!r}; expected {EXPECTED[form]}") from None
    return Shape(points, text, text.strip() == DONT_CARE)


def _quad(line: str) -> tuple[np.ndarray, str]:
    return _corners(line.split(",", 8))


def _spaced_quad(line: str) -> tuple[np.ndarray, str]:
    return _corners(line.split(None, 8))


def _corners(fields: list[str]) -> tuple[np.ndarray, str]:
    return np.array(fields[:8], dtype=np.float64).reshape(4, 2), fields[8] if len(fields) == 9 else ""


def _polygon(line: str) -> tuple[np.ndarray, str]:
    fields = line.split(",")
    count = _leading_numbers(fields)
    count -= count % 2
    if count < 6:
        raise Malformed
    return np.array(fields[:count], np.float64).reshape(-1, 2), ",".join(fields[count:])


def _script(line: str) -> tuple[np.ndarray, str]:
    fields = line.split(",", 9)
    return np.array(fields[:8], np.float64).reshape(4, 2), fields[9] if len(fields) == 10 else ""


def _box(line: str) -> tuple[np.ndarray, str]:
    return _upright(line.split(",", 4))


def _spaced_box(line: str) -> tuple[np.ndarray, str]:
    return _upright(line.split(None, 4))


def _upright(fields: list[str]) -> tuple[np.ndarray, str]:
    left, top, right, bottom = parse_numbers(fields[:4])
    if right < left or bottom < top:
        raise Malformed  # x,y,width,height, or corners in another order
    return box_corners(left, top, right, bottom), unquoted(fields[4]) if len(fields) == 5 else ""


_PARSERS = {
    "quads": _quad,
    "polygons": _polygon,
    "script": _script,
    "boxes": _box,
    "spaced boxes": _spaced_box,
    "spaced quads": _spaced_quad,
}


def unquoted(text: str) -> str:
    r"""The text without the double quotes around it, \" and \\ inside them resolved."""
    inner = text.strip()
    if len(inner) < 2 or inner[0] != '"' or inner[-1] != '"':
        return text
    return re.sub(r'\\(["\\])', r"\1", inner[1:-1])


def add_lines(lines: Iterable[tuple[int, str]], words: WordList) -> str:
    """Add the words of a file's (number, line)s; those that fit no form are left out and counted. Returns the form."""
    lines = list(lines)
    form = recognise_form([line for _, line in lines])
    for number, line in lines:
        try:
            words.add(parse_line(line, form))
        except Malformed as error:
            words.leave_out("malformed lines, left out", f"{words.place}:{number}: {error}")
    return form
