"""How many pictures a file holds: pages of a TIFF, frames of an animated GIF, WebP or PNG. The first one is read.

Sources: TIFF 6.0 and the BigTIFF design; GIF89a; the WebP container specification; PNG, third edition (acTL).
"""

import struct
from pathlib import Path

from utils.data.image_types import MOST_PARTS
from utils.runtime.inputs import read_regular

_SUBFILE_TYPE, _REDUCED = 254, 1
_GIF_EXTENSION, _GIF_IMAGE = 0x21, 0x2C
_SUFFIXES = {".tif", ".tiff", ".gif", ".webp", ".png"}


def count_pictures(path: Path) -> int:
    """The number of pages or frames; 1 for other kinds of files, and where the file does not say it.

    Smaller copies of a TIFF's page do not count. Raises OSError.
    """
    if path.suffix.lower() not in _SUFFIXES:
        return 1
    data = read_regular(path)
    try:
        if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            return max(_tiff_pages(data), 1)
        if data[:4] == b"GIF8":
            return max(_gif_frames(data), 1)
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return max(_webp_frames(data), 1)
        if data[:8] == b"\x89PNG\r\n\x1a\n" and data[37:41] == b"acTL":  # always before the picture, mostly first
            return max(struct.unpack_from(">I", data, 41)[0], 1)
    except (struct.error, IndexError, KeyError):  # damaged: the reader of the picture says how
        pass
    return 1


def _tiff_pages(data: bytes) -> int:
    order = {b"II": "<", b"MM": ">"}[data[:2]]
    big = struct.unpack_from(f"{order}H", data, 2)[0] == 43
    pointer, counter, entry = (f"{order}Q", f"{order}Q", 20) if big else (f"{order}I", f"{order}H", 12)
    place = struct.unpack_from(pointer, data, 8 if big else 4)[0]
    pages = 0
    seen: set[int] = set()
    while place and place not in seen and len(seen) < MOST_PARTS:
        seen.add(place)
        count = struct.unpack_from(counter, data, place)[0]
        start = place + struct.calcsize(counter)
        end = start + count * entry
        tags = (struct.unpack_from(f"{order}HH", data, at) for at in range(start, min(end, len(data)), entry))
        reduced = False
        for number, (tag, _) in enumerate(tags):
            if tag == _SUBFILE_TYPE:
                at = start + number * entry + entry - struct.calcsize(pointer)
                reduced = bool(struct.unpack_from(f"{order}I", data, at)[0] & _REDUCED)
                break
        pages += not reduced
        place = struct.unpack_from(pointer, data, end)[0]
    return pages


def _gif_frames(data: bytes) -> int:
    def table_bytes(flags: int) -> int:
        return 3 << ((flags & 7) + 1) if flags & 0x80 else 0

    place, frames = 13 + table_bytes(data[10]), 0
    while data[place] in (_GIF_EXTENSION, _GIF_IMAGE):
        if data[place] == _GIF_IMAGE:
            frames += 1
            place += 11 + table_bytes(data[place + 9])
        else:
            place += 2
        while data[place]:
            place += 1 + data[place]
        place += 1
    return frames


def _webp_frames(data: bytes) -> int:
    place, frames = 12, 0
    while place + 8 <= len(data):
        name, length = struct.unpack_from("<4sI", data, place)
        frames += name == b"ANMF"
        place += 8 + length + (length & 1)
    return frames
