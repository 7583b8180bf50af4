"""A run's folder: locked while the run lasts, never overwritten by another, its table of epochs."""

import contextlib
import csv
import fcntl
from collections.abc import Iterator, Mapping
from pathlib import Path

from utils.errors import UserError

RESULTS = "results.csv"
_OF_A_RUN = ("last.pt", "best.pt", "epoch_*.pt", RESULTS, "skipped*.csv", "tensorboard")


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Make the folder and keep other runs out of it. Raises `UserError` where one is at work."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"{folder}: another run is writing there; wait for it or give another --save-dir") from None
        for torn in folder.glob(".*.pt.*"):  # of a run that was killed while it saved
            torn.unlink()
        yield


def set_aside(folder: Path) -> Path | None:
    """Move an earlier run's files into a subfolder of their own, so that a new run overwrites none of them."""
    files = [file for pattern in _OF_A_RUN for file in folder.glob(pattern)]
    if not files:
        return None
    number = 1
    while (aside := folder / f"earlier-{number}").exists():
        number += 1
    aside.mkdir()
    for file in files:
        file.rename(aside / file.name)
    return aside


def append_row(path: Path, row: Mapping[str, object]) -> None:
    """Add a line to a CSV file; the first one gets the header."""
    new = not path.exists()
    with open(path, "a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(row), extrasaction="ignore")
        if new:
            writer.writeheader()
        writer.writerow(row)


def ensure_row(path: Path, row: Mapping[str, object]) -> None:
    """Add an epoch's line unless it is there: a run may have been killed between checkpoint and table."""
    if path.exists():
        with open(path, newline="", encoding="utf-8") as file:
            if any(line["epoch"] == str(row["epoch"]) for line in csv.DictReader(file)):
                return
    append_row(path, row)
