"""Reads the cell arrays of a MATLAB v5 file one cell after the other: gigabytes in some megabytes of memory.

Format: "MAT-File Level 5 File Format" (The MathWorks): a header of 128 bytes, then elements of a tag (type, bytes) and
their data. A variable is a matrix element, bare or inside a zlib-compressed one. Variables that are not wanted are
skipped unread. A form that this reader does not support raises `OddLayout`; SciPy may support it.
"""

import math
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from utils.runtime.inputs import open_regular

_HEADER_BYTES = 128
_CHUNK_BYTES = 1 << 20
MAX_CELL_BYTES = 1 << 26
"""Two million words; a cell that claims more is damaged, or made to exhaust the memory."""

_MATRIX, _COMPRESSED, _HIGHEST_TYPE = 14, 15, 18
_CELL_CLASS, _CHAR_CLASS, _NUMERIC_CLASSES = 1, 4, range(6, 16)
_NUMBERS = {1: "i1", 2: "u1", 3: "<i2", 4: "<u2", 5: "<i4", 6: "<u4", 7: "<f4", 9: "<f8", 12: "<i8", 13: "<u8"}
_ENCODINGS = {1: "latin-1", 2: "latin-1", 4: "utf-16-le", 16: "utf-8", 17: "utf-16-le", 18: "utf-32-le"}


class OddLayout(Exception):
    """A MATLAB file, or a variable, of a form that this reader does not support."""


class Damaged(Exception):
    """Bytes that contradict the format, or end too early."""


class Cell(NamedTuple):
    """One cell's array."""

    shape: tuple[int, ...]
    values: np.ndarray | list[str] | None
    """Real numbers, flat in MATLAB's (Fortran) order; the rows of a matrix of characters; None for other kinds."""

    @property
    def text(self) -> str | None:
        """The string of a matrix of characters with at most one row; else None."""
        return "".join(self.values) if isinstance(self.values, list) and len(self.values) <= 1 else None


class Variable(NamedTuple):
    """Where a variable is in the file."""

    position: int
    """First byte of the element's data."""
    length: int
    compressed: bool


def find_variables(path: Path, wanted: set[str]) -> dict[str, Variable]:
    """The positions of the wanted variables that exist and are complete.

    Raises `Damaged`, `OddLayout`.
    """
    found: dict[str, Variable] = {}
    size = path.stat().st_size
    with open_regular(path) as file:
        header = file.read(_HEADER_BYTES)
        if len(header) < _HEADER_BYTES:
            raise Damaged(f"it has {size} bytes")
        if header[124:128] != b"\x00\x01IM":
            raise OddLayout("not a little-endian MATLAB v5 file")
        position = _HEADER_BYTES
        while position + 8 <= size and found.keys() != wanted:
            file.seek(position)
            kind, length = struct.unpack("<II", file.read(8))
            if not 0 < kind <= _HIGHEST_TYPE:
                raise Damaged(f"byte {position} starts no element")
            variable = Variable(position + 8, length, kind == _COMPRESSED)
            position += 8 + length
            if position > size:
                break  # cut off; the wanted variables may have come before
            if kind in (_MATRIX, _COMPRESSED):
                with Stream(path, variable) as stream:
                    name = stream.header().name
                if name in wanted:
                    found[name] = variable
    return found


def read_cells(path: Path, variable: Variable) -> tuple[int, Iterator[Cell]]:
    """The number of the variable's cells, and the cells in MATLAB's order.

    Raises `OddLayout` if it is no cell array.
    """
    stream = Stream(path, variable)
    header = stream.header()
    if header.kind != _CELL_CLASS:
        raise OddLayout(f"{header.name} is no cell array")
    count = math.prod(header.shape)
    return count, _cells(stream, count)


def _cells(stream: "Stream", count: int) -> Iterator[Cell]:
    with stream:
        for _ in range(count):
            kind, length = struct.unpack("<II", stream.take(8))
            if kind != _MATRIX or length > MAX_CELL_BYTES:
                raise Damaged(f"a cell starts with type {kind} and {length} bytes")
            yield _parse(stream.take(length)) if length else Cell((0, 0), np.zeros(0))


class Header(NamedTuple):
    """The part of a matrix element before its data."""

    kind: int
    """MATLAB's class number."""
    is_complex: bool
    shape: tuple[int, ...]
    name: str
    end: int
    """Position in the buffer where the data begin."""


class Stream:
    """A variable's bytes in order, decompressed if necessary."""

    def __init__(self, path: Path, variable: Variable):
        self._file = open_regular(path)
        self._file.seek(variable.position)
        self._left = variable.length
        self._inflate = zlib.decompressobj() if variable.compressed else None
        self._buffer, self._at = b"", 0

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *_exception) -> None:
        self._file.close()

    def header(self) -> Header:
        """The variable's own header; the stream is at the data afterwards."""
        if self._inflate:
            kind, _ = struct.unpack("<II", self.take(8))
            if kind != _MATRIX:
                raise OddLayout("a compressed element that is no matrix")
        self._fill(_CHUNK_BYTES, whole=False)
        header = _header(self._buffer, self._at)
        self._at = header.end
        return header

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        if self._at + count > len(self._buffer):
            self._fill(count)
        start = self._at
        self._at += count
        return self._buffer[start : self._at]

    def _fill(self, count: int, whole: bool = True) -> None:
        """Read until `count` bytes are buffered. whole: raise `Damaged` if there are fewer."""
        parts = [self._buffer[self._at :]]
        have = len(parts[0])
        while have < count:
            part = self._next_part()
            if not part:
                if whole:
                    raise Damaged("it ends inside a variable")
                break
            parts.append(part)
            have += len(part)
        self._buffer, self._at = b"".join(parts), 0

    def _next_part(self) -> bytes:
        if not self._inflate:
            return self._read()
        part = b""
        while not part and not self._inflate.eof:
            packed = self._inflate.unconsumed_tail or self._read()
            if not packed:
                break
            try:
                part = self._inflate.decompress(packed, _CHUNK_BYTES)
            except zlib.error as error:
                raise Damaged(f"a compressed variable is broken ({error})") from None
        return part

    def _read(self) -> bytes:
        part = self._file.read(min(self._left, _CHUNK_BYTES))
        self._left -= len(part)
        return part


def _element(buffer: bytes, at: int) -> tuple[int, int, int, int]:
    """The data element at a position: its type, start and end of its data, start of the next element."""
    kind, length = struct.unpack_from("<II", buffer, at)
    if kind >> 16:  # up to four bytes, packed into the tag
        return kind & 0xFFFF, at + 4, at + 4 + (kind >> 16), at + 8
    start, end = at + 8, at + 8 + length
    if end > len(buffer):
        raise Damaged("an element runs past its end")
    return kind, start, end, end + -length % 8


def _header(buffer: bytes, at: int) -> Header:
    try:
        _, start, _, at = _element(buffer, at)
        (flags,) = struct.unpack_from("<I", buffer, start)
        _, start, end, at = _element(buffer, at)
        shape = struct.unpack_from(f"<{(end - start) // 4}i", buffer, start)
        _, start, end, at = _element(buffer, at)
    except struct.error:
        raise Damaged("it ends inside a variable's header") from None
    if min(shape, default=0) < 0:
        raise Damaged(f"an array of shape {shape}")
    name = buffer[start:end].decode("latin-1")
    return Header(flags & 0xFF, bool(flags & 0x800), shape, name, at)


def _parse(body: bytes) -> Cell:
    header = _header(body, 0)
    shape = header.shape
    if header.kind == _CELL_CLASS:
        return Cell(shape, None)
    size = math.prod(shape)
    if size == 0:
        return Cell(shape, [] if header.kind == _CHAR_CLASS else np.zeros(0))
    if header.is_complex or (header.kind != _CHAR_CLASS and header.kind not in _NUMERIC_CLASSES):
        return Cell(shape, None)
    try:
        kind, start, end, _ = _element(body, header.end)
    except struct.error:
        raise Damaged("a cell without data") from None
    if header.kind == _CHAR_CLASS:
        if len(shape) != 2 or kind not in _ENCODINGS:
            return Cell(shape, None)
        text = body[start:end].decode(_ENCODINGS[kind], errors="replace")
        if shape[0] == 1:
            return Cell(shape, [text])
        return Cell(shape, [text[row :: shape[0]] for row in range(shape[0])] if len(text) == size else None)
    if kind not in _NUMBERS or end - start != size * np.dtype(_NUMBERS[kind]).itemsize:
        raise Damaged(f"numbers of type {kind} in {end - start} bytes for shape {shape}")
    return Cell(shape, np.frombuffer(body, _NUMBERS[kind], size, start))
