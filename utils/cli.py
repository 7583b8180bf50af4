"""What the scripts' command lines share: argument types, one-line errors, the device."""

import argparse
import os

import torch

from utils.augmentation import WholeFrame
from utils.decode import NMS_THRESHOLD, SCORE_THRESHOLD
from utils.errors import UserError, fail


class Parser(argparse.ArgumentParser):
    """Takes no abbreviated options and answers a wrong line with one line and exit code 2."""

    def __init__(self, description: str):
        super().__init__(
            description=description, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
        )

    def error(self, message: str) -> None:
        fail(f"{message} (--help lists the options)")


def whole_number(least: int):
    """Argument type: a whole number, `least` or more."""

    def parse(text: str) -> int:
        if not text.lstrip("+-").isdigit() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r}; expected a whole number, {least} or more")
        return int(text)

    return parse


def number(low: float, high: float = float("inf")):
    """Argument type: a number from low to high."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not low <= value <= high:
            bounds = f"{low:g} or more" if high == float("inf") else f"from {low:g} to {high:g}"
            raise argparse.ArgumentTypeError(f"{text!r}; expected a number, {bounds}")
        return value

    return parse


def add_detection_options(group, *names: str) -> None:
    """How whole frames are looked at: in validation and in tests. names: of the option for their size."""
    names = names or ("--val-short-side",)
    group.add_argument(*names, type=whole_number(1), default=WholeFrame.short_side, metavar="PX",
                       help="short side of whole frames, in pixels (default %(default)s)")  # fmt: skip
    group.add_argument("--score-threshold", type=number(0, 1), default=SCORE_THRESHOLD, metavar="P",
                       help="least probability of a text cell (default %(default)s)")  # fmt: skip
    group.add_argument("--nms-threshold", type=number(0, 1), default=NMS_THRESHOLD, metavar="IOU",
                       help="of two words with more overlap the weaker goes (default %(default)s)")  # fmt: skip


def add_machine_options(group, *, workers: bool = True) -> None:
    group.add_argument("--ngpus", type=whole_number(0), default=1, metavar="N",
                       help="GPUs to use; 0, or a machine without one: the CPU (default %(default)s)")  # fmt: skip
    if not workers:
        return
    group.add_argument("--num-workers", type=whole_number(0), metavar="N",
                       help="processes that read data (default: 1 on the CPU, else one a core, at most 8)")  # fmt: skip


def choose_device(ngpus: int) -> torch.device:
    """The GPU if one is asked for and there, else the CPU with a thread a core."""
    found = torch.cuda.device_count()
    if ngpus > 1:
        raise UserError(f"--ngpus {ngpus}: this version trains on one GPU; give --ngpus 1")
    if ngpus and found:
        return torch.device("cuda")
    torch.set_num_threads(_cores())
    return torch.device("cpu")


def describe_device(device: torch.device, ngpus: int) -> str:
    if device.type == "cuda":
        return f"GPU ({torch.cuda.get_device_name(device)})"
    why = "as asked by --ngpus 0" if ngpus == 0 else "no GPU found"
    return f"CPU ({why}), {torch.get_num_threads()} threads"


def count_workers(asked: int | None, device: torch.device) -> int:
    """Reading takes a small part of a core; on the CPU the network needs the others."""
    if asked is not None:
        return asked
    return 1 if device.type == "cpu" else min(_cores(), 8)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
