"""Height and width of a picture, from its first bytes where they have them."""

from pathlib import Path

from utils.data.formats.json_files import head_of
from utils.data.images import UnreadableImage, read_header, read_picture

_HEAD_BYTES = 1 << 18


def picture_size(path: Path) -> tuple[int, int]:
    """Height and width, EXIF rotation applied. Raises `UnreadableImage`."""
    header = read_header(head_of(path, _HEAD_BYTES))
    if header is None:
        return read_picture(path).size
    if min(header.size) < 1:
        raise UnreadableImage(f"{path}: {header.width}x{header.height} pixels")
    return header.size
