"""The folder of a data set that a tool writes: a new one, or one that replaces an earlier data set as a whole.

The folder keeps a list, `.data-set`, of the files that the tool wrote, a JSON string a line. Only these are ever
removed.
"""

import contextlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from utils.errors import UserError
from utils.runtime.files import UNFINISHED, contains, refuse_overlap, temporary_prefix, write_file

LIST = ".data-set"
_INDEX = ".mat.index"
"""Suffix of an annotation index, which training writes beside a gt.mat and can write again."""

REPLACE_HELP = "replace an earlier data set of these tools in the folder as a whole"
"""Of the option --replace."""


@contextlib.contextmanager
def data_set_folder(folder: Path, inputs: Iterable[str | Path | None] = (), *, replace: bool = False) -> Iterator[Path]:
    """Within the block, the folder to write a new data set to: empty at first.

    inputs: what the data set is made of; the folder may not be one of them or inside of them. replace: for an earlier
    data set in the folder. Then the block writes to a temporary folder beside it, which replaces it at the end of the
    block; after an error the earlier data set is unchanged. Raises `UserError` for a folder with other files, and
    changes nothing then. What is written is listed at the end of the block, also after an error.
    """
    sources = [Path(path) for path in inputs if path]
    refuse_overlap([folder], sources)
    if os.path.lexists(folder) and not folder.is_dir():
        raise UserError(f"{folder}: a file, not a folder; give another path")
    if folder.is_dir() and any(folder.iterdir()):
        if not replace:
            more = ", or --replace it as a whole" if (folder / LIST).is_file() else ""
            raise UserError(f"{folder}: there is something in it already; give a new or an empty folder{more}")
        if lost := next((path for path in sources if contains(folder, path)), None):
            raise UserError(f"{folder}: the input {lost} is in it and would be removed; give another folder")
        _refuse_others(folder)
        with _replaced(folder.resolve()) as temporary, _listed(temporary):
            yield temporary
        return
    folder.mkdir(parents=True, exist_ok=True)
    with _listed(folder):
        yield folder


@contextlib.contextmanager
def _listed(folder: Path) -> Iterator[None]:
    """What is in the folder at the end of the block is listed, also after an error."""
    write_file(folder / LIST, "")
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # such as a full disk, which is reported already
            write_file(folder / LIST, "".join(f"{json.dumps(name)}\n" for name in _files(folder)))


@contextlib.contextmanager
def _replaced(folder: Path) -> Iterator[Path]:
    """A new folder beside an earlier data set's, which it replaces if the block ends without an error.

    A folder that cannot be renamed, such as a mount, receives the files one by one.
    """
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=temporary_prefix(folder), suffix=UNFINISHED))
    earlier = temporary.with_name(f"{temporary.name}.earlier")
    try:
        yield temporary
        os.chmod(temporary, stat.S_IMODE(folder.stat().st_mode))
        try:
            os.rename(folder, earlier)
        except OSError:
            _remove(folder)
            for path in temporary.iterdir():
                shutil.move(path, folder / path.name)
        else:
            try:
                os.rename(temporary, folder)
            except OSError:
                os.rename(earlier, folder)
                raise
            _remove(earlier)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _remove(folder: Path) -> None:
    """Remove the listed files and the folders that are empty then. Raises `UserError` if there are other files."""
    _refuse_others(folder)
    for name in (*_files(folder), LIST):
        (folder / name).unlink(missing_ok=True)
    for place, _, _ in os.walk(folder, topdown=False):
        with contextlib.suppress(OSError):  # the folder itself may be a mount
            os.rmdir(place)


def _refuse_others(folder: Path) -> None:
    """Raise `UserError` if there are other files than the listed ones in the folder."""
    try:
        listed = {json.loads(line) for line in (folder / LIST).read_text(encoding="utf-8").splitlines()}
    except (OSError, ValueError, TypeError):
        listed = set()
    found = _files(folder)
    if others := [name for name in found if name not in listed and not name.endswith(_INDEX)]:
        what = f"{others[0]} and {len(others) - 1} others were" if len(others) > 1 else f"{others[0]} was"
        raise UserError(f"{folder}: {what} not written by a tool that finished; remove the folder, or give another one")


def _files(folder: Path) -> list[str]:
    """The files and links in the folder, relative to it, without the list."""
    found = []
    for place, folders, names in os.walk(folder):
        links = [name for name in folders if os.path.islink(os.path.join(place, name))]
        found += [os.path.relpath(os.path.join(place, name), folder) for name in (*names, *links)]
    return sorted(name for name in found if name != LIST)
