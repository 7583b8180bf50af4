"""Which images of a folder are for training and which for testing."""

import re
from itertools import groupby
from pathlib import Path, PurePosixPath

from utils.data.formats.entries import Entry
from utils.data.formats.folder import natural_order
from utils.data.formats.names import part_of_word
from utils.errors import UserError

TEST_SHARE = 0.1
"""Share of the images that are for testing where nothing says which."""

_NEAREST = 0.5, 2.0
"""The test share may grow or shrink by these factors to end between two folders or videos."""


def choose_part(entries: list[Entry], part: str, root: Path) -> tuple[list[Entry], str]:
    """The entries of a part ("train" or "test") and the rule that chose them, see `with_parts`.

    Raises `UserError` if there are none.
    """
    entries, rule = with_parts(entries, root)
    chosen = [entry for entry in entries if entry.part == part]
    if not chosen:
        raise no_images(root, part, f"{len(entries)} images, {rule}")
    return chosen, rule


def no_images(root: Path, part: str, found: str) -> UserError:
    """The error of a folder that has images of the other part only. found: these images, or their annotation."""
    use = {"train": "training", "test": "testing"}[part]
    return UserError(
        f"{root}: no images for {use} ({found}); put some in a folder named {part}/, or give another folder"
    )


def with_parts(entries: list[Entry], root: Path) -> tuple[list[Entry], str]:
    """The entries of a folder, each with its part ("train" or "test"), and the rule that chose the parts.

    1. Where the annotation file or the folders' names say train, test, val or validation, these decide; val and
       validation are test. An image without such a word is for training.
    2. Else, if the folder itself is named train, test, val or the like, all its images are of that part.
    3. Else the last 10 % of the images in natural order are for testing. If a border between two folders, or two
       videos (names that differ in their last number only), leaves 5 % to 20 %, the nearest one is the border.
    """
    if any(entry.part for entry in entries):
        return [_in(entry, entry.part or "train") for entry in entries], "parts by the names of folders or files"
    name = root.resolve().name
    if len(re.findall("[a-z]+", name.lower())) == 1 and (own := part_of_word(name)):
        return [_in(entry, own) for entry in entries], f"all {own}, as the folder is named {name}"
    entries = sorted(entries, key=lambda entry: natural_order(entry.name))
    start = first_test_image([entry.name for entry in entries])
    rule = f"no train and test folders: the last {len(entries) - start} of {len(entries)} images are for testing"
    return [_in(entry, "train" if at < start else "test") for at, entry in enumerate(entries)], rule


def _in(entry: Entry, part: str) -> Entry:
    return entry._replace(part=part)


def first_test_image(names: list[str]) -> int:
    """Index of the first test image among names in natural order."""
    if len(names) < 2:
        return len(names)
    wanted = len(names) - max(round(len(names) * TEST_SHARE), 1)
    borders, at = [], 0
    for _, group in groupby(names, key=_video):
        borders.append(at)
        at += len(list(group))
    low, high = (len(names) * (1 - TEST_SHARE * factor) for factor in reversed(_NEAREST))
    near = [border for border in borders[1:] if low <= border <= high]
    return min(near, key=lambda border: abs(border - wanted)) if near else wanted


def _video(name: str) -> tuple[str, str]:
    path = PurePosixPath(name)
    return str(path.parent), re.sub(r"\d+$", "", path.stem)
