"""Total-Text's ground truth, `poly_gt_img1.txt` or `poly_gt_img1.mat` (also `gt_img1.mat` of the boxes).

A word in the txt form, which may run over several lines:

    x: [[115 503 494 115]], y: [[322 346 426 404]], ornt: [u'm'], transcriptions: [u'nauGHTY']

The mat form has the same in a cell array `polygt` (or `gt`): 'x:', [115 503 ...], 'y:', [322 346 ...], text,
orientation in each row. The text or the orientation `#` marks a don't-care.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from utils.data.formats.base import Finding, Format, Source, if_any_matches
from utils.data.formats.entries import Entry, Malformed, Shape, WordList, parse_numbers, shown, text_of
from utils.data.formats.folder import Folder
from utils.data.formats.text_files import head_text, read_text
from utils.data.mat_cells import Cell, Damaged, OddLayout, Stream, find_variables, read_cells

_NAME = re.compile(r"(?:poly_)?gt_(.+)")
_VARIABLES = {"polygt", "rectgt", "gt"}
_WORD = re.compile(r"x:\s*\[\[(?P<x>[^\]]*)\]\],\s*y:\s*\[\[(?P<y>[^\]]*)\]\](?P<rest>.*?)(?=x:\s*\[\[|\Z)", re.DOTALL)
_QUOTED = re.compile(r"""[uU]?('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")""")


def find(folder: Folder) -> Finding | None:
    named = [file for file in folder.files(".txt", ".mat") if _NAME.fullmatch(file.stem)]
    files = if_any_matches(named, _is_it)
    reason = "has words of Total-Text: x: [[...]], y: [[...]]"
    return Finding(_one_form(files), f"{folder.relative(files[0])} {reason}") if files else None


def _is_it(file: Path) -> bool:
    if _is_text(file):
        return bool(_WORD.match(head_text(file).lstrip()))
    try:
        return bool(find_variables(file, _VARIABLES))
    except (OSError, Damaged, OddLayout):
        return False


def _is_text(file: Path) -> bool:
    return file.suffix.lower() == ".txt"


def _one_form(files: list[Path]) -> list[Path]:
    """Where a folder has several files about one image: its polygons before its boxes, txt before mat."""
    files = sorted(files, key=lambda file: (not file.stem.startswith("poly_"), not _is_text(file)))
    chosen: dict[tuple[str, str], Path] = {}
    for file in files:
        stem = _NAME.fullmatch(file.stem)[1]  # type: ignore[index]
        chosen.setdefault((stem, file.parent.name.lower()), file)
    return sorted(chosen.values())


def read(source: Source) -> Iterator[Entry]:
    name = source.image_of_stem(_NAME.sub(r"\1", source.file.stem))
    if name is None:
        return
    words = WordList(str(source.file), source.problems)
    (_add_text if _is_text(source.file) else _add_cells)(source, words)
    yield words.entry(name)


def _add_text(source: Source, words: WordList) -> None:
    content = read_text(source.file, source.problems)
    at = 0
    for number, found in enumerate(_WORD.finditer(content)):
        if content[at : found.start()].strip():
            words.malformed(f"{shown(content[at : found.start()].strip())}; expected x: [[...]], y: [[...]], ...")
        at = found.end()
        with words.entry_of(f"word {number}"):
            quoted = _quoted_after(found["rest"], "transcriptions")
            words.add(_shape(_list(found["x"]), _list(found["y"]), quoted, _quoted_after(found["rest"], "ornt")))
    if content[at:].strip():
        words.malformed(f"{shown(content[at:].strip())}; expected x: [[...]], y: [[...]], ...")


def _list(text: str) -> np.ndarray:
    return parse_numbers(text.replace(",", " ").split())


def _quoted_after(text: str, key: str) -> str:
    """The first quoted text after a key, as Python writes it; "" if there is none."""
    place = re.search(rf"{key}:\s*\[", text)
    found = _QUOTED.match(text, place.end()) if place else None
    try:
        return ast.literal_eval(found[1]) if found else ""
    except (SyntaxError, ValueError):
        return found[1][1:-1] if found else ""


def _shape(x: np.ndarray, y: np.ndarray, text: str, orientation: str) -> Shape:
    if x.shape != y.shape or not len(x):
        raise Malformed(f"{len(x)} x and {len(y)} y; expected as many of each")
    text = text_of(text)
    return Shape(np.stack([x, y], 1).astype(np.float64), text, text == "#" or orientation == "#")


def _add_cells(source: Source, words: WordList) -> None:
    try:
        variables = find_variables(source.file, _VARIABLES)
        if not variables:
            raise Malformed("it has no variable polygt; expected a file of Total-Text")
        variable = next(iter(variables.values()))
        with Stream(source.file, variable) as stream:
            rows = stream.header().shape[0]
        count, cells = read_cells(source.file, variable)
        if rows < 1 or count % rows or count // rows not in (5, 6):
            raise Malformed(f"a cell array of {count} cells in {rows} rows; expected 6 in a row")
        table = list(cells)
    except OSError as error:
        raise Malformed(f"cannot be read ({error.strerror})") from None
    except (Damaged, OddLayout) as error:
        raise Malformed(f"not a whole MATLAB v5 file ({error})") from None
    for number in range(rows):
        with words.entry_of(f"row {number + 1}"):
            row = table[number::rows]
            orientation = row[5].text or "" if len(row) > 5 else ""
            words.add(_shape(_values(row[1]), _values(row[3]), row[4].text or "", orientation))


def _values(cell: Cell) -> np.ndarray:
    if not isinstance(cell.values, np.ndarray):
        raise Malformed("coordinates that are no numbers")
    return cell.values.astype(np.float64)


FORMAT = Format("totaltext", find, read, one_file_an_image=True)
