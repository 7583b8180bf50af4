"""The folder of a run: its lock, the files of earlier runs, and its table of epochs, results.csv."""

import contextlib
import csv
import fcntl
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TextIO

from utils.errors import UserError, printable

RESULTS = "results.csv"
_RUN_FILES = ("last.pt", "best.pt", "epoch_*.pt", RESULTS, "skipped*.csv", "tensorboard")
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
        for unfinished in folder.glob(".*.pt.*"):  # of a run that was killed while it saved
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


def append_row(path: Path, row: Mapping[str, object]) -> None:
    """Append a line to a CSV file; a new file gets a header."""
    new = not path.exists()
    with open(path, "a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(row), extrasaction="ignore")
        if new:
            writer.writeheader()
        writer.writerow(row)


def ensure_row(path: Path, row: Mapping[str, object]) -> None:
    """Append an epoch's line unless the file has it: a run may be killed between checkpoint and table."""
    if path.exists():
        with open(path, newline="", encoding="utf-8") as file:
            if any(line["epoch"] == str(row["epoch"]) for line in csv.DictReader(file)):
                return
    append_row(path, row)
