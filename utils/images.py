"""Reading pictures: a whole RGB array or one clear reason why not."""

from pathlib import Path

import cv2
import numpy as np

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"}
_TAIL_BYTES = 1 << 16


class UnreadableImage(Exception):
    """A picture that cannot be used; the message names the file and says why."""


def read_image(path: str | Path) -> np.ndarray:
    """(H, W, 3) uint8 RGB, turned by its EXIF orientation. Raises `UnreadableImage`."""
    try:
        data = np.fromfile(path, np.uint8)
    except OSError as error:
        raise UnreadableImage(f"{path}: {error.strerror}") from None
    if problem := _broken_bytes(data[:16].tobytes(), data[-_TAIL_BYTES:].tobytes()):
        raise UnreadableImage(f"{path}: {problem}")
    try:
        image = cv2.imdecode(data, cv2.IMREAD_COLOR)
    except cv2.error as error:  # such as more pixels than OpenCV's limit
        raise UnreadableImage(f"{path}: {error.err}") from None
    if image is None:
        raise UnreadableImage(f"{path}: not a picture that OpenCV can read")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def image_problem(path: str | Path) -> str | None:
    """Why the file is no whole picture, from its first and last bytes; None if it looks fine."""
    try:
        with open(path, "rb") as file:
            head = file.read(16)
            file.seek(0, 2)
            file.seek(-min(file.tell(), _TAIL_BYTES), 2)
            return _broken_bytes(head, file.read())
    except OSError as error:
        return error.strerror


def _broken_bytes(head: bytes, tail: bytes) -> str | None:
    if not head:
        return "the file is empty"
    if head.startswith(b"\xff\xd8"):  # JPEG: the end marker has to follow the last scan's start
        whole = tail.rfind(b"\xff\xd9") > tail.rfind(b"\xff\xda")
    elif head.startswith(b"\x89PNG"):
        whole = b"IEND" in tail
    elif head[:2] in (b"BM", b"II", b"MM") or head[:4] == b"RIFF":  # BMP, TIFF, WebP
        whole = True
    else:
        return "not a picture (JPEG, PNG, BMP, TIFF or WebP)"
    return None if whole else "the file is cut off"
