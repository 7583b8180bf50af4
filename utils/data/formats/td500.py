"""MSRA-TD500's `.gt` files beside the images: `index difficult x y width height theta`, a text line a line.

(x, y), width and height are an upright box; theta (radians) turns it around its centre, clockwise on the picture. A
difficult one is a don't-care. There are no texts.
"""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from utils.data.formats.base import Finding, Format, Source, first_files
from utils.data.formats.entries import Entry, Malformed, Shape, WordList, parse_numbers, shown
from utils.data.formats.folder import Folder
from utils.data.formats.shapes import rotated_box
from utils.data.formats.text_files import head_text
from utils.data.formats.text_lines import read_lines, split_lines


def find(folder: Folder) -> Finding | None:
    files = first_files(folder, _is_it, ".gt")
    reason = "has lines of seven numbers: index difficult x y width height theta"
    return Finding(files, f"{folder.relative(files[0])} {reason}") if files else None


def _is_it(file: Path) -> bool:
    lines = split_lines(head_text(file, 4096))
    try:
        return bool(lines) and len(_numbers(lines[0][1])) == 7
    except Malformed:
        return False


def _numbers(line: str) -> np.ndarray:
    fields = line.split()
    if len(fields) != 7:
        raise Malformed(f"{shown(line)}; expected 7 numbers, separated by spaces")
    return parse_numbers(fields)


def read(source: Source) -> Iterator[Entry]:
    lines = read_lines(source)
    name = source.image_of_stem(source.file.stem)
    if name is None:
        return
    words = WordList(str(source.file), source.problems)
    for number, line in lines:
        with words.entry_of(f"line {number}"):
            _, difficult, x, y, width, height, theta = _numbers(line)
            if not math.isfinite(theta):
                raise Malformed(f"theta {theta}; expected radians")
            corners = rotated_box(np.array([x, y, x + width, y + height]), math.degrees(theta))
            words.add(Shape(corners, "", difficult != 0))
    yield words.entry(name)


FORMAT = Format("td500", find, read, one_file_an_image=True, empty_suffixes=(".gt",))
