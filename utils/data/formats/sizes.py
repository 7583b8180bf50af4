"""Height and width of a picture, from its first bytes where they have them; words in the picture's pixels."""

import contextlib
from pathlib import Path

import numpy as np

from utils.data.formats.entries import Entry
from utils.data.formats.text_files import head_of
from utils.data.image_headers import BadHeader, read_header
from utils.data.images import UnreadableImage, read_picture
from utils.data.problems import Problems

_HEAD_BYTES = 1 << 18
_TOLERANCE = 0.01
"""Relative difference of two shapes that pass for the same: a smaller picture's sides are rounded."""


def picture_size(path: Path) -> tuple[int, int]:
    """Height and width, EXIF rotation applied. Raises `UnreadableImage`."""
    return _size_and_orientation(path)[0]


def _size_and_orientation(path: Path) -> tuple[tuple[int, int], int]:
    """The size as in `picture_size`, and EXIF's number of the orientation, 1 if it is unknown."""
    with contextlib.suppress(BadHeader):
        header = read_header(head_of(path, _HEAD_BYTES))
        return header.size, header.orientation
    return read_picture(path).size, 1


def fit_to_picture(entry: Entry, path: Path, file: Path, problems: Problems) -> Entry:
    """The entry with its words in the pixels of the picture `path`, where its file states another size.

    Of a picture of the same shape they are scaled; of one whose EXIF rotation the stated size lacks, turned. Otherwise,
    and if they do not lie within the stated size, they stay as they are. All of these are counted in problems.
    """
    if not entry.stated_size or not len(entry.quads):
        return entry
    try:
        (height, width), orientation = _size_and_orientation(path)
    except UnreadableImage:  # counted when the picture itself is checked
        return entry
    stated_height, stated_width = entry.stated_size
    if (stated_height, stated_width) == (height, width):
        return entry
    sizes = f"{width}x{height} pixels, {stated_width:g}x{stated_height:g} in {file}"
    centres = entry.quads.mean(1)
    fits = bool(((centres >= 0) & (centres <= (stated_width, stated_height))).all())
    if fits and abs(stated_width / stated_height * height / width - 1) <= _TOLERANCE:
        problems.add("pictures of another size than annotated, words scaled", f"{path}: {sizes}")
        return entry._replace(quads=entry.quads * (width / stated_width, height / stated_height))
    if fits and orientation >= 5 and (stated_width, stated_height) == (height, width):
        problems.add("pictures annotated without their EXIF rotation, words turned", f"{path}: {sizes}")
        return entry._replace(quads=_turn(entry.quads, orientation, height, width))
    problems.add("pictures of another shape than annotated, words used as they are: check them", f"{path}: {sizes}")
    return entry


def _turn(quads: np.ndarray, orientation: int, height: int, width: int) -> np.ndarray:
    """Corners in a picture as it is stored -> as it is shown, (height, width), by EXIF's orientation 5 to 8."""
    x, y = quads[..., 1], quads[..., 0]
    x = width - x if orientation in (6, 7) else x
    y = height - y if orientation in (7, 8) else y
    return np.stack([x, y], -1)
