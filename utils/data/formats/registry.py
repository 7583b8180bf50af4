"""All formats, and the way from a folder to its images' words.

    folder = Folder("my_frames")
    recognised = recognise(folder)             # labelme: a.json and others are of labelme: ...
    entries = read_entries(folder, recognised, problems)

To add a format: a module with a `Format` (see `utils.data.formats.base`), and a line in `FORMATS`.
"""

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np

from utils.data.formats import (
    coco,
    cocotext,
    cvat,
    gt_mat,
    hiertext,
    icdar2003,
    labelme,
    ppocrlabel,
    td500,
    totaltext,
    txt,
    yolo,
)
from utils.data.formats.base import Finding, Format, Source, is_written
from utils.data.formats.entries import Entry, Malformed
from utils.data.formats.folder import Folder
from utils.data.formats.names import part_of, part_of_word
from utils.data.formats.sizes import fit_to_picture
from utils.data.formats.split import no_images
from utils.data.problems import Problems
from utils.errors import UserError

_MODULES = gt_mat, cvat, icdar2003, labelme, hiertext, cocotext, coco, ppocrlabel, totaltext, td500, yolo, txt

FORMATS: dict[str, Format] = {module.FORMAT.name: module.FORMAT for module in _MODULES}
"""By name, in the order in which they are tried: the stricter ones first."""


class Recognised(NamedTuple):
    """The format of a folder."""

    format: Format
    files: list
    """Paths of the annotation files."""
    reason: str
    others: tuple[str, ...] = ()
    """Names of other formats, of which there are annotation files, too."""


def recognise(folder: Folder, name: str | None = None) -> Recognised:
    """The format by the contents of the folder's files; name: only this one. Raises `UserError`."""
    if name is not None and name not in FORMATS:
        raise UserError(f"format {name}: there is no such format; expected one of {', '.join(FORMATS)}")
    tried = [FORMATS[name]] if name else list(FORMATS.values())
    found = [(each, finding) for each in tried if (finding := each.find(folder))]
    if name and not found and (finding := _all_empty(folder, FORMATS[name])):
        found = [(FORMATS[name], finding)]
    if not found:
        what = f"of the format {name}" if name else "in a known format"
        raise UserError(
            f"{folder.only or folder.root}: no sample dataset: no annotation {what} among {len(folder.paths)} files "
            f"({len(folder.images)} images); docs/data.md shows the folders and an example of each format"
        )
    (chosen, finding), *others = found
    return Recognised(chosen, finding.files, finding.reason, tuple(other.name for other, _ in others))


def _all_empty(folder: Folder, of_format: Format) -> Finding | None:
    """The annotation files of a format, if there are some and all of them are empty."""
    files = folder.files(*of_format.empty_suffixes)
    if not files or any(map(is_written, files)):
        return None
    return Finding(files, f"{folder.relative(files[0])} and all other {files[0].suffix} files are empty")


def read_entries(folder: Folder, recognised: Recognised, problems: Problems, part: str | None = None) -> list[Entry]:
    """The entries of `iterate_entries` as a list. Raises `UserError` if there are none."""
    entries = list(iterate_entries(folder, recognised, problems, part))
    if not entries:
        place = folder.only or folder.root
        parts = {_part_of_file(folder, recognised, file) for file in recognised.files}
        if part and part not in parts and None not in parts:
            raise no_images(place, part, f"{parts.pop()} by the name of {folder.relative(recognised.files[0])}")
        raise UserError(f"{place}: no image with annotation ({recognised.format.name}){problems.first()}")
    return entries


def iterate_entries(
    folder: Folder, recognised: Recognised, problems: Problems, part: str | None = None
) -> Iterator[Entry]:
    """The folder's images and their words, each with its part where something says which.

    part: files of which the name says that they are of the other part are not read. An image that several files are
    about counts once, by the first. Images without annotation are left out and counted.
    """
    names: set[str] = set()
    skipped = False
    for file in recognised.files:
        file_part = _part_of_file(folder, recognised, file)
        if part and file_part and file_part != part:
            skipped = True
            continue
        try:
            for entry in recognised.format.read(Source(folder, file, problems)):
                if entry.name in names:
                    problems.add("images with two annotations, the first one used", f"{file}: {entry.name}")
                    continue
                names.add(entry.name)
                if entry.broken:
                    problems.add("images whose annotation has no readable word, left out", f"{file}: {entry.name}")
                    continue
                fitted = fit_to_picture(entry, folder.root / entry.name, file, problems)
                yield fitted._replace(part=entry.part or file_part or part_of(entry.name))
        except Malformed as error:
            if len(recognised.files) == 1:
                raise UserError(f"{file}: cannot be read as {recognised.format.name}: {error}") from None
            problems.add("annotation files that cannot be read, left out", f"{file}: {error}")
    if not folder.only and (recognised.format.one_file_an_image or not skipped):
        parts = (None, part) if part else (None, "train", "test")
        unlisted = [name for name in folder.images if name not in names and part_of(name) in parts]
        yield from _unlisted_entries(unlisted, recognised.format, problems)


def _part_of_file(folder: Folder, recognised: Recognised, file) -> str | None:
    """By the folders' names; of a file about many images by its own name, too."""
    part = part_of(folder.relative(file))
    return part if part or recognised.format.one_file_an_image else part_of_word(PurePosixPath(file.name).stem)


def _unlisted_entries(names: list[str], of_format: Format, problems: Problems) -> Iterator[Entry]:
    """Images without annotation: without words by the format's rules, or left out; counted either way."""
    for name in names:
        if of_format.unlisted_are_empty:
            problems.add("images without a label file, used as images without words", name)
            yield Entry(name, np.zeros((0, 4, 2)), np.zeros(0, bool), [], part_of(name))
        else:
            problems.add("images without annotation, left out", name)
