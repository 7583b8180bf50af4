"""Height and width of a picture, from its first bytes where they have them."""

import contextlib
from pathlib import Path

from utils.data.formats.text_files import head_of
from utils.data.image_headers import BadHeader, read_header
from utils.data.images import read_picture

_HEAD_BYTES = 1 << 18


def picture_size(path: Path) -> tuple[int, int]:
    """Height and width, EXIF rotation applied. Raises `UnreadableImage`."""
    with contextlib.suppress(BadHeader):
        return read_header(head_of(path, _HEAD_BYTES)).size
    return read_picture(path).size
