"""What the relative path of an image or an annotation file says: its part, and its name within the part."""

import functools
import re
from pathlib import PurePosixPath

from utils.data.problems import Problems

_TRAIN = {"train", "training"}
_TEST = {"test", "testing", "val", "valid", "validation"}
_LAYOUT = {
    *("image", "images", "img", "imgs", "jpegimages", "photos", "pictures"),
    *("annotation", "annotations", "ann", "anns", "label", "labels", "labeltxt", "gt", "gts", "ground", "truth"),
    *("groundtruth", "polygon", "polygons", "rectangular", "sample", "text", "texts", "txt", "json", "xml"),
}
"""Words in names of folders that say what kind of files is in them."""


def part_of(name: str) -> str | None:
    """ "train" or "test" (also val, validation) by the names of the folders on a relative path; else None."""
    for folder in PurePosixPath(name).parts[-2::-1]:
        if part := part_of_word(folder):
            return part
    return None


def part_of_word(name: str) -> str | None:
    """ "train" or "test" if the name of a folder or an annotation file has such a word; else None."""
    words = set(re.findall("[a-z]+", name.lower()))
    if bool(words & _TRAIN) == bool(words & _TEST):
        return None
    return "train" if words & _TRAIN else "test"


@functools.lru_cache(1 << 16)
def inner_folders(folders: tuple[str, ...]) -> tuple[str, ...]:
    """The folders of a path that are no part of a layout: ("a",) of images/train/a and of labels/train/a."""
    return tuple(folder for folder in folders if not (part_of_word(folder) or _is_layout(folder)))


def _is_layout(folder: str) -> bool:
    words = set(re.findall("[a-z]+", folder.lower()))
    return bool(words) and words <= _LAYOUT


@functools.lru_cache(1 << 16)
def apart(folders: tuple[str, ...], others: tuple[str, ...]) -> bool:
    """Whether two paths say that they are of different parts, or of folders with different numbers.

    So are train/a and test/a, train_1 and train_2; train_images1 and sample_train_annotation_txt are not.
    """
    parts = [part_of("/".join([*path, ""]) + "file") for path in (folders, others)]
    if None not in parts and parts[0] != parts[1]:
        return True
    return any(
        one != other and re.sub(r"\d+", "0", one) == re.sub(r"\d+", "0", other)
        for one, other in zip(folders, others, strict=False)
    )


def short_name(name: str) -> str:
    """The path without leading folders such as `images/` or `train_images1/`."""
    folders, file = list(PurePosixPath(name).parts[:-1]), PurePosixPath(name).name
    while folders and (part_of_word(folders[0]) or folders[0].lower() in ("images", "img", "imgs")):
        del folders[0]
    return "/".join([*folders, file])


def clean_name(name: str, problems: Problems) -> str:
    """The name; one that is not UTF-8, which no format can say, with its odd bytes as `%E9`."""
    clean = re.sub("[\ud800-\udfff]", lambda odd: f"%{ord(odd[0]) & 0xFF:02X}", name)
    if clean != name:
        problems.add("images whose names are not UTF-8, renamed", f"{name} is now {clean}")
    return clean
