"""Pictures of a folder as the normalised inputs that ranges of activations are measured on."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from utils.data.image_types import ReadOptions
from utils.data.images import IMAGE_SUFFIXES, UnreadableImage, read_image
from utils.deploy.exported_detector import ExportedDetector
from utils.errors import UserError


def calibration_inputs(
    folder: Path, most: int, detector: ExportedDetector, reading: ReadOptions
) -> Iterator[np.ndarray]:
    """At most so many pictures, spread evenly over the folder, as inputs (1, 3, H, W) of the detector.

    Raises `UserError` if there is none, or none that can be read.
    """
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    if not paths:
        raise UserError(f"{folder}: no picture in this folder; give one with pictures like those to detect in")
    count = min(most, len(paths))
    found, unreadable = 0, ""
    for number in range(count):
        path = paths[number * len(paths) // count]
        try:
            image = read_image(path, reading)
        except UnreadableImage as error:
            unreadable = str(error)
            continue
        found += 1
        yield detector.prepare([detector.transform(image)])
    if not found:
        raise UserError(f"{folder}: none of {count} pictures can be read; the last: {unreadable}")
    print(f"calibrated on {found} pictures of {folder}")
