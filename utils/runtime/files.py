"""Files that are replaced atomically, and outputs that must not be inputs.

A reader of a file sees the old one or the new one, never a part of it; nor does a full disk leave a part.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from utils.errors import UserError

_LONGEST_PREFIX = 50
"""Characters of a name that a temporary file's name repeats: file systems allow 255 bytes altogether."""

UNFINISHED = ".unfinished"
"""How the names of temporary files end, but for a suffix that their writer needs."""


@contextlib.contextmanager
def atomic_file(path: str | Path, sync: bool = True) -> Iterator[BinaryIO]:
    """A binary file, readable and writable, that replaces `path` when the `with` block ends.

    It is a temporary file in the folder of `path`, which must exist. At the end of the block it is flushed, synced to
    the disk (fsync) and renamed. If the block or one of these steps raises, the temporary file is removed and `path`
    is unchanged. An `OSError` names `path`, not the temporary file. If `path` is a link, the link is replaced and its
    target stays.

    The temporary file of a process that is killed stays. The next call for the same path with sync removes it, and so
    does `remove_unfinished`.

    sync: False for small files that a rerun can write again; a power cut may then lose them.
    """
    path = Path(path)
    temporary, lock, prefix = None, None, temporary_prefix(path)
    if sync:
        remove_unfinished(path.parent, prefix)
    try:
        handle, lock, temporary = make_locked(path.parent, prefix)
        with os.fdopen(handle, "w+b") as file:
            yield file
            file.flush()
            if sync:
                os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~umask())
        os.replace(temporary, path)
        temporary = None
        if sync:
            _sync_folder(path.parent)
    except OSError as error:
        if error.filename is None or Path(error.filename).name.startswith(prefix):
            error.filename, error.filename2 = str(path), None
        raise
    finally:
        if temporary is not None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
        if lock is not None:
            os.close(lock)


def make_locked(folder: Path, prefix: str, suffix: str = "") -> tuple[int, int, str]:
    """A new temporary file: its descriptor, a second one that holds a lock on it until it is closed, and its path."""
    while True:
        handle, name = tempfile.mkstemp(dir=folder, prefix=prefix, suffix=f"{UNFINISHED}{suffix}")
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        if os.path.exists(name):
            return handle, os.dup(handle), name
        os.close(handle)  # `remove_unfinished` was faster than the lock


def remove_unfinished(folder: Path, prefix: str = ".") -> None:
    """Remove temporary files in a folder whose process was killed: those that no process holds the lock of.

    prefix: only those whose names begin so.
    """
    names: list[str] = []
    with contextlib.suppress(OSError):  # whoever writes there reports it
        names = [name for name in os.listdir(folder) if name.startswith(prefix) and UNFINISHED in name]
    for path in (folder / name for name in names):
        with contextlib.suppress(OSError), open(path, "r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()


def temporary_prefix(path: Path) -> str:
    """How the names of temporary files for `path` begin: hidden, and within the limits of file systems."""
    return f".{path.name[:_LONGEST_PREFIX]}."


def write_file(path: str | Path, contents: bytes | str) -> None:
    """Write a file atomically, a text as UTF-8, without fsync. Raises OSError, which names `path`."""
    with atomic_file(path, sync=False) as file:
        file.write(contents if isinstance(contents, bytes) else contents.encode())


def append_line(path: str | Path, line: str) -> None:
    """Append a line to a text file (UTF-8), or nothing: a full disk leaves no part of it. Raises OSError.

    Bytes of file names that are not UTF-8 are written as escapes, as JSON has them: `\\udc80`.
    """
    path = os.fspath(path)
    with open(path, "ab", buffering=0) as file:
        end = file.seek(0, os.SEEK_END)
        data = f"{line}\n".encode(errors="backslashreplace")
        try:
            written = file.write(data)
            while written < len(data):  # the disk has room for a part
                written += file.write(data[written:])
        except OSError as error:
            file.truncate(end)
            error.filename = path
            raise


def copy_file(source: str | Path, path: str | Path) -> None:
    """Copy a file atomically, without fsync. Raises OSError; that of a full disk names `path`."""
    with open(source, "rb") as file, atomic_file(path, sync=False) as copy:
        shutil.copyfileobj(file, copy, 1 << 20)


def refuse_overlap(
    outputs: Iterable[str | Path | None], inputs: Iterable[str | Path | None], *, inside: bool = True
) -> None:
    """Raise `UserError` if an output is one of the inputs, or lies inside an input folder.

    Links are resolved, and files and folders that exist are compared by their identity, which hard links share. Paths
    that are None or do not exist are permitted. inside: False where an output may lie inside an input folder.
    """
    given = {_identity(path): Path(path) for path in inputs if path and os.path.exists(path)}
    for output in (Path(path) for path in outputs if path):
        if os.path.exists(output) and (found := given.get(_identity(output))):
            what = "the folder of the input" if found.is_dir() else "an input"
            raise UserError(f"{output}: it is {what} {found}, which would be overwritten; give another path")
        for folder in output.resolve().parents if inside else ():
            if folder.exists() and (found := given.get(_identity(folder))):
                raise UserError(f"{output}: it is inside the input folder {found}; give a path outside of it")


def contains(folder: Path, path: str | Path) -> bool:
    """Whether a path, links resolved, is the folder or inside of it."""
    place = Path(path).resolve()
    return _identity(folder) in [_identity(each) for each in (place, *place.parents) if each.exists()]


def _identity(path: str | Path) -> tuple[int, int]:
    """What all paths of one file or folder have in common."""
    state = os.stat(path)
    return state.st_dev, state.st_ino


def link_or_copy(path: Path, other: Path) -> None:
    """Replace `other` atomically by a hard link to `path`, or by a copy where the file system has no hard links."""
    temporary = other.with_name(f".{other.name}.link")
    temporary.unlink(missing_ok=True)
    try:
        os.link(path, temporary)
    except OSError:
        with open(path, "rb") as source, atomic_file(other) as file:
            shutil.copyfileobj(source, file)
    else:
        os.replace(temporary, other)
        _sync_folder(other.parent)


def umask() -> int:
    """Permission bits that new files of this process do not get."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sync_folder(folder: Path) -> None:
    """Sync the folder to the disk, so that the renaming survives a power cut; not all file systems support it."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
