"""COCO-Text and TextOCR: `imgs` and `anns` as objects by id.

COCO-Text: `mask` (version 2) or `polygon` (1.4), `legibility`; one file for all parts, each image with its `set`.
TextOCR: `points`; the text "." marks a word that cannot be read. Both become don't-cares.
"""

from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from utils.data.formats.base import Finding, Format, Source, list_files
from utils.data.formats.entries import (
    DONT_CARE,
    Entry,
    Malformed,
    Shape,
    WordList,
    numbers_of,
    points_of,
    shown,
    text_of,
)
from utils.data.formats.folder import Folder
from utils.data.formats.json_files import read_json
from utils.data.formats.names import part_of_word
from utils.data.formats.shapes import box_corners
from utils.data.formats.text_files import head_of

_OUTLINES = "points", "mask", "polygon"
_SCAN_BYTES = 1 << 22


def find(folder: Folder) -> Finding | None:
    files = list_files(folder, lambda file: _looks_like_it(head_of(file, _SCAN_BYTES)), ".json")
    return Finding(files, f"{folder.relative(files[0])} has 'imgs' or 'anns' by id") if files else None


def _looks_like_it(head: bytes) -> bool:
    return head.lstrip(b"\xef\xbb\xbf \r\n\t")[:1] == b"{" and (b'"imgs"' in head or b'"anns"' in head)


def read(source: Source) -> Iterator[Entry]:
    document = read_json(source.file)
    images = document.get("imgs") if isinstance(document, dict) else None
    annotations = document.get("anns") if isinstance(document, dict) else None
    if not isinstance(images, dict) or not isinstance(annotations, dict):
        raise Malformed("it has no objects 'imgs' and 'anns'; expected a file of COCO-Text or TextOCR")
    by_image = defaultdict(list)
    for number, annotation in annotations.items():
        if isinstance(annotation, dict):
            by_image[str(annotation.get("image_id"))].append((number, annotation))
    for number, image in images.items():
        if not isinstance(image, dict):
            source.problems.add("malformed entries, left out", f"{source.file}: imgs[{number}]: {shown(image)}")
            continue
        name = source.image(image.get("file_name"))
        if name is None:
            continue
        words = WordList(str(source.file), source.problems)
        for key, annotation in by_image[str(image.get("id", number))]:
            with words.entry_of(f"anns[{key}]"):
                words.add(_shape(annotation))
        size = image.get("height"), image.get("width")
        yield words.entry(name, part_of_word(text_of(image.get("set"))), size)


def _shape(annotation: dict) -> Shape:
    text = text_of(annotation.get("utf8_string"))
    unread = "points" in annotation and text.strip() == "."
    ignored = unread or annotation.get("legibility") == "illegible" or text.strip() == DONT_CARE
    return Shape(_corners(annotation), text, ignored)


def _corners(annotation: dict) -> np.ndarray:
    for key in _OUTLINES:
        if annotation.get(key):
            return points_of(annotation[key])
    left, top, width, height = numbers_of(annotation.get("bbox"), 4)
    return box_corners(left, top, left + width, top + height)


FORMAT = Format("cocotext", find, read)
