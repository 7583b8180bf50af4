"""The device that a process computes on, its threads and its worker processes."""

import os
from pathlib import Path
from typing import NamedTuple

import torch

from utils.errors import UserError
from utils.runtime.cores import available_cores, choose_threads
from utils.runtime.distributed import ALONE, Ranks


class Machine(NamedTuple):
    """Where a process computes, and which of the processes that compute together it is."""

    device: torch.device
    ranks: Ranks = ALONE


def choose_device(ngpus: int, ranks: Ranks = ALONE, threads: int | None = None) -> torch.device:
    """This process's GPU if one is asked for and available, else the CPU; its share of the cores as threads.

    ngpus: of --ngpus; 0 for the CPU. threads: of --threads, see `choose_threads`.
    Raises `UserError` for more processes than the CPU has cores.
    """
    if not torch.cuda.is_available() and ranks.local_world > max(available_cores(), 2):
        raise UserError(
            f"--ngpus {ngpus}: no GPU here, and {available_cores()} cores; give --ngpus {available_cores()} or less"
        )
    if ngpus and torch.cuda.is_available():
        device = torch.device("cuda", ranks.local_rank)
        torch.cuda.set_device(device)
    else:
        device = torch.device("cpu")
    torch.set_num_threads(choose_threads(threads, ranks.local_world).number)  # on a GPU, the targets' counts use them
    return device


def describe_device(device: torch.device, ngpus: int, threads: int | None, ranks: Ranks = ALONE) -> str:
    """The device in words, for the header of a run; on the CPU with the number of threads; each with its reason."""
    if device.type == "cuda":
        return f"GPU ({torch.cuda.get_device_name(device)})"
    why = "as asked by --ngpus 0" if ngpus == 0 else "no GPU found"
    chosen = choose_threads(threads, ranks.local_world)
    return f"CPU ({why}), {torch.get_num_threads()} threads ({chosen.reason})"


def cpu_multiplies_bf16() -> bool:
    """Whether the CPU has instructions that multiply bf16 (AMX, AVX-512 BF16).

    With them training in bf16 is about twice as fast as in float32; without them it is many times slower.
    """
    try:
        flags = Path("/proc/cpuinfo").read_text().split()
    except OSError:
        return False
    return not {"amx_bf16", "avx512_bf16"}.isdisjoint(flags)


def use_deterministic_algorithms() -> None:
    """Make PyTorch compute the same numbers in every run, also on a GPU, where it is slower."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)


def count_workers(asked: int | None, machine: Machine, loaders: int = 1) -> int:
    """The number of worker processes that read data for this process.

    asked: of --num-workers. By default 1 on the CPU, where reading takes a small part of a core and the network needs
    the others; else one for each core of this process's share, 1 to 8. loaders: that work at the same time and share
    these workers by default, at least one each.
    """
    if asked is not None:
        return asked
    workers = 1 if machine.device.type == "cpu" else min(available_cores(machine.ranks.local_world), 8)
    return max(1, workers // loaders)
