"""Pictures: an RGB array of the whole picture, or one clear reason why there is none."""

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from utils.data.image_headers import ends_at_once, is_whole, kind_of, read_header
from utils.data.image_types import DEFAULT_READING, BadHeader, ImageHeader, ReadOptions
from utils.runtime.files import write_file
from utils.runtime.inputs import foreign_type, open_regular, read_regular

_COMMON_SUFFIXES = {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".bmp", ".dib", ".tif", ".tiff", ".webp"}
_RARE_SUFFIXES = {".gif", ".jp2", ".j2k", ".avif", ".pbm", ".pgm", ".ppm", ".pnm", ".pam", ".ras", ".sr"}
IMAGE_SUFFIXES = _COMMON_SUFFIXES | _RARE_SUFFIXES
"""Of the files in a folder that are taken for pictures. The first bytes of a file decide how it is read."""

_UNREAD_FORMATS = {
    ".heic",
    ".heif",
    ".jxl",
    ".jxr",
    ".jpx",
    ".jpf",
    ".svg",
    ".psd",
    ".tga",
    ".pcx",
    ".ico",
    ".exr",
    ".hdr",
    ".pfm",
}
_RAW_PHOTOGRAPHS = {".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2"}
OTHER_IMAGE_SUFFIXES = _UNREAD_FORMATS | _RAW_PHOTOGRAPHS
"""Of pictures that cannot be read: they are counted, not passed over in silence."""

READABLE = "JPEG, PNG, BMP, TIFF, WebP, GIF, JPEG 2000, AVIF, Netpbm or Sun raster"

LONGEST_JPEG = 65_500
"""Longest side, in pixels, of a JPEG that OpenCV can write."""

_HEAD_BYTES = 1 << 16
_TAIL_BYTES = 64
_IN_RGB = getattr(cv2, "IMREAD_COLOR_RGB", None)  # OpenCV 4.11 has it; it saves a copy of the picture
_WHOLE = cv2.IMREAD_COLOR if _IN_RGB is None else _IN_RGB
_REDUCED = {2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4, 8: cv2.IMREAD_REDUCED_COLOR_8}
_TURNED_HERE = {"PNG", "WebP", "AVIF"}
"""Formats whose orientation OpenCV applies in some versions, or in some modes of reading, only."""
_STRIP_PIXELS = 1 << 20

if "OPENCV_LOG_LEVEL" not in os.environ:  # what is damaged is counted here, not reported by OpenCV line by line
    # OpenCV 4.8 has one of these names, 4.13 and 5 have the other
    (cv2.setLogLevel if hasattr(cv2, "setLogLevel") else cv2.utils.logging.setLogLevel)(0)  # silent


class UnreadableImage(Exception):
    """A picture that cannot be used; the message names the file and says why."""


class Picture(NamedTuple):
    """A picture at its own size, or reduced by a whole factor."""

    image: np.ndarray
    """(ceil(height / reduced), ceil(width / reduced), 3) uint8 RGB, its EXIF orientation applied."""
    size: tuple[int, int]
    """Height and width at its own size, orientation applied."""
    reduced: int
    """The picture's pixel (x, y) has the position (x + 0.5) / reduced - 0.5 in `image`."""


def read_image(path: str | Path, options: ReadOptions = DEFAULT_READING) -> np.ndarray:
    """Return (H, W, 3) uint8 RGB, EXIF orientation applied. Raises `UnreadableImage`."""
    return read_picture(path, options=options).image


def read_picture(
    path: str | Path,
    shrinkage: Callable[[int, int], float] | None = None,
    options: ReadOptions = DEFAULT_READING,
) -> Picture:
    """Return the picture, decoded to 8-bit RGB; a JPEG may be decoded at a reduced size.

    shrinkage: (height, width) -> how many of the picture's pixels make one of the result's, at least. options: the
    largest number of pixels, and what transparent pictures are composited onto. Raises `UnreadableImage`.
    """
    try:
        data = read_regular(path)
        header = _check(data, options)
        reduced = _reduction(header, shrinkage) if shrinkage and header.kind == "JPEG" else 1
        if reduced > 1:
            image = _decode(data, _REDUCED[reduced], header)
            if image.shape[:2] == tuple(math.ceil(side / reduced) for side in header.size):
                return Picture(image, header.size, reduced)
        image = _decode_composited(data, header, options.background) if header.alpha else None
        if image is None:
            image = _decode_opaque(data, header)
        return Picture(image, image.shape[:2], 1)
    except (OSError, ValueError) as error:  # ValueError: BadHeader, a name with a zero byte
        raise UnreadableImage(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    except MemoryError:
        raise UnreadableImage(f"{path}: too large for the memory; lower --max-pixels") from None


def image_problem(path: str | Path, options: ReadOptions = DEFAULT_READING) -> str | None:
    """Return why the file is no whole picture; None if it looks fine. Most files are judged by their ends alone."""
    try:
        with open_regular(path) as file:
            head = file.read(_HEAD_BYTES)
            size = file.seek(0, 2)
            file.seek(max(size - _TAIL_BYTES, 0))
            if len(head) < size and _is_fine_at_once(head, file.read(), options):
                return None
            file.seek(0)
            _check(file.read(), options)
            return None
    except (OSError, ValueError) as error:
        return getattr(error, "strerror", None) or str(error)


def _is_fine_at_once(head: bytes, tail: bytes, options: ReadOptions) -> bool:
    try:
        header = read_header(head)
    except BadHeader:  # perhaps further back
        return False
    return header.height * header.width <= options.max_pixels and ends_at_once(header, tail)


def _check(data: bytes, options: ReadOptions) -> ImageHeader:
    """Return the header of a whole picture of a permitted size. Raises `BadHeader`."""
    if not data:
        raise BadHeader("the file is empty")
    if kind_of(data) is None:
        foreign = foreign_type(data[:64])
        raise BadHeader(f"not a picture but {foreign}" if foreign else f"not a picture ({READABLE})")
    header = read_header(data)
    if header.height * header.width > options.max_pixels:
        limit = f"at most {options.max_pixels} are read (--max-pixels)"
        raise BadHeader(f"{header.width}x{header.height} pixels; {limit}")
    if header.alpha == "unreadable":
        raise BadHeader("a grey TIFF with transparency, which OpenCV does not read; save it as PNG")
    at_once = header.kind == "JPEG" and ends_at_once(header, data[-_TAIL_BYTES:])
    if not at_once and not is_whole(header, data):  # OpenCV reserves what a PNG's chunk claims: all are looked at
        raise BadHeader("the file is cut off")
    return header


def _decode(data: bytes, how: int, header: ImageHeader) -> np.ndarray:
    """Decode by OpenCV to RGB, or in the file's own channels for IMREAD_UNCHANGED. Raises `BadHeader`."""
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), how)
    except cv2.error as error:  # such as more pixels than OpenCV's limit
        raise BadHeader(f"OpenCV {cv2.__version__} does not decode this {header.kind} file ({error.err})") from None
    if image is None:
        raise BadHeader(
            f"OpenCV {cv2.__version__} does not decode this {header.kind} file: it is damaged, or of a kind that this "
            "version does not know; save it as PNG or JPEG"
        )
    if how == cv2.IMREAD_UNCHANGED or (_IN_RGB is not None and how & _IN_RGB == _IN_RGB):
        return image
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def _decode_opaque(data: bytes, header: ImageHeader) -> np.ndarray:
    if header.kind not in _TURNED_HERE:
        return _decode(data, _WHOLE, header)
    return _turn(_decode(data, _WHOLE | cv2.IMREAD_IGNORE_ORIENTATION, header), header.orientation)


def _decode_composited(data: bytes, header: ImageHeader, background: tuple[int, int, int]) -> np.ndarray | None:
    """Decode a picture that may be transparent, onto the background; None if the file has no transparency."""
    image = _decode(data, cv2.IMREAD_UNCHANGED, header)
    if image.dtype not in (np.uint8, np.uint16):
        return None
    full = np.iinfo(image.dtype).max
    if image.ndim == 2 and header.transparent_grey is not None:
        alpha = np.where(image == header.transparent_grey, 0, full).astype(image.dtype)
    elif image.ndim == 3 and image.shape[2] == 4:
        alpha = image[..., 3]
    else:
        return None
    if image.dtype == np.uint8 and image.ndim == 3:
        picture = cv2.cvtColor(image, cv2.COLOR_BGRA2RGB)
    else:
        picture = _decode(data, _WHOLE | cv2.IMREAD_IGNORE_ORIENTATION, header)
    if alpha.min() < full:
        _composite(picture, alpha, background, premultiplied=header.alpha == "premultiplied")
    return _turn(picture, header.orientation) if header.kind in _TURNED_HERE else picture


def _composite(picture: np.ndarray, alpha: np.ndarray, background: tuple[int, int, int], premultiplied: bool) -> None:
    """Blend (H, W, 3) uint8 with the background, in place. alpha: (H, W) uint8 or uint16."""
    rows = max(_STRIP_PIXELS // picture.shape[1], 1)
    full, behind = float(np.iinfo(alpha.dtype).max), np.array(background, np.float32)
    for top in range(0, len(picture), rows):
        strip = picture[top : top + rows]
        share = alpha[top : top + rows, :, None].astype(np.float32) / full
        colour = strip if premultiplied else strip * share
        strip[:] = np.clip(np.rint(colour + (1 - share) * behind), 0, 255)


def _turn(image: np.ndarray, orientation: int) -> np.ndarray:
    """Apply an EXIF orientation."""
    if orientation in {5, 7}:
        image = cv2.transpose(image)
    rotation = {3: cv2.ROTATE_180, 6: cv2.ROTATE_90_CLOCKWISE, 7: cv2.ROTATE_180, 8: cv2.ROTATE_90_COUNTERCLOCKWISE}
    if orientation in rotation:
        return cv2.rotate(image, rotation[orientation])
    return cv2.flip(image, 1 if orientation == 2 else 0) if orientation in {2, 4} else image


def _reduction(header: ImageHeader, shrinkage: Callable[[int, int], float]) -> int:
    """Return 1, 2, 4 or 8. The last, partial pixels of a turned picture come first: its size has to be a multiple."""
    wanted = shrinkage(*header.size)
    for factor in sorted(_REDUCED, reverse=True):
        even = header.height % factor == header.width % factor == 0
        if factor <= wanted and (even or header.orientation == 1):
            return factor
    return 1


def write_image(path: Path, image: np.ndarray) -> None:
    """Write (H, W, 3) RGB to a file of the suffix's type, atomically. Raises OSError, which names the file."""
    coded, data = cv2.imencode(path.suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    if not coded:
        raise OSError(f"{path}: OpenCV cannot write this type of picture")
    write_file(path, data.tobytes())
