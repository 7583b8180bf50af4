"""How a run ends early: what is printed, and the exit code that schedulers read."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

from utils.runtime.distributed import Ranks
from utils.runtime.signals import EXIT_STOPPED, Stopped
from utils.runtime.workers import WorkerLost
from utils.training.run import Run


@contextlib.contextmanager
def stoppable_start(ranks: Ranks) -> Iterator[None]:
    """Say what to do if a stop is requested while the block prepares a run."""
    try:
        yield
    except SystemExit as end:
        if end.code == EXIT_STOPPED:
            ranks.print("stopped before the first step; start it again with the same line")
        raise


@contextlib.contextmanager
def resumable(run: Run, folder: Path, resume_line: str) -> Iterator[None]:
    """Say what is saved, and what resumes the run, if it ends early: by a stop (exit code 75) or a lost worker."""
    last = folder / "last.pt"
    try:
        yield
    except Stopped:
        where = f"stopped in epoch {run.progress.epoch + 1}"
        if not last.exists():
            run.ranks.print(f"{where}, nothing is saved; start it again")
        else:
            saved = "all is saved" if run.is_saved else f"{last} is of an earlier step"
            run.ranks.print(f"{where}, {saved}; to resume, type:\n{resume_line}")
        sys.exit(EXIT_STOPPED)
    except WorkerLost as error:
        saved = "; all is saved" if run.is_saved else ""
        cure = f"{saved}; to resume, type: {resume_line}" if last.exists() else ""
        raise WorkerLost(f"{error}{cure}") from None
