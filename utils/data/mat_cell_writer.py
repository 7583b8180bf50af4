"""Cell arrays written to a MATLAB v5 file, one cell after the other; `utils.data.mat_cells` reads them.

The header has no time, so equal data give equal bytes. Variables are not compressed. Strings are written as SciPy
writes them: UTF-8, rows padded with spaces to one length.
"""

import struct
from collections.abc import Iterable, Mapping
from typing import BinaryIO

import numpy as np

from utils.errors import UserError

CellValue = np.ndarray | str | list[str]
"""Real numbers of any shape; a string; or strings that become the rows of a matrix of characters."""

_HEADER = b"MATLAB 5.0 MAT-file, fots-text-detection".ljust(124) + b"\x00\x01IM"
_MATRIX, _CELL_CLASS, _CHAR_CLASS = 14, 1, 4
_INT8, _INT32, _UINT32, _UTF8 = 1, 5, 6, 16
_REALS, _INTEGERS = ("f8", "f4"), ("i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8")
_CLASSES = dict(zip(_REALS + _INTEGERS, range(6, 16), strict=True))
_TYPES = dict(zip(_REALS + _INTEGERS, (9, 7, 1, 2, 3, 4, 5, 6, 12, 13), strict=True))
"""MATLAB's numbers for the class of a matrix and for the type of its data, by NumPy's name of the numbers."""
_MAX_BYTES = 2**32 - 1
"""Of a variable: its length is a 32-bit number."""


def write_cell_arrays(file: BinaryIO, columns: Mapping[str, Iterable[CellValue]], count: int) -> None:
    """Write a whole file with one (1, count) cell array per column; cells are taken and written one by one.

    file: seekable, at its start. Raises `ValueError` for a column that has not `count` cells, `UserError` for one
    that does not fit the format (4 GiB).
    """
    file.write(_HEADER)
    for name, cells in columns.items():
        start = file.tell()
        file.write(bytes(8) + _matrix_header(_CELL_CLASS, (1, count), name.encode()))
        written = 0
        for cell in cells:
            file.write(_encode(cell))
            written += 1
        if written != count:
            raise ValueError(f"{name}: {written} cells; expected {count}")
        end = file.tell()
        if end - start - 8 > _MAX_BYTES:
            raise UserError(
                f"{name}: {end - start - 8} bytes; a MATLAB v5 variable has at most 4 GiB: write fewer images"
            )
        file.seek(start)
        file.write(struct.pack("<II", _MATRIX, end - start - 8))
        file.seek(end)


def _encode(value: CellValue) -> bytes:
    """A cell's matrix element."""
    if isinstance(value, np.ndarray):
        shape = value.shape if value.ndim > 1 else (1, value.size) if value.size else (0, 0)
        kind = value.dtype.str[1:]
        data = np.asarray(value, value.dtype.newbyteorder("<")).tobytes(order="F")
        body = _matrix_header(_CLASSES[kind], shape) + _element(_TYPES[kind], data)
    else:
        rows = [value] if isinstance(value, str) else value
        width = max(map(len, rows), default=0)
        by_column = "".join(map("".join, zip(*(row.ljust(width) for row in rows), strict=True)))
        shape = (len(rows), width) if width else (0, 0)
        body = _matrix_header(_CHAR_CLASS, shape) + _element(_UTF8, by_column.encode())
    return struct.pack("<II", _MATRIX, len(body)) + body


def _matrix_header(matrix_class: int, shape: tuple[int, ...], name: bytes = b"") -> bytes:
    flags = struct.pack("<II", matrix_class, 0)
    sizes = struct.pack(f"<{len(shape)}i", *shape)
    return _element(_UINT32, flags) + _element(_INT32, sizes) + _element(_INT8, name)


def _element(data_type: int, data: bytes) -> bytes:
    return struct.pack("<II", data_type, len(data)) + data + bytes(-len(data) % 8)
