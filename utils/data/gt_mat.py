"""SynthText's `gt.mat`: the reader of its variables, and the writer.

Variables are 1 x N cell arrays, a cell an image: `imnames` (path relative to the file's folder), `wordBB` (2, 4) or
(2, 4, words), `charBB` the same for characters, `txt` strings of words. `utils.data.annotation_index` makes
`Annotations` of it.
"""

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy.io

from utils.data.mat_cell_writer import CellValue, write_cell_arrays
from utils.data.mat_cells import Cell, Damaged, OddLayout, find_variables, read_cells
from utils.data.mat_nesting import check_nesting
from utils.errors import UserError
from utils.runtime.files import atomic_file
from utils.runtime.inputs import foreign_type, open_regular

_HDF5 = b"\x89HDF\r\n\x1a\n"

Columns = dict[str, tuple[int, Iterator[Cell]]]
"""By a variable's name: how many cells it has, and the cells."""


@contextlib.contextmanager
def damage_as_user_error(file: Path) -> Iterator[None]:
    """Within the block, `Damaged` becomes a `UserError` about the file."""
    try:
        yield
    except Damaged as error:
        raise UserError(
            f"{file}: cannot be read ({error}); expected a MATLAB v5 file with imnames and wordBB, so it may be "
            "cut off: copy it again"
        ) from None


def read_columns(file: Path, names: tuple[str, ...]) -> Columns:
    """The named variables that the gt.mat has; imnames and wordBB are required.

    Raises `UserError` where they differ in the number of cells, and `Damaged`, now or when the cells are read.
    """
    _refuse_foreign(file)
    try:
        variables = find_variables(file, set(names))
        _require(variables)
        columns = {name: read_cells(file, variable) for name, variable in variables.items()}
    except OddLayout:
        columns = _load_columns(file, names)
    images = columns["imnames"][0]
    for name, (count, _) in columns.items():
        if count != images:
            raise UserError(f"{file}: {images} imnames but {count} {name} cells; copy the file again")
    return columns


def _load_columns(file: Path, names: tuple[str, ...]) -> Columns:
    """As `read_columns`, by SciPy, which reads more kinds of files: big-endian, version 4, variables without cells."""
    check_nesting(file, set(names))
    try:
        contents = scipy.io.loadmat(file, variable_names=names)
    except Exception as error:  # SciPy raises whatever a damaged byte leads to
        raise Damaged(f"{type(error).__name__}: {error}") from None
    columns = {name: contents[name] for name in names if name in contents}
    _require(columns)
    return {name: (values.size, map(_cell_of_array, values.flat)) for name, values in columns.items()}


def _refuse_foreign(file: Path) -> None:
    """Raise `UserError` for a file that is known to be something else, with the cure."""
    with open_regular(file) as handle:
        head = handle.read(1024)
    if head.startswith((_HDF5, b"MATLAB 7.3")) or head[512:].startswith(_HDF5):
        raise UserError(
            f"{file}: a MATLAB v7.3 (HDF5) file; load it in MATLAB and write it in version 7: "
            "save('gt.mat', 'imnames', 'wordBB', 'charBB', 'txt', '-v7')"
        )
    if foreign := foreign_type(head[:64]):
        raise UserError(f"{file}: {foreign}; expected SynthText's gt.mat, a MATLAB v5 file")


def _require(found: dict) -> None:
    for name in ("imnames", "wordBB"):
        if name not in found:
            raise Damaged(f"it has no whole {name}")


def _cell_of_array(value) -> Cell:
    value = np.asarray(value)
    while value.dtype == object and value.size == 1:
        value = np.asarray(value.item())
    if value.dtype.kind == "U":
        return Cell(value.shape, value.ravel().tolist())
    return Cell(value.shape, value.ravel(order="F") if value.dtype.kind in "fiu" else None)


def file_name_of(cell: Cell, file: Path) -> str:
    """The path in an imnames cell, relative to the dataset's folder; "" if it is none.

    Raises `UserError` for a path that leaves the folder.
    """
    name = cell.text
    if not name or "\0" in name:
        return ""
    if name.startswith(("/", "\\")) or ".." in name.replace("\\", "/").split("/"):
        raise UserError(f"{file}: image name {name!r} leaves the dataset's folder; correct imnames")
    return name


def quads_of_cell(cell: Cell) -> np.ndarray | None:
    """The (M, 4, 2) quads of a wordBB cell of shape (2, 4, M), or (2, 4) for one word; None for another shape."""
    if not isinstance(cell.values, np.ndarray):
        return None
    if not cell.values.size:
        return np.zeros((0, 4, 2), np.float32)
    if cell.shape[:2] != (2, 4) or len(cell.shape) > 3:
        return None
    return cell.values.reshape(-1, 4, 2)  # MATLAB's order is NumPy's with the axes reversed


def marks_of_cell(cell: Cell | None, words: int) -> np.ndarray:
    """(words,) bool of a dontcare cell, which `tools.convert` writes; all false if it does not fit the words."""
    if cell is None or not isinstance(cell.values, np.ndarray) or cell.values.size != words:
        return np.zeros(words, bool)
    return cell.values != 0


class SynthTextImage(NamedTuple):
    """An image's entry in gt.mat."""

    name: str
    """Path relative to the file's folder."""
    quads: np.ndarray
    """(words, 4, 2) float32."""
    characters: np.ndarray
    """(characters, 4, 2) float32, in the words' order."""
    texts: list[str]
    """Words between spaces, lines between line ends."""


def write_synthtext(path: Path, images: Sequence[SynthTextImage]) -> None:
    """Write a gt.mat with SynthText's four variables; see `write_gt_mat`."""
    columns: dict[str, Iterable[CellValue]] = {
        "imnames": (image.name for image in images),
        "wordBB": (cell_of_quads(image.quads) for image in images),
        "charBB": (cell_of_quads(image.characters) for image in images),
        "txt": (image.texts for image in images),
    }
    write_gt_mat(path, columns, len(images))


def write_gt_mat(path: Path, columns: Mapping[str, Iterable[CellValue]], count: int) -> None:
    """Write a gt.mat of `count` images, atomically; its folder is created.

    columns: the cells of each variable, taken one by one, so that a generator needs little memory. Equal columns give
    equal bytes.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as file:
        write_cell_arrays(file, columns, count)


def cell_of_quads(quads: np.ndarray) -> np.ndarray:
    """(M, 4, 2) quads -> (2, 4, M), or (2, 4) for one, since MATLAB drops a last axis of length one."""
    return quads[0].T if len(quads) == 1 else quads.transpose(2, 1, 0)
