"""The device that a process computes on, its threads and its precision."""

import os
from pathlib import Path

import torch

from utils.errors import UserError
from utils.runtime.distributed import ALONE, Ranks


def choose_device(ngpus: int, ranks: Ranks = ALONE) -> torch.device:
    """This process's GPU if one is asked for and there, else the CPU with its share of the cores as threads."""
    if not torch.cuda.is_available() and ranks.local_world > max(available_cores(), 2):
        raise UserError(
            f"--ngpus {ngpus}: no GPU here, and {available_cores()} cores; give --ngpus {available_cores()} or less"
        )
    if ngpus and torch.cuda.is_available():
        device = torch.device("cuda", ranks.local_rank)
        torch.cuda.set_device(device)
        return device
    torch.set_num_threads(max(1, available_cores() // ranks.local_world))
    return torch.device("cpu")


def describe_device(device: torch.device, ngpus: int) -> str:
    if device.type == "cuda":
        return f"GPU ({torch.cuda.get_device_name(device)})"
    why = "as asked by --ngpus 0" if ngpus == 0 else "no GPU found"
    return f"CPU ({why}), {torch.get_num_threads()} threads"


def cpu_multiplies_bf16() -> bool:
    """Has instructions that multiply bf16 (AMX, AVX-512 BF16): it trains about twice as fast; without them, many
    times slower."""
    try:
        flags = Path("/proc/cpuinfo").read_text().split()
    except OSError:
        return False
    return not {"amx_bf16", "avx512_bf16"}.isdisjoint(flags)


def count_workers(asked: int | None, device: torch.device) -> int:
    """Reading takes a small part of a core; on the CPU the network needs the others."""
    if asked is not None:
        return asked
    return 1 if device.type == "cpu" else min(available_cores(), 8)


def available_cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
