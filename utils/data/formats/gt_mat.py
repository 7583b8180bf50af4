"""SynthText's `gt.mat` as a format to convert from and to, with texts.

A gt.mat written here has two variables that SynthText's has not: `transcription`, a string per image with a line per
word (`txt` loses the spaces at the end of a word), and `dontcare`, 1 for each don't-care. Training reads a gt.mat by
`utils.data.annotation_index` instead, in little memory.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from utils.data.formats.base import Finding, Format, Output, Source, list_files
from utils.data.formats.entries import DONT_CARE, Entry
from utils.data.formats.folder import Folder
from utils.data.formats.txt import shortest
from utils.data.gt_mat import (
    cell_of_quads,
    damage_as_user_error,
    file_name_of,
    marks_of_cell,
    quads_of_cell,
    read_columns,
    write_gt_mat,
)
from utils.data.mat_cell_writer import CellValue
from utils.data.mat_cells import Cell, Damaged, OddLayout, find_variables

_COLUMNS = "imnames", "wordBB", "txt", "transcription", "dontcare"


def find(folder: Folder) -> Finding | None:
    files = list_files(folder, _is_gt_mat, ".mat")
    return Finding(files, f"{folder.relative(files[0])} has imnames and wordBB") if files else None


def _is_gt_mat(file: Path) -> bool:
    """A file of that name, or one with its variables."""
    if file.name == "gt.mat":
        return True
    try:
        return len(find_variables(file, {"imnames", "wordBB"})) == 2
    except (OSError, Damaged, OddLayout):
        return False


def read(source: Source) -> Iterator[Entry]:
    """Raises `UserError` for a damaged file."""
    with damage_as_user_error(source.file):
        yield from _read(source)


def _read(source: Source) -> Iterator[Entry]:
    columns = read_columns(source.file, _COLUMNS)
    missing: list[Cell | None] = [None] * columns["imnames"][0]
    cells = (columns[name][1] if name in columns else missing for name in _COLUMNS)
    for number, (cell, box, text, lines, marks) in enumerate(zip(*cells, strict=True)):
        name, quads = file_name_of(cell, source.file), quads_of_cell(box)
        if not name or quads is None:
            example = f"{source.file}: imnames[{number}], wordBB[{number}] of shape {box.shape}"
            source.problems.add("images without a name or with malformed words, left out", example)
            continue
        if not (found := source.image(name)):
            continue
        texts = texts_of(lines, text, len(quads))
        if texts is None:
            kind = "images whose txt doesn't fit their words: words written as 'word'"
            source.problems.add(kind, f"{source.file}: txt[{number}]")
            texts = ["word"] * len(quads)
        unread = np.array([text.strip() == DONT_CARE for text in texts], bool)
        yield Entry(found, quads, marks_of_cell(marks, len(quads)) | unread, texts)


def texts_of(lines: Cell | None, text: Cell | None, count: int) -> list[str] | None:
    """A text per word: from our own `transcription`, else from SynthText's `txt`, split at white space.

    None if neither has as many texts as there are words.
    """
    if lines is not None and lines.text is not None:
        texts = lines.text.split("\n")[:-1]
        return texts if len(texts) == count else None
    if count == 0:
        return []
    rows = text.values if text is not None and isinstance(text.values, list) else []
    words = [word for row in rows for word in row.split()]
    for texts in (words, [row.strip() for row in rows]):
        if len(texts) == count:
            return texts
    return None


def write(output: Output, entries: Iterator[Entry]) -> int:
    """`train/gt.mat` beside the images of `train/`, and the same for test."""
    folder, images = output.root / output.part, list(entries)
    for entry in images:
        output.place_image(entry.name, folder / entry.name)
    columns: dict[str, Iterable[CellValue]] = {
        "imnames": (entry.name for entry in images),
        "wordBB": (cell_of_quads(_narrowed(entry.quads)) for entry in images),
        "txt": (entry.texts for entry in images),
        "transcription": ("".join(f"{text}\n" for text in entry.texts) for entry in images),
        "dontcare": (np.array(entry.ignored, np.uint8) for entry in images),
    }
    write_gt_mat(folder / "gt.mat", columns, len(images))
    return len(images)


def _narrowed(quads: np.ndarray) -> np.ndarray:
    """The quads in float32 if their decimal digits stay the same, else as they are."""
    single = quads.astype(np.float32)
    same = all(float(shortest(value)) == wide for value, wide in zip(single.flat, quads.flat, strict=True))
    return single if same else quads


FORMAT = Format("gt.mat", find, read, write)
