"""One process, or several that train one network together, by the same code.

`--ngpus N` starts N processes on this machine; `torchrun` starts them itself, on one machine or more.
"""

import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from multiprocessing.process import BaseProcess
from typing import NamedTuple, TypeVar

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from utils.errors import UserError, printable_lines, run_script
from utils.runtime.signals import EXIT_STOPPED, STOP_SIGNALS
from utils.runtime.workers import end_with_parent, parent_id

T = TypeVar("T")

GRACE_SECONDS = 20
"""Time for the other processes to end by themselves after one has ended."""


class Ranks(NamedTuple):
    """The position of this process among those that train together, as torchrun defines it."""

    rank: int = 0
    world: int = 1
    local_rank: int = 0
    local_world: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this is the process that prints and writes."""
        return self.rank == 0

    def sum(self, values: list[float]) -> list[float]:
        """Each value's sum over all processes, in float64 on the CPU; waits for no GPU."""
        if self.world == 1:
            return values
        total = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(total)
        return total.tolist()

    def gather(self, value: T) -> list[T]:
        """The values of all processes in the first one; in the others only their own."""
        if self.world == 1:
            return [value]
        values: list = [None] * self.world if self.is_first else []
        dist.gather_object(value, values or None)
        return values or [value]

    def broadcast(self, tensors: Iterable[torch.Tensor]) -> None:
        """Overwrite the tensors of each process with those of the first one."""
        if self.world > 1:
            for tensor in tensors:
                dist.broadcast(tensor, 0)

    def print(self, *words: object) -> None:
        """Print in the first process only."""
        if self.is_first:
            print(*map(printable_lines, words), flush=True)


ALONE = Ranks()


def launch(main: Callable, args, processes: int) -> None:
    """Run main(args, ranks) in `processes` new processes, or in this one: alone, or as one of torchrun's.

    args: must be picklable. processes: 0 for one that uses no GPU. A process that fails ends the run with its exit
    code. Signals to stop are passed on to all processes, as SIGTERM.
    """
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    if all(name in os.environ for name in names):  # as torchrun sets them
        if "TORCHELASTIC_RUN_ID" in os.environ:
            end_with_parent(signal.SIGTERM)  # torchrun itself ends at once where it does not know a signal
        _join(main, args, Ranks(*(int(os.environ[name]) for name in names)), on_gpus=processes > 0)
    elif processes <= 1:
        main(args, ALONE)
    else:
        sys.exit(_start(main, args, processes))


def _start(main: Callable, args, processes: int) -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(probe.getsockname()[1])}
    context = mp.get_context("spawn")
    children = [
        context.Process(target=_child, args=(main, args, Ranks(rank, processes, rank, processes)))
        for rank in range(processes)
    ]
    for child in children:
        child.start()
    stops = _pass_on_stops(children)
    while all(child.exitcode in (None, 0) for child in children) and any(child.is_alive() for child in children):
        time.sleep(0.05)
    first = next((child.exitcode for child in children if child.exitcode), 0)
    deadline = time.monotonic() + GRACE_SECONDS
    for child in children:
        child.join(max(deadline - time.monotonic(), 0))
        if child.is_alive():
            child.kill()
            child.join()
    if first >= 0:
        return first
    if stops and -first in STOP_SIGNALS:  # before the script could handle it: no step was taken
        return EXIT_STOPPED
    print(
        f"error: a training process was ended by signal {-first}; --resume continues from the last checkpoint",
        file=sys.stderr,
    )
    return 1


def _pass_on_stops(children: Sequence[BaseProcess]) -> list[int]:
    """Pass the signals to stop on to the processes, as SIGTERM. Returns the list of signals, which grows."""
    received: list[int] = []

    def forward(number: int, _frame) -> None:
        received.append(number)
        for child in children:
            if child.is_alive() and child.pid:
                os.kill(child.pid, signal.SIGTERM)

    for number in STOP_SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, forward)
    return received


def _child(main: Callable, args, ranks: Ranks) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole process group; the parent passes it on
    end_with_parent(signal.SIGKILL, parent_id())
    os.environ |= {"RANK": str(ranks.rank), "WORLD_SIZE": str(ranks.world)}
    run_script(lambda: _join(main, args, ranks))


def _join(main: Callable, args, ranks: Ranks, *, on_gpus: bool = True) -> None:
    gpus = torch.cuda.device_count() if on_gpus else 0
    if 0 < gpus < ranks.local_world:
        raise UserError(f"{ranks.local_world} processes on this machine, which has {gpus} GPUs; give --ngpus {gpus}")
    dist.init_process_group("cpu:gloo,cuda:nccl" if gpus else "gloo")
    try:
        main(args, ranks)
        dist.barrier()  # PyTorch 2.4 waits forever if another process has left before
    finally:
        dist.destroy_process_group()
