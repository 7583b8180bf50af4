"""CVAT's XML 1.1: "CVAT for images" and "CVAT for video" (tracks, see `utils.data.formats.cvat_tracks`).

Shapes: boxes (with `rotation`, degrees clockwise) and polygons; others are left out, counted. A word's text is its
attribute `text`, `transcription` or the like. A don't-care has the text `###`, a label such as ignore or dontcare, or
an attribute of such a name that is true (or `legible` that is false).
"""

from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement, indent, tostring

import numpy as np

from utils.data.formats.base import Finding, Format, Output, Source, list_files
from utils.data.formats.cvat_tracks import read_tracks
from utils.data.formats.entries import (
    DONT_CARE,
    Entry,
    Malformed,
    Shape,
    WordList,
    dont_care_texts,
    is_dont_care,
    parse_numbers,
    shown,
    text_of,
)
from utils.data.formats.folder import Folder
from utils.data.formats.names import part_of_word
from utils.data.formats.shapes import rotated_box
from utils.data.formats.text_files import head_of
from utils.data.formats.txt import shortest
from utils.data.formats.xml_files import read_xml, root_of
from utils.data.problems import Problems
from utils.runtime.files import write_file

TEXT_ATTRIBUTES = "text", "transcription", "transcript", "utf8_string", "word", "value", "ocr"
SHAPES = "box", "polygon"
_OTHER_SHAPES = "polyline", "points", "cuboid", "ellipse", "mask", "skeleton"


def find(folder: Folder) -> Finding | None:
    files = list_files(folder, lambda file: root_of(head_of(file)) == "annotations", ".xml")
    return Finding(files, f"{folder.relative(files[0])} has the root element <annotations>") if files else None


def read(source: Source) -> Iterator[Entry]:
    document = read_xml(source.file)
    if document.tag != "annotations":
        raise Malformed(f"its root element is <{document.tag[:40]}>; expected CVAT's <annotations>")
    if document.find("track") is not None:
        yield from read_tracks(document, source, shape_of)
        return
    for image in document.iter("image"):
        name = source.image(image.get("name"))
        if name is None:
            continue
        words = WordList(f"{source.file}: image {name}", source.problems)
        for number, element in enumerate(image):
            if element.tag in SHAPES:
                with words.entry_of(f"{element.tag} {number}"):
                    words.add(shape_of(element, element.get("label")))
            elif element.tag in _OTHER_SHAPES:
                words.malformed(f"<{element.tag}>; expected a box or a polygon")
        size = image.get("height"), image.get("width")
        yield words.entry(name, part_of_word(image.get("subset") or ""), size)


def shape_of(element: Element, label: str | None) -> Shape:
    """The word of a `<box>` or `<polygon>`. Raises `Malformed`."""
    attributes = {child.get("name", "").strip().lower(): child.text or "" for child in element.iter("attribute")}
    text = next((text_of(attributes[name]) for name in TEXT_ATTRIBUTES if attributes.get(name)), "")
    ignored = is_dont_care(label) or text.strip() == DONT_CARE or _marked(attributes)
    return Shape(corners_of(element), text, ignored)


def _marked(attributes: dict[str, str]) -> bool:
    values = {name: text.strip().lower() == "true" for name, text in attributes.items()}
    return any(value and is_dont_care(name) for name, value in values.items()) or values.get("legible") is False


def corners_of(element: Element) -> np.ndarray:
    """(K, 2) corners of a `<box>` or `<polygon>`. Raises `Malformed`."""
    if element.tag == "box":
        box = parse_numbers([element.get(name) for name in ("xtl", "ytl", "xbr", "ybr")])
        rotation = rotation_of(element)
        if not np.isfinite(rotation):
            raise Malformed(f"rotation {rotation}; expected degrees")
        return rotated_box(box, rotation)
    pairs = [pair.split(",") for pair in element.get("points", "").split(";")]
    if any(len(pair) != 2 for pair in pairs):
        raise Malformed(f"points {shown(element.get('points'))}; expected x,y;x,y;...")
    return parse_numbers([number for pair in pairs for number in pair]).reshape(-1, 2)


def rotation_of(box: Element) -> float:
    """Degrees clockwise: an attribute of the XML element as CVAT writes it, or of the shape as Datumaro does."""
    given = [child.text for child in box.iter("attribute") if child.get("name") == "rotation"]
    return float(parse_numbers([box.get("rotation") or (given[0] if given else "0")])[0])


def write(output: Output, entries: Iterator[Entry]) -> int:
    """`train/annotations.xml` beside `train/images/`, and the same for test: "CVAT for images 1.1"."""
    folder = output.root / output.part
    document = Element("annotations")
    SubElement(document, "version").text = "1.1"
    labels = SubElement(SubElement(SubElement(document, "meta"), "task"), "labels")
    for label in ("text", "ignore"):
        _declare(labels, label)
    count = 0
    for entry in entries:
        output.place_image(entry.name, folder / "images" / entry.name)
        height, width = output.size_of(entry.name)
        size = {"width": str(width), "height": str(height)}
        image = SubElement(document, "image", {"id": str(count), "name": entry.name, **size})
        _add_words(image, entry, output.problems)
        count += 1
    folder.mkdir(parents=True, exist_ok=True)
    write_file(Path(folder, "annotations.xml"), _serialised(document))
    return count


def _declare(labels: Element, name: str) -> None:
    """A label with the text attribute, as CVAT lists them in a task."""
    label = SubElement(labels, "label")
    SubElement(label, "name").text = name
    attribute = SubElement(SubElement(label, "attributes"), "attribute")
    for key, value in (("name", "text"), ("mutable", "False"), ("input_type", "text"), ("default_value", "")):
        SubElement(attribute, key).text = value
    SubElement(attribute, "values")


def _add_words(image: Element, entry: Entry, problems: Problems) -> None:
    """Add a polygon a word."""
    texts = dont_care_texts(entry, problems)
    for quad, ignored, text in zip(entry.quads, entry.ignored, texts, strict=True):
        points = ";".join(f"{shortest(x)},{shortest(y)}" for x, y in quad)
        shape = {"label": "ignore" if ignored else "text", "source": "manual", "occluded": "0", "points": points}
        polygon = SubElement(image, "polygon", {**shape, "z_order": "0"})
        SubElement(polygon, "attribute", {"name": "text"}).text = _xml_text(text, entry.name, problems)


def replace(source: Source, entries: dict[str, Entry]) -> bytes:
    """The document with other boxes and polygons in these images, and its other elements. See `Format.replace`."""
    document = read_xml(source.file, comments=True)
    if document.find("track") is not None:
        raise Malformed("it has tracks, which cannot be changed in one frame; export it as 'CVAT for images 1.1'")
    for image in document.iter("image"):
        if entry := entries.pop(source.image(image.get("name")) or "", None):
            for shape in [element for element in image if element.tag in SHAPES]:
                image.remove(shape)
            _add_words(image, entry, source.problems)
    return _serialised(document)


def _serialised(document: Element) -> bytes:
    indent(document)
    return tostring(document, "utf-8", xml_declaration=True)


def _xml_text(text: str, name: str, problems: Problems) -> str:
    """The text without the control characters that XML cannot have; counted."""
    kept = "".join(letter for letter in text if (letter >= " " and letter not in "\ufffe\uffff") or letter == "\t")
    if kept != text:
        problems.add("texts with control characters, which XML cannot have: removed", f"{name}: {text!r}")
    return kept


FORMAT = Format("cvat", find, read, write, replace)
