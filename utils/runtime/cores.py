"""The CPU cores that a process may use, and how many threads it starts on them."""

import math
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUPS = Path("/proc/self/cgroup")


class Threads(NamedTuple):
    """A number of threads."""

    number: int
    reason: str
    """What it follows from, in words."""


def choose_threads(asked: int | None = None, processes: int = 1) -> Threads:
    """The threads of each of `processes` processes that share this machine's CPU.

    asked: of --threads. Without it OMP_NUM_THREADS decides, then the cores that the affinity mask and the CPU quota of
    the container leave.
    """
    if asked:
        return Threads(asked, "--threads")
    if chosen := re.match(r"\s*(\d+)", os.environ.get("OMP_NUM_THREADS", "")):
        return Threads(max(1, int(chosen[1])), "OMP_NUM_THREADS")
    quota, mask = quota_cores(), affinity_cores()
    reason = "cores" if quota is None or quota >= mask else f"CPU quota of {quota:g} cores"
    if processes > 1:
        reason += f", {processes} processes"
    return Threads(available_cores(processes), reason)


def available_cores(processes: int = 1) -> int:
    """The number of CPU cores that this process may use: of its affinity mask, and whole cores of its CPU quota.

    processes: that share them; each may use as many of them, at least one.
    """
    quota, mask = quota_cores(), affinity_cores()
    return max(1, (mask if quota is None else min(mask, math.floor(quota))) // processes)


def affinity_cores() -> int:
    """The number of CPU cores in this process's affinity mask."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def quota_cores(cgroups: Path = CGROUPS, own: Path = OWN_CGROUPS) -> float | None:
    """The CPU time per second that the process's control groups allow (cgroup v1 or v2); None without a limit."""
    quotas = [quota for folder in _folders(cgroups, own) if (quota := _read_quota(folder)) is not None]
    return min(quotas, default=None)


def _folders(cgroups: Path, own: Path) -> Iterator[Path]:
    """The folders of the process's control groups and of those around them."""
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, place = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        for root in {cgroups / controllers, cgroups / "cpu", cgroups} if controllers else {cgroups}:
            inner = root / place.lstrip("/")
            yield from (folder for folder in (inner, *inner.parents) if folder.is_relative_to(root))


def _read_quota(folder: Path) -> float | None:
    try:
        if (folder / "cpu.max").exists():
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota, period = ((folder / f"cpu.cfs_{name}_us").read_text().strip() for name in ("quota", "period"))
        return int(quota) / int(period) if quota not in {"max", "-1"} else None
    except (OSError, ValueError, ZeroDivisionError):
        return None
