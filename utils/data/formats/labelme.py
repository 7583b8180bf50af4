"""labelme's JSON files, one beside each image.

Shapes: polygon, rectangle, oriented_rectangle (X-AnyLabeling: rotation); others are left out and counted.
A shape's text is its `description`, or its `label` where that is empty. A don't-care has the label or text `###`,
the label ignore, dontcare, difficult or illegible, a flag of such a name, or X-AnyLabeling's `difficult: true`.
"""

import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np

from utils.data.formats.base import Finding, Format, Output, Source, first_files
from utils.data.formats.entries import (
    DONT_CARE,
    Entry,
    Malformed,
    Shape,
    WordList,
    dont_care_texts,
    is_dont_care,
    points_of,
    shown,
    text_of,
)
from utils.data.formats.folder import Folder
from utils.data.formats.json_files import read_json
from utils.data.formats.shapes import box_corners
from utils.runtime.files import write_file

_POLYGONS = "polygon", "oriented_rectangle", "rotation", "quadrilateral"


def find(folder: Folder) -> Finding | None:
    files = first_files(folder, _is_label_file, ".json")
    reason = "of labelme: a JSON document with 'shapes' and 'imagePath'"
    return Finding(files, f"{folder.relative(files[0])} and others are {reason}") if files else None


def _is_label_file(file: Path) -> bool:
    if file.stat().st_size > 1 << 28:  # labelme may embed the image, but not this much
        return False
    try:
        document = read_json(file)
    except Malformed:
        return False
    return isinstance(document, dict) and isinstance(document.get("shapes"), list) and "imagePath" in document


def read(source: Source) -> Iterator[Entry]:
    document = read_json(source.file)
    if not isinstance(document, dict) or not isinstance(document.get("shapes"), list):
        raise Malformed("it has no list 'shapes'; expected a file as labelme writes it")
    path = document.get("imagePath")
    name = source.folder.find_image(path, source.file) if isinstance(path, str) and path and "\0" not in path else None
    name = name or source.image_of_stem(source.file.stem)
    if name is None:
        return
    words = WordList(str(source.file), source.problems)
    for number, shape in enumerate(document["shapes"]):
        with words.entry_of(f"shapes[{number}]"):
            words.add(_shape(shape))
    yield words.entry(name, size=(document.get("imageHeight"), document.get("imageWidth")))


def _shape(shape: object) -> Shape:
    if not isinstance(shape, dict):
        raise Malformed(f"{shown(shape)}; expected an object with label and points")
    kind = shape.get("shape_type") or "polygon"
    points = points_of(shape.get("points"))
    if kind == "rectangle" and len(points) in (2, 4):  # labelme: two opposite corners; X-AnyLabeling: all four
        points = box_corners(*points.min(0), *points.max(0))
    elif kind not in _POLYGONS:
        raise Malformed(f"shape_type {shown(kind)} with {len(points)} points; expected polygon, rectangle or rotation")
    label, text = text_of(shape.get("label")), text_of(shape.get("description"))
    flags = shape.get("flags")
    marked = isinstance(flags, dict) and any(value is True and is_dont_care(flag) for flag, value in flags.items())
    ignored = marked or shape.get("difficult") is True or is_dont_care(label) or text.strip() == DONT_CARE
    return Shape(points, text or label, ignored)


def write(output: Output, entries: Iterator[Entry]) -> int:
    """`train/NAME.json` beside `train/NAME.jpg`, and the same for test."""
    folder = output.root / output.part
    count = 0
    for entry in entries:
        file = folder / PurePosixPath(entry.name).with_suffix(".json")
        output.place_image(entry.name, folder / entry.name)
        height, width = output.size_of(entry.name)
        document: dict[str, object] = {
            "version": "5.5.0",
            "flags": {},
            "shapes": list(_shapes(entry, output)),
            "imagePath": PurePosixPath(entry.name).name,
            "imageData": None,
            "imageHeight": height,
            "imageWidth": width,
        }
        write_file(file, json.dumps(document, ensure_ascii=False, indent=2).encode())
        count += 1
    return count


def _shapes(entry: Entry, output: Output) -> Iterator[dict]:
    """The label is the text; or ### for a don't-care, whose text (if any) is the description.

    The score of a draft is in X-AnyLabeling's field `score`, which labelme keeps.
    """
    texts = dont_care_texts(entry, output.problems)
    scores = entry.scores or [None] * len(texts)
    for quad, ignored, text, score in zip(entry.quads, entry.ignored, texts, scores, strict=True):
        label = DONT_CARE if ignored else "text" if is_dont_care(text) else text
        yield {
            "label": label,
            "points": np.asarray(quad, np.float64).tolist(),
            "group_id": None,
            "description": text if text != label else "",
            "shape_type": "polygon",
            "flags": {},
            "mask": None,
            **({} if score is None else {"score": score}),
        }


FORMAT = Format("labelme", find, read, write, one_file_an_image=True)
