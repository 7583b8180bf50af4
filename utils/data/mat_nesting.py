"""Limits on MATLAB v5 files that SciPy reads: how deep arrays are nested, and what they unpack to.

SciPy's reader calls itself for each array within an array, in C: some thousand levels end the process. It is used for
files of unusual layouts only, see `utils.data.mat_cells`. Format: "MAT-File Level 5 File Format" (The MathWorks).
"""

import math
import struct
import zlib
from pathlib import Path
from typing import NamedTuple

from utils.data.mat_cells import Damaged
from utils.runtime.inputs import open_regular

MOST_LEVELS = 32
MAX_BYTES = 1 << 30
"""Of the wanted variables together, unpacked, and the most values of one array."""

_HEADER_BYTES = 128
_MATRIX, _COMPRESSED = 14, 15
_CELL, _STRUCT, _OBJECT, _CHARACTERS, _SPARSE, _FUNCTION = 1, 2, 3, 4, 5, 16
_NUMBERS = range(6, 16)
_COMPLEX_FLAG = 0x800


def check_nesting(path: Path, wanted: set[str]) -> None:
    """Raise `Damaged` for a MATLAB v5 file whose wanted variables SciPy should not be given."""
    with open_regular(path) as file:
        header = file.read(_HEADER_BYTES)
        if 0 in header[:4] or len(header) < _HEADER_BYTES:  # MATLAB v4 has no arrays within arrays
            return
        order = "<" if header[126:128] == b"IM" else ">"
        left = MAX_BYTES
        while len(tag := file.read(8)) == 8:
            kind, length = struct.unpack(f"{order}II", tag)
            end = file.tell() + length
            if kind in {_MATRIX, _COMPRESSED}:
                body = _unpacked(file.read(min(length, left + 1)), left) if kind == _COMPRESSED else None
                if body is None:
                    body = tag + file.read(min(length, left + 1))
                if _name(body, order) in wanted:
                    left -= len(body)
                    if left < 0:
                        raise Damaged(f"its variables unpack to more than {MAX_BYTES} bytes")
                    _walk(body, order)
            file.seek(end)


def _unpacked(packed: bytes, left: int) -> bytes:
    try:
        return zlib.decompressobj().decompress(packed, left + 1)
    except zlib.error as error:
        raise Damaged(f"a compressed variable is broken ({error})") from None


class _Element(NamedTuple):
    kind: int
    start: int
    """Of its data."""
    end: int
    following: int
    """Where the next element starts."""


def _element(body: bytes, at: int, order: str) -> _Element:
    kind, length = struct.unpack_from(f"{order}II", body, at)
    if kind >> 16:  # up to four bytes, packed into the tag
        return _Element(kind & 0xFFFF, at + 4, at + 4 + (kind >> 16), at + 8)
    end = at + 8 + length
    return _Element(kind, at + 8, end, end + (-length % 8 if kind != _COMPRESSED else 0))


class _Array(NamedTuple):
    kind: int
    """MATLAB's class number."""
    is_complex: bool
    size: int
    name: str
    at: int
    """Where its data start."""


def _array(body: bytes, at: int, order: str) -> _Array:
    flags = _element(body, at, order)
    (word,) = struct.unpack_from(f"{order}I", body, flags.start)
    shape = _element(body, flags.following, order)
    sides = struct.unpack_from(f"{order}{(shape.end - shape.start) // 4}i", body, shape.start)
    name = _element(body, shape.following, order)
    text = body[name.start : name.end].decode("latin-1")
    return _Array(word & 0xFF, bool(word & _COMPLEX_FLAG), math.prod(sides), text, name.following)


def _name(body: bytes, order: str) -> str | None:
    try:
        return _array(body, 8, order).name
    except struct.error:
        return None


def _walk(body: bytes, order: str) -> None:
    """Visit all arrays of a variable, in SciPy's order: by their number, not by the lengths that they claim.

    A variable that ends early is left to SciPy, which then says so.
    """
    waiting, at = [1], 0
    try:
        while waiting:
            if not waiting[-1]:
                waiting.pop()
                continue
            waiting[-1] -= 1
            kind, length = struct.unpack_from(f"{order}II", body, at)
            if kind != _MATRIX:
                return
            at += 8
            if length:
                at, held = _enter(body, at, order)
                waiting.append(held)
            if len(waiting) > MOST_LEVELS:
                raise Damaged(f"its arrays are nested more than {MOST_LEVELS} deep")
    except struct.error:
        return


def _enter(body: bytes, at: int, order: str) -> tuple[int, int]:
    """Return the position behind an array's own data, and how many arrays follow there as its parts."""
    array = _array(body, at, order)
    at, held = array.at, 0
    if array.kind in {_CELL, _FUNCTION}:
        held = array.size if array.kind == _CELL else 1
    elif array.kind in {_STRUCT, _OBJECT}:
        if array.kind == _OBJECT:
            at = _element(body, at, order).following
        width = _element(body, at, order)
        names = _element(body, width.following, order)
        (letters,) = struct.unpack_from(f"{order}i", body, width.start)
        held = array.size * ((names.end - names.start) // max(letters, 1))
        at = names.following
    elif array.kind in {_CHARACTERS, _SPARSE, *_NUMBERS}:
        for _ in range((3 if array.kind == _SPARSE else 1) + array.is_complex):
            at = _element(body, at, order).following
    else:
        raise Damaged(f"it has an array of class {array.kind}")
    if not 0 <= array.size <= MAX_BYTES // 8 or held > len(body) // 8:
        raise Damaged(f"an array of {array.size} values")
    return at, held
