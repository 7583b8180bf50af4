"""Ultralytics' YOLO label files, best the OBB form: `class x1 y1 x2 y2 x3 y3 x4 y4`, coordinates from 0 to 1.

`images/train/a.jpg` has `labels/train/a.txt` (or `train/images/a.jpg` has `train/labels/a.txt`). Lines of five numbers
(class and an upright box: centre, width, height) and polygons are read, too. The format has no texts and no
don't-cares; a class named ignore or dontcare in the data set's YAML file means the latter. By Ultralytics' rules
an image without a label file is one without words.
"""

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np

from utils.data.formats.base import Finding, Format, Output, Source, if_any_matches
from utils.data.formats.entries import Entry, Malformed, Shape, WordList, is_dont_care, parse_numbers, shown
from utils.data.formats.folder import Folder
from utils.data.formats.shapes import box_corners
from utils.data.formats.sizes import picture_size
from utils.data.formats.text_files import head_text
from utils.data.formats.text_lines import read_lines, split_lines
from utils.data.images import UnreadableImage
from utils.runtime.files import write_file

_DIGITS = 6
"""Decimals of a pixel that are kept: a coordinate written with enough digits comes back as it was."""


_NAMES = re.compile(
    r"^names:[ \t]*(?:\[(?P<list>[^\]]*)\]|\{(?P<map>[^}]*)\}|(?P<block>(?:\n[ \t\-].*|\n[ \t]*(?=\n))*))", re.MULTILINE
)
"""The entry `names` of a YAML file: a list or a mapping, on one line or on indented ones."""


def find(folder: Folder) -> Finding | None:
    labels = [file for file in folder.files(".txt") if "labels" in folder.relative(file).split("/")]
    files = if_any_matches(labels, _is_label_file)
    reason = "has lines of a class and coordinates from 0 to 1, in a folder 'labels'"
    return Finding(files, f"{folder.relative(files[0])} {reason}") if files else None


def _is_label_file(file: Path) -> bool:
    lines = [line for _, line in split_lines(head_text(file, 1 << 14))]
    try:
        return bool(lines) and all(len(_numbers(line)) for line in lines[:-1] or lines)
    except Malformed:
        return False


def _numbers(line: str) -> np.ndarray:
    """Class and coordinates of one line. Raises `Malformed`."""
    values = parse_numbers(line.split())
    if len(values) < 5 or len(values) % 2 == 0 or values[0] != int(values[0] if np.isfinite(values[0]) else -1.5):
        raise Malformed(f"{shown(line)}; expected a class and 8 coordinates, separated by spaces")
    if not (np.abs(values[1:] - 0.5) <= 1).all():  # a word may lie partly outside of its image
        raise Malformed(f"{shown(line)}; expected coordinates from 0 to 1")
    return values


def read(source: Source) -> Iterator[Entry]:
    lines = read_lines(source)
    name = source.image_of_stem(source.file.stem)
    if name is None:
        return
    try:
        height, width = picture_size(source.folder.root / name)
    except UnreadableImage as error:
        source.problems.add("images unreadable, left out", str(error))
        return
    ignored = ignored_classes(source.folder)
    words = WordList(str(source.file), source.problems)
    for number, line in lines:
        with words.entry_of(f"line {number}"):
            values = _numbers(line)
            words.add(Shape(np.round(_corners(values[1:]) * (width, height), _DIGITS), "", int(values[0]) in ignored))
    yield words.entry(name)


def _corners(values: np.ndarray) -> np.ndarray:
    """(K, 2) from 0 to 1."""
    if len(values) != 4:
        return values.reshape(-1, 2)
    (x, y), half = values[:2], values[2:] / 2
    return box_corners(x - half[0], y - half[1], x + half[0], y + half[1])


def ignored_classes(folder: Folder) -> set[int]:
    """Classes whose name in the data set's YAML file marks a don't-care.

    Only the entry `names` is read: `names: [a, b]`, a list of lines `- a`, or lines `0: a`.
    """
    for path in folder.paths:
        if path.suffix.lower() in (".yaml", ".yml") and len(path.parts) == 1:
            text = head_text(folder.root / path)
            if names := _class_names("\n".join(text.splitlines())):
                return {number for number, name in names.items() if is_dont_care(name)}
    return set()


def _class_names(text: str) -> dict[int, str]:
    found = _NAMES.search(text)
    if not found:
        return {}
    items = found["list"] if found["list"] is not None else found["map"]
    rows = items.split(",") if items is not None else found["block"].splitlines()
    names: dict[int, str] = {}
    for row in rows:
        row = re.sub(r"(^|\s)#.*", "", row).strip()
        key, colon, value = row.partition(":")
        if colon and key.strip().isdecimal():
            names[int(key[:6])] = value.strip(" '\"")
        elif row:
            names[len(names)] = row.removeprefix("-").strip(" '\"")
    return names


def write(output: Output, entries: Iterator[Entry]) -> int:
    """`images/train/`, `labels/train/` and the same for val (the test part), `data.yaml` with the two classes."""
    part = {"train": "train", "test": "val"}[output.part]
    count = 0
    for entry in entries:
        file = output.root / "labels" / part / PurePosixPath(entry.name).with_suffix(".txt")
        output.place_image(entry.name, output.root / "images" / part / entry.name)
        height, width = output.size_of(entry.name)
        shares = entry.quads.reshape(-1, 4, 2) / (width, height)
        lines = [
            " ".join(["1" if ignored else "0", *(f"{value:.12g}" for value in quad.reshape(-1))])
            for quad, ignored in zip(shares, entry.ignored, strict=True)
        ]
        file.parent.mkdir(parents=True, exist_ok=True)
        write_file(file, "".join(f"{line}\n" for line in lines).encode())
        texts = sum(bool(text) and not ignored for text, ignored in zip(entry.texts, entry.ignored, strict=True))
        output.problems.add("texts of words, which YOLO's format does not have", entry.name, texts)
        output.problems.add("don't-care words, written as the class 'ignore'", entry.name, int(entry.ignored.sum()))
        output.problems.add(
            "words for which Ultralytics refuses the image: centre outside", entry.name, _outside(shares)
        )
        count += 1
    lines = ["path: .", "train: images/train", "val: images/val", "names:", "  0: text", "  1: ignore"]
    write_file(output.root / "data.yaml", "".join(f"{line}\n" for line in lines).encode())
    return count


def _outside(shares: np.ndarray) -> int:
    """How many words (N, 4, 2) have a box whose centre is outside of the image, or that is larger than the image."""
    low, high = shares.min(1), shares.max(1)
    centre = (low + high) / 2
    return int(((centre < 0) | (centre > 1) | (high - low > 1.01)).any(1).sum())


FORMAT = Format("yolo", find, read, write, one_file_an_image=True, unlisted_are_empty=True, empty_suffixes=(".txt",))
