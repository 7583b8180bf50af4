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
    """The entries of a part ("train" or "test") and the rule that chose them.

    1. Where the annotation file or the folders' names say train, test, val or validation, these decide; val and
       validation are test. An image without such a word is for training.
    2. Else, if the folder itself is named train, test, val or the like, all its images are of that part.
    3. Else the last 10 % of the images in natural order are for testing. If a border between two folders, or two
       videos (names that differ in their last number only), leaves 5 % to 20 %, the nearest one is the border.

    Raises `UserError` if there are none.
    """
    if any(entry.part for entry in entries):
        chosen = [entry for entry in entries if (entry.part or "train") == part]
        return _some(chosen, part, root), f"{part} by the names of folders or files"
    name = root.resolve().name
    if len(re.findall("[a-z]+", name.lower())) == 1 and (own := part_of_word(name)):
        chosen = entries if own == part else []
        return _some(chosen, part, root), f"all {own}, as the folder is named {name}"
    entries = sorted(entries, key=lambda entry: natural_order(entry.name))
    start = first_test_image([entry.name for entry in entries])
    chosen = entries[:start] if part == "train" else entries[start:]
    rule = f"no train and test folders: the last {len(entries) - start} of {len(entries)} images are for testing"
    return _some(chosen, part, root), rule


def _some(chosen: list[Entry], part: str, root: Path) -> list[Entry]:
    if not chosen:
        use = "training" if part == "train" else "testing"
        raise UserError(f"{root}: no images for {use}: put them in a folder named {part}/, or give another folder")
    return chosen


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
