"""HierText: one JSON document (named `.jsonl`) of images with paragraphs, lines and words.

Words have `vertices`, `text` and `legible`; one that is not legible is a don't-care. A paragraph or a line without
words inside was not transcribed: its outline becomes a don't-care.
"""

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path

from utils.data.formats.base import Finding, Format, Source, list_files
from utils.data.formats.entries import DONT_CARE, Entry, Malformed, Shape, WordList, points_of, text_of
from utils.data.formats.folder import Folder
from utils.data.formats.json_files import dicts_of, parse_json, read_json
from utils.data.formats.text_files import head_of

_MAX_UNPACKED = 4 << 30


def find(folder: Folder) -> Finding | None:
    files = list_files(folder, lambda file: b'"paragraphs"' in _head(file), ".jsonl", ".json", ".gz")
    return Finding(files, f"{folder.relative(files[0])} has images with 'paragraphs'") if files else None


def _head(file: Path) -> bytes:
    if file.suffix != ".gz":
        return head_of(file)
    try:
        with gzip.open(file) as unpacked:
            return unpacked.read(1 << 16)
    except (OSError, EOFError, zlib.error):
        return b""


def _document(file: Path) -> object:
    if file.suffix != ".gz":
        return read_json(file)
    try:
        with gzip.open(file) as unpacked:
            data = unpacked.read(_MAX_UNPACKED + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise Malformed(f"not a whole gzip file ({error})") from None
    if len(data) > _MAX_UNPACKED:
        raise Malformed(f"it unpacks to more than {_MAX_UNPACKED >> 30} GiB")
    return parse_json(data)


def read(source: Source) -> Iterator[Entry]:
    document = _document(source.file)
    if not isinstance(document, dict) or not isinstance(document.get("annotations"), list):
        raise Malformed("it has no list 'annotations'; expected HierText's ground truth")
    for number, image in enumerate(dicts_of(document["annotations"])):
        stem = image.get("image_id")
        if not isinstance(stem, str) or not stem:
            source.problems.add("malformed entries, left out", f"{source.file}: annotations[{number}]: no image_id")
            continue
        if name := source.image_of_stem(stem):
            words = WordList(f"{source.file}: image {stem}", source.problems)
            for place, shape in _shapes(dicts_of(image.get("paragraphs"))):
                with words.entry_of(place):
                    words.add(Shape(points_of(shape.get("vertices")), text_of(shape.get("text")), _ignored(shape)))
            yield words.entry(name, size=(image.get("image_height"), image.get("image_width")))


def _shapes(paragraphs: list[dict]) -> Iterator[tuple[str, dict]]:
    """Words, and paragraphs and lines without any, marked as not legible."""
    for number, paragraph in enumerate(paragraphs):
        lines = dicts_of(paragraph.get("lines"))
        if not any(dicts_of(line.get("words")) for line in lines):
            yield f"paragraphs[{number}]", {**paragraph, "text": "", "legible": False}
            continue
        for position, line in enumerate(lines):
            place = f"paragraphs[{number}].lines[{position}]"
            words = dicts_of(line.get("words"))
            if not words:
                yield place, {**line, "text": "", "legible": False}
            for index, word in enumerate(words):
                yield f"{place}.words[{index}]", word


def _ignored(word: dict) -> bool:
    return word.get("legible") is False or text_of(word.get("text")).strip() == DONT_CARE


FORMAT = Format("hiertext", find, read)
