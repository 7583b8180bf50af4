"""What a format is: how it is recognised, read and written."""

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from utils.data.formats.entries import Entry
from utils.data.formats.folder import Folder
from utils.data.formats.text_files import head_of
from utils.data.problems import Problems


class Source(NamedTuple):
    """One annotation file to read."""

    folder: Folder
    file: Path
    problems: Problems
    """What is left out is counted here."""

    def image(self, name: object) -> str | None:
        """Path, relative to the folder, of the image with this name; a missing one is counted."""
        found = self.folder.find_image(name, self.file) if isinstance(name, str) and name and "\0" not in name else None
        return found if found else self._missing(str(name))

    def image_of_stem(self, stem: str) -> str | None:
        found = self.folder.find_stem(stem, self.file)
        return found if found else self._missing(f"{stem}.*")

    def _missing(self, name: str) -> None:
        self.problems.add("annotations whose image is missing, left out", f"{self.file}: {name[:200]}")


class Finding(NamedTuple):
    """Annotation files of a format, and by what they were recognised."""

    files: list[Path]
    reason: str


class Output(NamedTuple):
    """Where a writer puts a part of a data set."""

    root: Path
    part: str
    """"train" or "test"."""
    problems: Problems
    """What the format cannot say is counted here."""
    place_image: Callable[[str, Path], None]
    """(name of the entry, path in the output): puts the image there."""
    size_of: Callable[[str], tuple[int, int]]
    """Name of the entry -> height and width of its image."""


@dataclasses.dataclass(frozen=True)
class Format:
    """An annotation format. `find` looks into the files; the first format in the registry that finds some is read."""

    name: str
    find: Callable[[Folder], Finding | None]
    read: Callable[[Source], Iterable[Entry]]
    """Raises `Malformed` for a file that cannot be read at all."""
    write: Callable[[Output, Iterator[Entry]], int] | None = None
    """Returns the number of images written."""
    replace: Callable[[Source, dict[str, Entry]], bytes] | None = None
    """Of a format with one file for many images: the file's contents with these images' words replaced, and the rest as
    it is. Those that are found are removed from the dictionary (by path of the image). Raises `Malformed`."""
    one_file_an_image: bool = False
    """Whether an image without annotation file was forgotten; else the one file lists the images."""
    unlisted_are_empty: bool = False
    """Whether an image without annotation file is one without words, by the format's rules."""
    empty_suffixes: tuple[str, ...] = ()
    """Of annotation files that are empty for an image without words."""


_MOST_LISTS = 50


def list_files(folder: Folder, matches: Callable[[Path], bool], *suffixes: str) -> list[Path]:
    """The matching files with these suffixes, for formats with one file for many images.

    Only the 50 files nearest to the root are looked at: more of them are files of one image each.
    """
    files = folder.files(*suffixes)
    nearest = sorted(files, key=lambda file: len(file.parts))[:_MOST_LISTS]
    return [file for file in files if file in set(nearest) and matches(file)]


def first_files(folder: Folder, matches: Callable[[Path], bool], *suffixes: str) -> list[Path]:
    """All files with these suffixes, if one of the first 20 that are not empty matches; else none."""
    return if_any_matches(folder.files(*suffixes), matches)


def if_any_matches(files: list[Path], matches: Callable[[Path], bool]) -> list[Path]:
    """The files, if one of the first 20 that are not empty matches; else none."""
    return files if any(map(matches, first_written(files))) else []


def first_written(files: Iterable[Path]) -> Iterator[Path]:
    """The first 20 files that are not empty: an empty one is of an image without words, and says nothing else."""
    return itertools.islice(filter(is_written, files), 20)


def is_written(file: Path) -> bool:
    """Whether there is something in a file besides blanks, line ends and byte order marks."""
    return bool(head_of(file, 64).strip(b"\xef\xbb\xbf\xff\xfe\0 \t\r\n"))
