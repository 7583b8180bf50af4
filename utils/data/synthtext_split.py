"""SynthText's training and validation images, of the whole set or of the part of it that is on disk."""

import os
from pathlib import Path

import numpy as np

from utils.data.annotations import Annotations
from utils.errors import UserError

TRAIN_SHARE = 0.8
"""SynthText's list is split here: the first images are for training, the rest for validation."""

VALIDATION_SHARES = 0.05, 0.5
"""If SynthText is on disk in part, the share of its images that the list's last 20 % may be, at least and at most."""

MANY = 0.01
"""Share of missing images from which on all are looked for; fewer are left out when they are read."""

_SAMPLE = 1_000


def split_synthtext(annotations: Annotations, train: bool) -> np.ndarray:
    """The positions of the training or validation images: the first 80 % of the list, or the rest.

    If many images are not on disk, those are left out and counted. If the rest of the list then has too small or too
    large a part of the images (see `VALIDATION_SHARES`), the images on disk are split 80 to 20 among themselves.
    """
    split, found = int(len(annotations) * TRAIN_SHARE), find_images(annotations)
    part = slice(split) if train else slice(split, None)
    positions = np.arange(len(annotations))
    if found is None:
        return positions[part]
    missing = positions[part][~found[part]]
    if len(missing):
        first = str(annotations.path(missing[0]))
        annotations.problems.add("images of the gt.mat that are not on disk, left out", first, len(missing))
    there, (low, high) = positions[found], VALIDATION_SHARES
    if not len(there):
        raise UserError(
            f"{annotations.root}: no usable image among {len(annotations)} in the annotation: none is on disk, such as "
            f"{annotations.names[0]}; copy the images beside the gt.mat"
        )
    if low <= found[split:].sum() / len(there) <= high:
        return positions[part][found[part]]
    kind = "images on disk that are split 80 to 20 among themselves, as the list's last 20 % are not all there"
    annotations.problems.add(kind, str(annotations.path(there[0])), len(there))
    split = int(len(there) * TRAIN_SHARE)
    return there[slice(split) if train else slice(split, None)]


def find_images(annotations: Annotations) -> np.ndarray | None:
    """(N,) bool: whether each image is on disk; None if none or few of a sample are missing.

    The folders are listed instead of looking for each file: seconds for SynthText's 858,750 images.
    """
    count = len(annotations)
    sample = np.unique(np.linspace(0, count - 1, min(count, _SAMPLE)).astype(int))
    missing = sum(not os.path.exists(annotations.path(int(index))) for index in sample)
    if missing <= MANY * len(sample):
        return None
    listed: dict[str, set[str]] = {}
    found = np.zeros(count, bool)
    for index in range(count):
        folder, name = os.path.split(annotations.names[index])
        if folder not in listed:
            listed[folder] = _names_in(annotations.root / folder)
        found[index] = name in listed[folder]
    return found


def _names_in(folder: Path) -> set[str]:
    try:
        return set(os.listdir(folder))
    except OSError:
        return set()
