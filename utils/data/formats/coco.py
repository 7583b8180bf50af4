"""COCO's JSON: `images`, `annotations` with `bbox` [x, y, width, height] and `segmentation` polygons.

A word's corners are those of its polygon; without one, of its box (turned by `attributes.rotation`, which CVAT and
Datumaro write). Its text is `text`, `transcription`, `utf8_string`, `caption` or `rec`, or such an entry of
`attributes`. A don't-care has `iscrowd` or `ignore` 1, the text `###`, or a category such as ignore or dontcare.
"""

import json
from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from utils.data.formats.base import Finding, Format, Output, Source, list_files
from utils.data.formats.entries import (
    DONT_CARE,
    Entry,
    Malformed,
    Shape,
    WordList,
    dont_care_texts,
    is_dont_care,
    numbers_of,
    points_of,
    text_of,
)
from utils.data.formats.folder import Folder
from utils.data.formats.json_files import dicts_of, read_json
from utils.data.formats.shapes import rotated_box
from utils.data.formats.text_files import head_of
from utils.runtime.files import write_file

TEXT_KEYS = "text", "transcription", "utf8_string", "caption", "rec"
_LISTS = b'"images"', b'"annotations"', b'"categories"', b'"licenses"'
_OTHER_FORMATS = b'"shapes"', b'"paragraphs"', b'"imgs"'
_CATEGORIES = [{"id": 1, "name": "text", "supercategory": ""}, {"id": 2, "name": "ignore", "supercategory": ""}]


def find(folder: Folder) -> Finding | None:
    files = list_files(folder, lambda file: _looks_like_coco(head_of(file)), ".json")
    reason = "has COCO's lists 'images' and 'annotations'"
    return Finding(files, f"{folder.relative(files[0])} {reason}") if files else None


def _looks_like_coco(head: bytes) -> bool:
    """Any of the keys may come first, and the others gigabytes later."""
    if head.lstrip(b"\xef\xbb\xbf \r\n\t")[:1] != b"{" or any(key in head for key in _OTHER_FORMATS):
        return False
    if b'"images"' in head and b'"annotations"' in head:
        return True
    return any(key in head for key in _LISTS) and (b'"file_name"' in head or b'"image_id"' in head)


def read(source: Source) -> Iterator[Entry]:
    document = read_json(source.file)
    if not isinstance(document, dict) or not isinstance(document.get("images"), list):
        raise Malformed("it has no list 'images'; expected COCO's images, annotations and categories")
    if not isinstance(document.get("annotations"), list):
        raise Malformed("it has no list 'annotations'; expected COCO's images, annotations and categories")
    categories = dicts_of(document.get("categories"))
    ignored = {_key(category.get("id")) for category in categories if is_dont_care(category.get("name"))}
    annotations = defaultdict(list)
    for number, annotation in enumerate(document["annotations"]):
        if isinstance(annotation, dict):
            annotations[_key(annotation.get("image_id"))].append((number, annotation))
    for image in dicts_of(document["images"]):
        name = source.image(image.get("file_name"))
        if name is None:
            continue
        words = WordList(str(source.file), source.problems)
        for number, annotation in annotations[_key(image.get("id"))]:
            with words.entry_of(f"annotations[{number}]"):
                words.add(_shape(annotation, _key(annotation.get("category_id")) in ignored))
        yield words.entry(name, size=(image.get("height"), image.get("width")))


def _key(value: object) -> str:
    """An id as text: some tools write the same id as a number here and as a text there."""
    return str(value)


def _shape(annotation: dict, ignored: bool) -> Shape:
    attributes = annotation.get("attributes")
    attributes = attributes if isinstance(attributes, dict) else {}
    texts = [text_of(place[key]) for place in (annotation, attributes) for key in TEXT_KEYS if place.get(key)]
    text = texts[0] if texts else ""
    marks = [annotation.get("iscrowd"), annotation.get("ignore")]
    marks += [value for key, value in attributes.items() if is_dont_care(key)]
    ignored = ignored or any(mark is True or mark == 1 for mark in marks) or text.strip() == DONT_CARE
    return Shape(_corners(annotation, attributes), text, ignored)


def _corners(annotation: dict, attributes: dict) -> np.ndarray:
    """(K, 2): of the polygon, of all polygons together, or of the box."""
    polygons = annotation.get("segmentation")
    if isinstance(polygons, list) and polygons and all(isinstance(polygon, list) for polygon in polygons):
        return np.concatenate([points_of(polygon) for polygon in polygons])
    left, top, width, height = numbers_of(annotation.get("bbox"), 4)
    rotation = attributes.get("rotation", 0)
    (rotation,) = numbers_of([rotation], 1)
    if not np.isfinite(rotation):
        raise Malformed(f"rotation {rotation}; expected degrees")
    return rotated_box(np.array([left, top, left + width, top + height]), rotation)


def write(output: Output, entries: Iterator[Entry]) -> int:
    """`annotations/instances_train.json` and `train/` with the images, and the same for test."""
    images: list[dict] = []
    annotations: list[dict] = []
    for entry in entries:
        output.place_image(entry.name, output.root / output.part / entry.name)
        height, width = output.size_of(entry.name)
        number = len(images) + 1
        images.append({"id": number, "file_name": entry.name, "height": height, "width": width})
        texts = dont_care_texts(entry, output.problems)
        for quad, ignored, text in zip(entry.quads, entry.ignored, texts, strict=True):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": 2 if ignored else 1,
                    "segmentation": [quad.reshape(-1).tolist()],
                    "bbox": [*quad.min(0).tolist(), *np.ptp(quad, 0).tolist()],
                    "area": _area(quad),
                    "iscrowd": 0,
                    "text": text,
                }
            )
    document = {"images": images, "annotations": annotations, "categories": _CATEGORIES}
    folder = output.root / "annotations"
    folder.mkdir(parents=True, exist_ok=True)
    write_file(folder / f"instances_{output.part}.json", json.dumps(document, ensure_ascii=False).encode())
    return len(images)


def _area(quad: np.ndarray) -> float:
    """By the shoelace formula."""
    x, y = quad.T
    return float(abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2)


FORMAT = Format("coco", find, read, write)
