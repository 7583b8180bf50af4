"""Format, size, orientation and transparency of a picture, from its file's header, before anything is decoded.

Sources: ITU T.81 (JPEG), the PNG specification, the WebP container specification, GIF89a, the Netpbm manual pages,
the formats of BMP and Sun raster files. TIFF, JPEG 2000 and AVIF are in `utils.data.image_containers`.
"""

import re
import struct
from collections.abc import Callable, Iterator

from utils.data.image_containers import avif_header, is_avif, jpeg2000_header, read_tiff_tags, tiff_header
from utils.data.image_types import MOST_PARTS, BadHeader, ImageHeader

_MARKER = re.compile(rb"\xff[^\x00\xff]", re.DOTALL)
_MARKER_AFTER_SCAN = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]", re.DOTALL)
_NETPBM_FIELD = re.compile(rb"(?:\s|#[^\n]*\n)*([0-9]{1,10})(?=[\s#])")
_PAM_FIELD = re.compile(rb"^(WIDTH|HEIGHT|TUPLTYPE)[ \t]+(\w+)", re.MULTILINE)
_END_OF_PNG = b"\0\0\0\0IEND\xae\x42\x60\x82"


def kind_of(data: bytes) -> str | None:
    """Return the name of the picture's format by its first bytes (32 or more); None for what is not read here."""
    for name, recognise in _RECOGNISE.items():
        if recognise(data):
            return name
    return None


def read_header(data: bytes) -> ImageHeader:
    """Return what the header says. data: the file, or enough of its beginning. Raises `BadHeader`."""
    kind = kind_of(data)
    if kind is None:
        raise BadHeader("not a picture of a known format")
    try:
        header = _READ[kind](data)
    except (struct.error, IndexError, ValueError, KeyError, OverflowError):
        raise BadHeader(f"the file is cut off or damaged: its {kind} header has no size") from None
    if header.height < 1 or header.width < 1:
        raise BadHeader(f"its {kind} header has a size of {header.width}x{header.height} pixels")
    return header


def is_whole(header: ImageHeader, data: bytes) -> bool:
    """Whether the file has its end, by the format's own structure; what follows the picture does not matter.

    A JPEG has to have an end marker behind its scans, a PNG its IEND chunk, a WebP the bytes that it announces, a BMP
    and a Netpbm file the bytes of all rows. The decoders find the end of the other formats themselves.
    """
    if header.kind == "JPEG":
        return _jpeg_ends(data)
    if header.kind == "PNG":
        return any(kind == b"IEND" for kind, _, _ in _png_chunks(data))
    if header.kind == "WebP":
        return len(data) >= 8 + struct.unpack_from("<I", data, 4)[0]
    return len(data) >= header.least_bytes


def ends_at_once(header: ImageHeader, tail: bytes) -> bool:
    """Whether the last bytes of a file alone show that it is whole: it ends as its format does."""
    if header.kind == "JPEG":  # entropy-coded data hold no such pair
        return tail.endswith(b"\xff\xd9")
    return header.kind == "PNG" and tail.endswith(_END_OF_PNG)


def jpeg_segments(data: bytes, start: int = 2) -> Iterator[tuple[int, int, int]]:
    """Yield marker, start and end of the segments up to and with the next scan's header.

    Bytes between the segments are skipped, as decoders skip them.
    """
    for _ in range(MOST_PARTS):
        found = _MARKER.search(data, start)
        if not found:
            return
        marker, start = data[found.start() + 1], found.end()
        if marker == 0x01 or 0xD0 <= marker <= 0xD8:  # without a length
            continue
        if marker == 0xD9:
            yield marker, start, start
            return
        length = max(struct.unpack_from(">H", data, start)[0], 2)
        yield marker, start + 2, start + length
        start += length
        if marker == 0xDA:
            return


def _jpeg(data: bytes) -> ImageHeader:
    orientation = 1
    for marker, start, end in jpeg_segments(data):
        if 0xC0 <= marker <= 0xCF and marker not in {0xC4, 0xC8, 0xCC}:
            height, width = struct.unpack_from(">HH", data, start + 1)
            return ImageHeader("JPEG", height, width, orientation)
        if marker == 0xE1 and data[start : start + 6] == b"Exif\0\0":
            orientation = exif_orientation(data[start + 6 : end])
    raise ValueError


def _jpeg_ends(data: bytes) -> bool:
    """Walk over all segments and scans to the end marker."""
    start = 2
    for _ in range(MOST_PARTS):
        marker, end = 0, len(data)
        try:
            for marker, _, end in jpeg_segments(data, start):  # noqa: B007 (the last segment is what counts)
                pass
        except struct.error:
            return False
        if marker != 0xDA:
            return marker == 0xD9
        found = _MARKER_AFTER_SCAN.search(data, end)
        if not found:
            return False
        start = found.start()
    return False


def exif_orientation(tiff: bytes) -> int:
    """Return tag 0x0112 of the first directory, 1 to 8; 1 if it is not there."""
    try:
        (value,) = read_tiff_tags(tiff, {0x0112})[0x0112][:1]
    except (struct.error, IndexError, ValueError, KeyError, OverflowError):
        return 1
    return value if 1 <= value <= 8 else 1


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, start and end of each chunk that has its end."""
    start = 8
    for _ in range(MOST_PARTS):
        if start + 8 > len(data):
            return
        length, name = struct.unpack_from(">I4s", data, start)
        if start + 12 + length > len(data):
            return
        yield name, start + 8, start + 8 + length
        start += 12 + length


def _png(data: bytes) -> ImageHeader:
    name, width, height, depth, colour = struct.unpack_from(">4sIIBB", data, 12)
    if name != b"IHDR":
        raise ValueError
    alpha, orientation, transparent_grey = "straight" if colour in {4, 6} else "", 1, None
    for chunk, start, end in _png_chunks(data):
        if chunk == b"tRNS" and colour == 0:
            transparent_grey = _scaled_grey(struct.unpack_from(">H", data, start)[0], depth)
        if chunk == b"tRNS":
            alpha = "straight"
        elif chunk == b"eXIf":
            orientation = exif_orientation(data[start:end])
    return ImageHeader("PNG", height, width, orientation, alpha, transparent_grey=transparent_grey)


def _scaled_grey(value: int, depth: int) -> int:
    return value if depth >= 8 else value * 255 // (2**depth - 1)


def _webp(data: bytes) -> ImageHeader:
    """The canvas, or the picture in it where that claims more."""
    height = width = 0
    alpha, orientation, start = "", 1, 12
    for _ in range(MOST_PARTS):
        if start + 8 > len(data):
            break
        chunk, length = struct.unpack_from("<4sI", data, start)
        body = start + 8
        size = (0, 0)
        if chunk == b"VP8X":
            flags, canvas = data[body], data[body + 4 : body + 10]
            size = int.from_bytes(canvas[3:], "little") + 1, int.from_bytes(canvas[:3], "little") + 1
            alpha = "straight" if flags & 0x10 else alpha
        elif chunk == b"VP8L":
            bits = struct.unpack_from("<I", data, body + 1)[0]
            size = (bits >> 14 & 0x3FFF) + 1, (bits & 0x3FFF) + 1
            alpha = "straight" if bits >> 28 & 1 else alpha
        elif chunk == b"VP8 ":
            size = (
                struct.unpack_from("<H", data, body + 8)[0] & 0x3FFF,
                struct.unpack_from("<H", data, body + 6)[0] & 0x3FFF,
            )
        elif chunk == b"EXIF":
            orientation = exif_orientation(data[body : body + length].removeprefix(b"Exif\0\0"))
        height, width = max(height, size[0]), max(width, size[1])
        start = body + length + length % 2
    return ImageHeader("WebP", height, width, orientation, alpha)


def _gif(data: bytes) -> ImageHeader:
    width, height = struct.unpack_from("<HH", data, 6)
    return ImageHeader("GIF", height, width, alpha="straight")


def _bmp(data: bytes) -> ImageHeader:
    (length,) = struct.unpack_from("<I", data, 14)
    if length == 12:
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
        compression = 0
    else:
        width, height, _, bits, compression = struct.unpack_from("<iiHHI", data, 18)
    rows = (abs(width) * bits + 31) // 32 * 4 * abs(height)
    offset = struct.unpack_from("<I", data, 10)[0]
    return ImageHeader("BMP", abs(height), abs(width), least_bytes=offset + rows if compression in {0, 3} else 0)


def _netpbm(data: bytes) -> ImageHeader:
    number, start, fields = data[1] - ord("0"), 2, []
    for _ in range(2 if number in {1, 4} else 3):
        found = _NETPBM_FIELD.match(data, start)
        if not found:
            raise ValueError
        fields.append(int(found[1]))
        start = found.end()
    width, height = fields[:2]
    row = {4: (width + 7) // 8, 5: width, 6: 3 * width}.get(number, 0)
    row *= 2 if number in {5, 6} and fields[2] > 255 else 1
    return ImageHeader("Netpbm", height, width, least_bytes=start + 1 + row * height if row else 0)


def _pam(data: bytes) -> ImageHeader:
    head = data[: data.index(b"ENDHDR")][:4096]
    fields = dict(_PAM_FIELD.findall(head))
    alpha = "straight" if fields.get(b"TUPLTYPE", b"").endswith(b"_ALPHA") else ""
    return ImageHeader("PAM", int(fields.get(b"HEIGHT", b"")), int(fields.get(b"WIDTH", b"")), alpha=alpha)


def _sun(data: bytes) -> ImageHeader:
    width, height = struct.unpack_from(">ii", data, 4)
    return ImageHeader("Sun raster", height, width)


_RECOGNISE: dict[str, Callable[[bytes], bool]] = {
    "JPEG": lambda data: data.startswith(b"\xff\xd8\xff"),
    "PNG": lambda data: data.startswith(b"\x89PNG\r\n\x1a\n"),
    "BMP": lambda data: data.startswith(b"BM"),
    "TIFF": lambda data: data[:4] in {b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"},
    "WebP": lambda data: data[:4] == b"RIFF" and data[8:12] == b"WEBP",
    "GIF": lambda data: data[:6] in {b"GIF87a", b"GIF89a"},
    "JPEG 2000": lambda data: data.startswith((b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51")),
    "AVIF": is_avif,
    "Netpbm": lambda data: data[:1] == b"P" and data[1:2] in b"123456" and data[2:3].isspace(),
    "PAM": lambda data: data.startswith(b"P7\n"),
    "Sun raster": lambda data: data.startswith(b"\x59\xa6\x6a\x95"),
}
_READ: dict[str, Callable[[bytes], ImageHeader]] = {
    "JPEG": _jpeg,
    "PNG": _png,
    "BMP": _bmp,
    "TIFF": tiff_header,
    "WebP": _webp,
    "GIF": _gif,
    "JPEG 2000": jpeg2000_header,
    "AVIF": avif_header,
    "Netpbm": _netpbm,
    "PAM": _pam,
    "Sun raster": _sun,
}
