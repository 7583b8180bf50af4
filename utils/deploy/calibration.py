"""Pictures of a folder as the normalised inputs that ranges of activations are measured on."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from utils.data.image_types import ReadOptions
from utils.data.images import IMAGE_SUFFIXES, UnreadableImage, read_image
from utils.data.problems import Problems
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
    found, problems = 0, Problems()
    for path in _spread(paths, most):
        try:
            image = read_image(path, reading)
        except UnreadableImage as error:
            problems.add("pictures unreadable, left out", str(error))
            continue
        found += 1
        yield detector.prepare([detector.transform(image)])
        if found == most:
            break
    if not found:
        raise UserError(f"{folder}: none of {len(paths)} pictures can be read{problems.first()}")
    print(f"calibrated on {found} pictures of {folder}")
    if problems:
        print(f"left out:\n{problems}")


def _spread(paths: list[Path], most: int) -> list[Path]:
    """All paths: first so many of them, spread evenly, then the others, in place of those that cannot be read."""
    count = min(most, len(paths))
    first = {number * len(paths) // count: None for number in range(count)}
    return [paths[number] for number in first | dict.fromkeys(range(len(paths)))]
