"""Draft annotations as files of an annotation format, with their pictures; and the files read again."""

import os
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from utils.data.formats.base import Output, Source
from utils.data.formats.entries import Entry, Malformed
from utils.data.formats.folder import Folder
from utils.data.formats.registry import FORMATS, iterate_entries, recognise
from utils.data.formats.shared_names import SharedNames
from utils.data.images import write_image
from utils.data.problems import Problems
from utils.errors import UserError
from utils.labelling.drafts import DraftFrame, as_written, write_record
from utils.labelling.frames import SourceFrame
from utils.runtime.files import copy_file, write_file

DRAFT_FORMATS = "labelme", "ppocrlabel", "cvat", "txt"

_HELD = ".pictures"
"""Folder in the output that holds the pictures until the annotations are written."""


class DraftFolder:
    """The folder that drafts are written to. It must be new or empty."""

    def __init__(self, root: Path, file_format: str):
        if root.exists() and (not root.is_dir() or any(root.iterdir())):
            raise UserError(f"{root}: there is something at this path already; give a new or an empty folder")
        self.root, self.file_format = root, file_format
        self._held = root / _HELD

    def refuse_shared_names(self, names: Iterable[tuple[str, str]]) -> None:
        """Raise `UserError` if two of the pictures would share a picture or an annotation file in the output.

        names: (name in the source, name in the output) of all pictures.
        """
        shared = SharedNames(FORMATS[self.file_format])
        for source, name in names:
            shared.add(source, name)

    def keep(self, frame: SourceFrame) -> None:
        """Hold the picture of a chosen frame: a copy of its file, or a JPEG of a video's frame."""
        place = self._held / frame.name
        place.parent.mkdir(parents=True, exist_ok=True)
        if frame.path:
            copy_file(frame.path, place)
        else:
            write_image(place, frame.image)

    def write(self, source: Path, drafts: Sequence[DraftFrame], problems: Problems) -> None:
        """Write the annotations, move the pictures to their places, write the record."""
        drafts = [as_written(draft, self.file_format) for draft in drafts]
        sizes = {draft.name: draft.size for draft in drafts}

        def place(name: str, target: Path) -> None:
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(self._held / name, target)

        output = Output(self.root, "train", problems, place, sizes.__getitem__)
        _write(output, self.file_format, (draft.entry() for draft in drafts))
        self.close()
        write_record(self.root, source, self.file_format, drafts)

    def close(self) -> None:
        """Remove the pictures that are still held: nothing hidden stays after an interruption."""
        shutil.rmtree(self._held, ignore_errors=True)


def read_drafted(root: Path, file_format: str, drafts: Sequence[DraftFrame], problems: Problems) -> dict[str, Entry]:
    """The annotations of a drafted folder, as they are now, by the names of its frames. Raises `UserError`."""
    folder = Folder(root)
    names = {image: name for name, image in _pictures(folder, [draft.name for draft in drafts]).items()}
    entries = {}
    for entry in iterate_entries(folder, recognise(folder, file_format), problems):
        if name := names.get(entry.name):
            entries[name] = entry._replace(name=name, part="train")
    return entries


def _pictures(folder: Folder, names: Iterable[str]) -> dict[str, str]:
    """Name of a frame -> its picture in the folder: of several that end in this name, the one in the fewest folders."""
    known = set(names)
    found: dict[str, str] = {}
    for image in sorted(folder.images, key=lambda image: image.count("/")):
        if name := next((name for name in _ends(image) if name in known), None):
            found.setdefault(name, image)
    return found


def _ends(name: str) -> list[str]:
    """The path, and the path without its first folders."""
    parts = name.split("/")
    return ["/".join(parts[start:]) for start in range(len(parts))]


def replace_annotations(root: Path, file_format: str, entries: Iterable[Entry], drafts: Sequence[DraftFrame]) -> None:
    """Replace the words of these entries, each file atomically. The pictures and all other words stay as they are.

    Raises `UserError`, also without entries, for a file of many images that cannot be changed; nothing is written then.
    """
    if FORMATS[file_format].one_file_an_image:
        _replace_files(root, file_format, entries, drafts)
    else:
        _replace_in_lists(root, file_format, entries)


def _replace_in_lists(root: Path, file_format: str, entries: Iterable[Entry]) -> None:
    """In the files from which they are read."""
    replace, folder = FORMATS[file_format].replace, Folder(root)
    assert replace
    changed = {entry.name: entry for entry in entries}
    pending = {image: changed[name] for name, image in _pictures(folder, changed).items()}
    contents = {}
    for file in recognise(folder, file_format).files:
        count = len(pending)
        try:
            data = replace(Source(folder, file, Problems()), pending)
        except Malformed as error:
            raise UserError(f"{file}: no words can be carried over: {error}") from None
        if len(pending) < count:
            contents[file] = data
    for file, data in contents.items():
        write_file(file, data)


def _replace_files(root: Path, file_format: str, entries: Iterable[Entry], drafts: Sequence[DraftFrame]) -> None:
    sizes = {draft.name: draft.size for draft in drafts}
    with tempfile.TemporaryDirectory(dir=root, prefix=".annotations") as place:
        temporary = Path(place)

        def make_folder(name: str, target: Path) -> None:
            target.parent.mkdir(parents=True, exist_ok=True)

        _write(Output(temporary, "train", Problems(), make_folder, sizes.__getitem__), file_format, iter(entries))
        for path in sorted(path for path in temporary.rglob("*") if path.is_file()):
            os.replace(path, root / path.relative_to(temporary))


def _write(output: Output, file_format: str, entries: Iterable[Entry]) -> None:
    write = FORMATS[file_format].write
    assert write
    output.root.mkdir(parents=True, exist_ok=True)
    write(output, iter(entries))
