"""Headers of TIFF, JPEG 2000 and AVIF pictures: tags and boxes.

Sources: TIFF 6.0, the BigTIFF design; ISO 15444-1 annexes A and I (JPEG 2000); ISO 14496-12, ISO 23008-12 and the AVIF
specification.
"""

import struct
from collections.abc import Iterator

from utils.data.image_types import MOST_PARTS, ImageHeader

_TIFF_TYPES = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 16: "Q", 17: "q"}
_WIDTH, _HEIGHT, _BITS, _PHOTOMETRIC, _SAMPLES = 256, 257, 258, 262, 277
_TILE_WIDTH, _TILE_HEIGHT, _EXTRA = 322, 323, 338
_ALPHA_TYPES = (b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha", b"urn:mpeg:hevc:2015:auxid:1")
_ORIENTATIONS = {None: (1, 8, 3, 6), 0: (4, 5, 2, 7), 1: (2, 7, 4, 5)}
"""EXIF's orientation by an AVIF's mirror axis, and the number of its quarter turns."""
_MOST_CHANNELS = 4


def read_tiff_tags(data: bytes, wanted: set[int]) -> dict[int, list[int]]:
    """Return the whole numbers of the wanted tags in the first directory of a TIFF or BigTIFF file.

    Of a tag that is there several times the first one counts. Raises struct.error, KeyError or ValueError.
    """
    order = {b"II": "<", b"MM": ">"}[data[:2]]
    big = struct.unpack_from(f"{order}H", data, 2)[0] == 43
    start = struct.unpack_from(f"{order}Q" if big else f"{order}I", data, 8 if big else 4)[0]
    count = struct.unpack_from(f"{order}Q" if big else f"{order}H", data, start)[0]
    start += 8 if big else 2
    entry, inline = (20, 8) if big else (12, 4)
    found: dict[int, list[int]] = {}
    for position in range(start, start + entry * min(count, MOST_PARTS), entry):
        tag, kind, values = struct.unpack_from(f"{order}HHQ" if big else f"{order}HHI", data, position)
        if tag not in wanted or tag in found:
            continue
        code = f"{order}{min(values, 16)}{_TIFF_TYPES[kind]}"
        place = position + entry - inline
        if struct.calcsize(f"{order}{_TIFF_TYPES[kind]}") * values > inline:
            place = struct.unpack_from(f"{order}Q" if big else f"{order}I", data, place)[0]
        found[tag] = list(struct.unpack_from(code, data, place))
    return found


def tiff_header(data: bytes) -> ImageHeader:
    """Return the first page's header; a tile that is larger than the page counts as its size."""
    wanted = {_WIDTH, _HEIGHT, _BITS, _PHOTOMETRIC, _SAMPLES, _TILE_WIDTH, _TILE_HEIGHT, _EXTRA}
    try:
        tags = read_tiff_tags(data, wanted)
        width, height = tags[_WIDTH][0], tags[_HEIGHT][0]
    except (KeyError, OverflowError):
        raise ValueError from None
    width, height = max(width, *tags.get(_TILE_WIDTH, [0]), 0), max(height, *tags.get(_TILE_HEIGHT, [0]), 0)
    samples = tags.get(_SAMPLES, [1])[0]
    if not 1 <= samples <= _MOST_CHANNELS + 1 or max(tags.get(_BITS, [1])) > 64:
        raise ValueError
    return ImageHeader("TIFF", height, width, alpha=_tiff_alpha(tags, samples))


def _tiff_alpha(tags: dict[int, list[int]], samples: int) -> str:
    """For 8 bits, libtiff multiplies the colours by their alpha; of grey with alpha OpenCV reads the grey only."""
    photometric, extra = tags.get(_PHOTOMETRIC, [0])[0], tags.get(_EXTRA, [None])[0]
    if photometric in {0, 1} and samples == 2 and extra in {1, 2}:
        return "unreadable"
    if photometric != 2 or samples != 4 or extra == 0:
        return ""
    if extra is None:  # as OpenCV itself writes it
        return "straight"
    return "premultiplied" if extra == 1 or max(tags.get(_BITS, [1])) == 8 else "straight"


def boxes(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, start and end of the boxes in a part of an ISO base media file; the last one may be cut off."""
    for _ in range(MOST_PARTS):
        if start + 8 > end:
            return
        length, name = struct.unpack_from(">I4s", data, start)
        body = start + 8
        if length == 1:
            length = struct.unpack_from(">Q", data, body)[0]
            body += 8
        stop = start + length if length else end
        if stop < body:
            raise ValueError
        yield name, body, min(stop, end)
        start = stop


def jpeg2000_header(data: bytes) -> ImageHeader:
    """Return the codestream's size, which decoders follow, not the one of the file's `ihdr` box."""
    start, cmyk = 0, False
    if not data.startswith(b"\xff\x4f"):
        for name, body, end in boxes(data, 0, len(data)):
            if name == b"jp2h":
                cmyk = any(
                    child == b"colr"
                    and data[first : first + 7] == b"\x01" + data[first + 1 : first + 3] + b"\0\0\0\x0c"
                    for child, first, _ in boxes(data, body, end)
                )
            if name == b"jp2c":
                start = body
                break
        else:
            raise ValueError
    if data[start : start + 4] != b"\xff\x4f\xff\x51":
        raise ValueError
    right, below, left, top = struct.unpack_from(">4I", data, start + 8)
    channels = struct.unpack_from(">H", data, start + 40)[0]
    if not 1 <= channels <= _MOST_CHANNELS:
        raise ValueError
    alpha = "straight" if channels in {2, 4} and not cmyk else ""
    return ImageHeader("JPEG 2000", below - top, right - left, alpha=alpha)


def is_avif(data: bytes) -> bool:
    """Whether the file's type box names AVIF among its brands."""
    if data[4:8] != b"ftyp":
        return False
    brands = data[8 : min(struct.unpack_from(">I", data)[0], 256)]
    return any(brands[place : place + 4] in {b"avif", b"avis"} for place in range(0, len(brands), 4))


def avif_header(data: bytes) -> ImageHeader:
    """Return the largest size of the file's items; orientation from its `irot` and `imir` properties."""
    height = width = turns = 0
    mirror, alpha = None, ""
    for name, first, last in _avif_properties(data):
        if name == b"ispe":
            size = struct.unpack_from(">II", data, first + 4)
            width, height = max(width, size[0]), max(height, size[1])
        elif name == b"irot":
            turns = data[first] & 3
        elif name == b"imir":
            mirror = data[first] & 1
        elif name == b"auxC" and data[first + 4 : last].startswith(_ALPHA_TYPES):
            alpha = "straight"
    return ImageHeader("AVIF", height, width, _ORIENTATIONS[mirror][turns], alpha)


def _avif_properties(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    for name, start, end in boxes(data, 0, len(data)):
        if name == b"meta":
            for child, first, last in boxes(data, start + 4, end):
                if child == b"iprp":
                    for container, begin, stop in boxes(data, first, last):
                        if container == b"ipco":
                            yield from boxes(data, begin, stop)
            return
