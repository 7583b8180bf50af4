"""PPOCRLabel's and PaddleOCR's label files: `path<TAB>[{"transcription": ..., "points": [[x, y], ...]}, ...]`.

A line an image. `difficult: true` marks a don't-care, as do the texts `###` and `*` (PaddleOCR leaves words with
these out of its loss). PPOCRLabel writes `Label.txt` beside the images with paths that start with the folder's name.
"""

import codecs
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from utils.data.formats.base import Finding, Format, Output, Source, list_files
from utils.data.formats.entries import (
    DONT_CARE,
    Entry,
    Malformed,
    Shape,
    WordList,
    dont_care_texts,
    points_of,
    shown,
    text_of,
)
from utils.data.formats.folder import Folder
from utils.data.formats.json_files import parse_json
from utils.data.formats.text_files import decode_text, head_of, read_bytes, read_text
from utils.data.problems import Problems
from utils.runtime.files import write_file

_DONT_CARE_TEXTS = DONT_CARE, "*"


def find(folder: Folder) -> Finding | None:
    files = list_files(folder, _is_label_file, ".txt")
    return Finding(files, f"{folder.relative(files[0])} has lines of a path, a tab and a JSON list") if files else None


def _is_label_file(file: Path) -> bool:
    line = head_of(file, 4096).lstrip(b"\xef\xbb\xbf \r\n").split(b"\n")[0]
    name, tab, words = line.partition(b"\t")
    return bool(name and tab and words.lstrip().startswith(b"["))


class _Line(NamedTuple):
    """A line that can be read."""

    number: int
    """From 0."""
    image: str
    """Path of its image in the folder."""
    items: list


def read(source: Source) -> Iterator[Entry]:
    for line in _lines(source, read_text(source.file, source.problems)):
        yield _entry(line.image, line.items, WordList(f"{source.file}:{line.number + 1}", source.problems))


def _lines(source: Source, content: str) -> Iterator[_Line]:
    """The lines whose image is there; malformed ones are counted."""
    for number, line in enumerate(content.split("\n")):
        path, tab, document = line.strip("\r").partition("\t")
        if not line.strip():
            continue
        place = f"{source.file}:{number + 1}"
        try:
            items = parse_json(document) if tab else None
            if not isinstance(items, list):
                raise Malformed(f"{shown(line)}; expected a path, a tab and a JSON list of words")
        except Malformed as error:
            source.problems.add("images with malformed annotation, left out", f"{place}: {error}")
            continue
        if name := source.image(path):
            yield _Line(number, name, items)


def _entry(name: str, items: list, words: WordList) -> Entry:
    for number, item in enumerate(items):
        with words.entry_of(f"word {number}"):
            if not isinstance(item, dict):
                raise Malformed(f"{shown(item)}; expected an object with transcription and points")
            text = text_of(item.get("transcription"))
            ignored = item.get("difficult") is True or text.strip() in _DONT_CARE_TEXTS
            words.add(Shape(points_of(item.get("points")), text, ignored))
    return words.entry(name)


def write(output: Output, entries: Iterator[Entry]) -> int:
    """`train/Label.txt` beside the images of `train/`, and the same for test."""
    folder, lines = output.root / output.part, []
    for entry in entries:
        output.place_image(entry.name, folder / entry.name)
        lines.append(f"{output.part}/{entry.name}\t{_document(entry, output.problems)}\n")
    folder.mkdir(parents=True, exist_ok=True)
    write_file(folder / "Label.txt", "".join(lines).encode())
    return len(lines)


def _document(entry: Entry, problems: Problems) -> str:
    """The words as JSON, on one line."""
    texts = dont_care_texts(entry, problems, _DONT_CARE_TEXTS)
    words = [
        {"transcription": text, "points": quad.tolist(), "difficult": bool(ignored)}
        for quad, ignored, text in zip(entry.quads, entry.ignored, texts, strict=True)
    ]
    return json.dumps(words, ensure_ascii=False)


def replace(source: Source, entries: dict[str, Entry]) -> bytes:
    """The file with other words on these images' lines; every other byte as it is. See `Format.replace`."""
    data = read_bytes(source.file)
    content = decode_text(data, str(source.file), Problems())
    mark = codecs.BOM_UTF8 if data.startswith(codecs.BOM_UTF8) else b""
    if mark + content.encode() != data:
        raise Malformed("it is not UTF-8; save it as UTF-8")
    lines = content.split("\n")
    for line in _lines(source, content):
        if entry := entries.pop(line.image, None):
            path, _, document = lines[line.number].partition("\t")
            end = "\r" if document.endswith("\r") else ""
            lines[line.number] = f"{path}\t{_document(entry, source.problems)}{end}"
    return mark + "\n".join(lines).encode()


FORMAT = Format("ppocrlabel", find, read, write, replace)
