"""Reading pictures: a whole RGB array or one clear reason why not."""

import math
import struct
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"}
MAX_PIXELS = 100_000_000
"""A JPEG or PNG that claims more is left out before it fills the memory (300 MB as RGB)."""

_TAIL_BYTES = 1 << 16
_IN_RGB = getattr(cv2, "IMREAD_COLOR_RGB", None)  # OpenCV 4.11 has it, and saves a copy of the picture
_WHOLE = cv2.IMREAD_COLOR if _IN_RGB is None else _IN_RGB
_REDUCED = {2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4, 8: cv2.IMREAD_REDUCED_COLOR_8}


class UnreadableImage(Exception):
    """A picture that cannot be used; the message names the file and says why."""


class Picture(NamedTuple):
    """A picture at its own size, or smaller by a whole factor."""

    image: np.ndarray
    """(ceil(height / reduced), ceil(width / reduced), 3) uint8 RGB, turned by its EXIF orientation."""
    size: tuple[int, int]
    """Height and width at its own size, turned, too."""
    reduced: int
    """Its pixel (x, y) lies at (x + 0.5) / reduced - 0.5 in `image`."""


class ImageHeader(NamedTuple):
    """What a JPEG's or PNG's first bytes claim. height, width: as stored."""

    height: int
    width: int
    orientation: int = 1
    """EXIF's: 1 as it is, 5 to 8 with the axes exchanged."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the turned picture."""
        return (self.width, self.height) if self.orientation >= 5 else (self.height, self.width)


def read_image(path: str | Path) -> np.ndarray:
    """(H, W, 3) uint8 RGB, turned by its EXIF orientation. Raises `UnreadableImage`."""
    return read_picture(path).image


def read_picture(path: str | Path, shrinkage: Callable[[int, int], float] | None = None) -> Picture:
    """The picture, from a JPEG as much smaller as the decoder can make it. Raises `UnreadableImage`.

    shrinkage: (height, width) -> how many of the picture's pixels go to one of the result's, at least.
    """
    try:
        data = np.frombuffer(Path(path).read_bytes(), np.uint8)
    except (OSError, ValueError) as error:
        raise UnreadableImage(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    if problem := _broken_bytes(data[:16].tobytes(), data[-_TAIL_BYTES:].tobytes()):
        raise UnreadableImage(f"{path}: {problem}")
    header = read_header(data.data)
    if header and header.height * header.width > MAX_PIXELS:
        raise UnreadableImage(f"{path}: {header.width}x{header.height} pixels; at most {MAX_PIXELS} are read")
    reduced = _reduction(header, shrinkage) if header and shrinkage and data[0] == 0xFF else 1
    if reduced > 1:
        image = _decode(path, data, _REDUCED[reduced])
        if image.shape[:2] == tuple(math.ceil(side / reduced) for side in header.size):
            return Picture(image, header.size, reduced)
    image = _decode(path, data, _WHOLE)
    return Picture(image, image.shape[:2], 1)


def _decode(path: str | Path, data: np.ndarray, how: int) -> np.ndarray:
    try:
        image = cv2.imdecode(data, how)
    except (cv2.error, MemoryError) as error:  # such as more pixels than OpenCV's limit
        raise UnreadableImage(f"{path}: {getattr(error, 'err', None) or 'too large for the memory'}") from None
    if image is None:
        raise UnreadableImage(f"{path}: not a picture that OpenCV can read")
    return image if how == _IN_RGB else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def _reduction(header: ImageHeader, shrinkage: Callable[[int, int], float]) -> int:
    """1, 2, 4 or 8. A turned picture has its last, partial pixels first: it has to divide evenly."""
    wanted = shrinkage(*header.size)
    for factor in sorted(_REDUCED, reverse=True):
        even = header.height % factor == header.width % factor == 0
        if factor <= wanted and (even or header.orientation == 1):
            return factor
    return 1


def read_header(data: bytes | memoryview) -> ImageHeader | None:
    """Size and orientation of a JPEG or PNG; None if its first bytes don't say."""
    try:
        if data[:4] == b"\x89PNG":
            width, height = struct.unpack_from(">II", data, 16)
            return ImageHeader(height, width)
        return _jpeg_header(data) if data[:2] == b"\xff\xd8" else None
    except (struct.error, IndexError):
        return None


def _jpeg_header(data: bytes | memoryview) -> ImageHeader | None:
    """From the segments before the first scan (ITU T.81, annex B)."""
    at, orientation = 2, 1
    while data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
        elif marker == 0x01 or 0xD0 <= marker <= 0xD7:  # without a length
            at += 2
        elif marker in (0xD9, 0xDA):
            return None
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return ImageHeader(*struct.unpack_from(">HH", data, at + 5), orientation)
        else:
            (length,) = struct.unpack_from(">H", data, at + 2)
            segment = bytes(data[at + 4 : at + 2 + length])
            if marker == 0xE1 and segment.startswith(b"Exif\0\0"):
                orientation = _exif_orientation(segment[6:])
            at += 2 + length
    return None


def _exif_orientation(tiff: bytes) -> int:
    """Tag 0x0112 of the first directory; 1 if it isn't there."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if not order:
        return 1
    try:
        (start,) = struct.unpack_from(f"{order}I", tiff, 4)
        (count,) = struct.unpack_from(f"{order}H", tiff, start)
        for number in range(count):
            tag, kind, _, value = struct.unpack_from(f"{order}HHIH", tiff, start + 2 + 12 * number)
            if tag == 0x0112 and kind == 3:
                return value if 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1


def image_problem(path: str | Path) -> str | None:
    """Why the file is no whole picture, from its first and last bytes; None if it looks fine."""
    try:
        with open(path, "rb") as file:
            head = file.read(16)
            file.seek(0, 2)
            file.seek(-min(file.tell(), _TAIL_BYTES), 2)
            return _broken_bytes(head, file.read())
    except (OSError, ValueError) as error:  # ValueError: a name with a zero byte
        return getattr(error, "strerror", None) or str(error)


def _broken_bytes(head: bytes, tail: bytes) -> str | None:
    if not head:
        return "the file is empty"
    if head.startswith(b"\xff\xd8"):  # JPEG: the end marker has to follow the last scan's start
        whole = tail.endswith(b"\xff\xd9") or tail.rfind(b"\xff\xd9") > tail.rfind(b"\xff\xda")
    elif head.startswith(b"\x89PNG"):
        whole = b"IEND" in tail
    elif head[:2] in (b"BM", b"II", b"MM") or head[:4] == b"RIFF":  # BMP, TIFF, WebP
        whole = True
    else:
        return "not a picture (JPEG, PNG, BMP, TIFF or WebP)"
    return None if whole else "the file is cut off"


def write_image(path, image: np.ndarray) -> None:
    """(H, W, 3) RGB to a file of the suffix's type. Raises OSError."""
    coded, data = cv2.imencode(path.suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    if not coded:
        raise OSError(f"{path}: OpenCV cannot write this type of picture")
    path.write_bytes(data.tobytes())
