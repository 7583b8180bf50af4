"""A folder for results: each input's results have a name of their own, and files of others are never overwritten.

The folder keeps a list, `.COMMAND.results`, of the names that the command gave: a later run gives the same input the
same name and may replace its files. A line of the list is JSON: `{"name": NAME, "source": PATH}`, or `{"file": NAME}`.
"""

import hashlib
import itertools
import json
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from utils.errors import UserError
from utils.runtime.files import remove_unfinished, write_file

LONGEST_NAME = 180
"""Bytes; a longer name is cut and gets a digest, so that prefixes, suffixes and temporary files have room."""

_BETWEEN = "__"
"""Between the folders and the name of the file."""

Source = Path | str
"""A file, or what is recorded, such as a camera: then each run gets a new name."""


class ResultFolder:
    """The folder of a command's results; it is created.

    command: names the list in the folder. patterns: of the names of the results' files, the name of their input as the
    first group.

    The name of an input is the name of its file without the suffix. If several inputs share it, or if files of that
    name exist that are no results of this command, then it is the first of these that is free: the name with the
    suffix (`clip.avi`), with the folder before it (`a__same`), with both, with one folder more, and so on.
    """

    def __init__(self, folder: Path, command: str, *patterns: str):
        self.folder, self._patterns = folder, [re.compile(pattern, re.DOTALL) for pattern in patterns]
        self._list = folder / f".{command}.results"
        self._names: dict[str, str] = {}
        self._files: set[str] = set()
        folder.mkdir(parents=True, exist_ok=True)
        remove_unfinished(folder)
        for line in self._read():
            if "name" in line and "source" in line:
                self._names[line["source"]] = line["name"]
            elif "file" in line:
                self._files.add(line["file"])

    @property
    def names(self) -> set[str]:
        """All names that are given, in earlier runs, too."""
        return set(self._names.values())

    def forget(self) -> None:
        """Remove the files of the earlier runs on the list, for a command whose results are replaced together."""
        own = self.names
        for file in os.listdir(self.folder):
            if file in self._files or own.intersection(self._names_of(file)):
                (self.folder / file).unlink(missing_ok=True)
        self._names, self._files = {}, set()
        self.save()

    def name_sources(self, sources: Iterable[Source], is_free: Callable[[str], bool] = bool) -> dict[Source, str]:
        """Give each source a name. `save` the list before any result is written.

        is_free: whether a name is free for all that the caller knows.
        """
        keys = {source: _key(source) for source in sources}
        new = {key: source for source, key in keys.items() if key not in self._names}
        waiting = {key: candidates(source) for key, source in new.items()}
        taken = self.names.union(*map(self._names_of, os.listdir(self.folder)))
        taken = {name.casefold() for name in taken}  # some file systems do not distinguish capital letters
        while waiting:
            proposed = {key: next(names) for key, names in waiting.items()}
            counts = Counter(name.casefold() for name in proposed.values())
            for key, name in proposed.items():
                if counts[name.casefold()] == 1 and name.casefold() not in taken and is_free(name):
                    self._names[key] = name
                    taken.add(name.casefold())
                    del waiting[key]
        return {source: self._names[key] for source, key in keys.items()}

    def _names_of(self, file: str) -> set[str]:
        """The names whose results a file may be."""
        return {found[1] for pattern in self._patterns if (found := pattern.fullmatch(file))}

    def files_of(self, name: str) -> set[str]:
        """The names of the files in the folder that may be results of the input of this name."""
        return {file for file in os.listdir(self.folder) if name in self._names_of(file)}

    def claim(self, file_name: str) -> Path:
        """The path of a result that is not one input's. Raises `UserError` if the command did not write the file."""
        path = self.folder / file_name
        if file_name not in self._files and os.path.lexists(path):
            raise UserError(f"{path}: a file that is not of an earlier run; move it, or give another folder")
        self._files.add(file_name)
        self.save()
        return path

    def _read(self) -> Iterator[Mapping[str, str]]:
        try:
            text = self._list.read_text(encoding="utf-8")
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            raise UserError(f"{self._list}: cannot be read ({error}); give another folder") from None
        for line in text.splitlines():
            try:
                contents = json.loads(line)
            except ValueError:
                contents = None
            if not isinstance(contents, dict) or not all(isinstance(value, str) for value in contents.values()):
                raise UserError(f"{self._list}: {line[:60]!r} is no line of it; give another folder")
            yield contents

    def save(self) -> None:
        """Write the list. Raises OSError."""
        lines: list[dict[str, str]] = [{"name": name, "source": source} for source, name in self._names.items()]
        lines += [{"file": name} for name in sorted(self._files)]
        write_file(self._list, "".join(f"{json.dumps(line)}\n" for line in lines))


def candidates(source: Source) -> Iterator[str]:
    """Possible names of a source's results, the preferred one first; endless."""
    name = source if isinstance(source, str) else source.name
    if isinstance(source, Path):
        *folders, _ = Path(os.path.abspath(source)).parts[1:]
        for count in range(len(folders) + 1):
            above = folders[len(folders) - count :]
            for end in dict.fromkeys((source.stem, name)):
                yield shortened(_BETWEEN.join([*above, end]))
    else:
        yield shortened(name)
    for number in itertools.count(2):
        yield shortened(f"{name}-{number}")


def _key(source: Source) -> str:
    """What the list calls a source: a file by its name and the real path of its folder."""
    if isinstance(source, str):
        return f"{source}, recorded {time.time_ns()}"
    return os.path.join(os.path.realpath(source.parent), source.name)


def shortened(name: str) -> str:
    """The name; one of more than `LONGEST_NAME` bytes is cut and ends with a digest of the whole."""
    data = os.fsencode(name)
    if len(data) <= LONGEST_NAME:
        return name
    digest = hashlib.blake2b(data, digest_size=6).hexdigest()
    return f"{data[: LONGEST_NAME - 13].decode('utf-8', 'ignore')}-{digest}"
