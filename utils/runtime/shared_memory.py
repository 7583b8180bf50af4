"""Shared memory, through which worker processes hand over their batches: its size and what fits."""

import os
from typing import NamedTuple

FOLDER = "/dev/shm"
"""Where Linux keeps it. A Docker container has 64 MiB by default."""


class SharedMemory(NamedTuple):
    """Bytes of the shared memory."""

    size: int
    free: int


def measure_shared_memory() -> SharedMemory | None:
    """The size of the shared memory, and what is free; None where there is no /dev/shm."""
    try:
        usage = os.statvfs(FOLDER)
    except OSError:
        return None
    return SharedMemory(usage.f_blocks * usage.f_frsize, usage.f_bavail * usage.f_frsize)


def describe_shortage(batch_bytes: int, workers: int, prefetched: int) -> str:
    """What to tell a user whose shared memory is too small for the batches of so many workers.

    prefetched: batches that each worker prepares. One more batch is in use.
    """
    memory, needed = measure_shared_memory(), needed_bytes(batch_bytes, workers, prefetched)
    have = f"{mebibytes(memory.size)}, {mebibytes(memory.free)} of them free" if memory else "too small"
    larger = f"start the container with --shm-size={-(-needed * 5 // 4) // 2**20 + 1}m or more"
    return (
        f"{FOLDER} is too small for the batches: {have}; {workers} workers need {mebibytes(needed)} "
        f"({mebibytes(batch_bytes)} a batch); {larger}, or give fewer --num-workers (0 needs none), or a smaller "
        "--batch-size"
    )


def needed_bytes(batch_bytes: int, workers: int, prefetched: int) -> int:
    """The shared memory that batches take at most."""
    return batch_bytes * (workers * prefetched + 1)


def mebibytes(count: int) -> str:
    """A number of bytes in words."""
    return f"{count / 2**20:.0f} MiB"
