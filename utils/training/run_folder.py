"""The folder of a run: its lock, the files of earlier runs, and its table of epochs, results.csv."""

import contextlib
import csv
import fcntl
import fnmatch
import io
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TextIO

from utils.errors import UserError, printable
from utils.runtime.files import append_line, remove_unfinished, write_file

RESULTS = "results.csv"
_RUN_FILES = ("last.pt", "best.pt", "ema.pt", "epoch_*.pt", RESULTS, "skipped*.csv", "tensorboard")
_LOCK_SECONDS = 2.0


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Make the folder and lock it while the context lasts. Raises `UserError` if another run holds the lock.

    The lock is of this process alone (lockf): its workers do not inherit it. A run that has just been killed may take a
    moment to end, so the lock is tried for some seconds.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w") as lock:
        deadline = time.monotonic() + _LOCK_SECONDS
        while not _try_lock(lock):
            if time.monotonic() > deadline:
                cure = "wait for it or give another --save-dir"
                raise UserError(f"{folder}: another run is writing there; {cure}")
            time.sleep(0.05)
        remove_unfinished(folder)
        for unfinished in folder.glob(".*.pt.*"):  # of a run that was killed while it saved; also of the earlier code
            unfinished.unlink()
        yield


def _try_lock(file: TextIO) -> bool:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # either, by the system
        return False
    return True


def set_aside(folder: Path, continued: str | Path | None = None) -> Path | None:
    """Move an earlier run's files into a new subfolder, so that a new run does not overwrite them.

    continued: the checkpoint that the new run continues; if it is this folder's last.pt, its files stay. Returns the
    subfolder, None if no file is moved.
    """
    if continued and Path(continued).resolve() == (folder / "last.pt").resolve():
        return None
    files = [file for pattern in _RUN_FILES for file in folder.glob(pattern)]
    if not files:
        return None
    number = 1
    while (subfolder := folder / f"earlier-{number}").exists():
        number += 1
    subfolder.mkdir()
    for file in files:
        file.rename(subfolder / file.name)
    print(f"{printable(folder)} held an earlier run; its files are now in {printable(subfolder)}")
    return subfolder


def refuse_run_file(folder: Path, path: str | Path, name: str) -> None:
    """Raise `UserError` if a path is a file of a run in the folder, which a new run moves or overwrites.

    For an input that is read again when the run is resumed; then its place would hold another file. name: its option.
    """
    path, root = Path(path), folder.resolve()
    for place in (path.parent.resolve() / path.name, path.resolve()):
        inside = place.relative_to(root).parts if place.is_relative_to(root) else ()
        if any(fnmatch.fnmatchcase(part, pattern) for part in inside[:1] for pattern in _RUN_FILES):
            raise UserError(
                f"{name} {path}: the run in --save-dir {folder} moves or overwrites this file, and --resume reads it "
                "again; copy it to another folder, or give another --save-dir"
            )


def append_row(path: Path, row: Mapping[str, object]) -> None:
    """Append a line to a CSV file; a new or empty file gets a header."""
    is_new = not path.exists() or not path.stat().st_size
    append_line(path, format_rows(row, [row], header=is_new).removesuffix("\n"))


def repair_results(path: Path, row: Mapping[str, object]) -> None:
    """Make a results.csv end with an epoch's line, the last one of a checkpoint.

    A run may be killed between checkpoint and table, and a power cut may leave a part of a line, or an empty file:
    lines that are not complete, and those of later epochs, which the resumed run repeats, are removed.
    """
    text = path.read_bytes().decode(errors="replace") if path.exists() else ""
    lines = list(csv.reader(line for line in text.splitlines(keepends=True) if line.endswith("\n")))
    columns = lines[0] if lines and "epoch" in lines[0] else list(row)
    found: list[Mapping] = [dict(zip(columns, values, strict=True)) for values in lines if len(values) == len(columns)]
    epoch = int(str(row["epoch"]))
    kept = [line for line in found if line["epoch"].isdecimal() and int(line["epoch"]) < epoch]
    same = [line for line in found if line["epoch"] == str(epoch)]
    repaired = format_rows(columns, [*kept, *(same[:1] or [row])], header=True)
    if repaired.splitlines() != text.splitlines() or not text.endswith("\n"):
        write_file(path, repaired)


def format_rows(columns: Iterable[str], rows: Iterable[Mapping[str, object]], header: bool) -> str:
    """The rows as CSV; keys that are no columns are left out."""
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, list(columns), extrasaction="ignore")
    if header:
        writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()
