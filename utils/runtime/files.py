"""Files that are replaced atomically: a reader sees the old file or the new one, never a part of it."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


@contextlib.contextmanager
def atomic_file(path: str | Path) -> Iterator[BinaryIO]:
    """A binary file, readable and writable, that replaces `path` when the `with` block ends.

    It is a temporary file in the folder of `path`, which must exist. At the end of the block it is flushed, synced to
    the disk (fsync) and renamed. If the block or one of these steps raises, the temporary file is removed and `path`
    is unchanged. An `OSError` names `path`, not the temporary file.
    """
    path = Path(path)
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
        temporary = None
        _sync_folder(path.parent)
    except OSError as error:
        if error.filename is None or Path(error.filename).name.startswith(f".{path.name}."):
            error.filename, error.filename2 = str(path), None
        raise
    finally:
        if temporary is not None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)


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


def _umask() -> int:
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
