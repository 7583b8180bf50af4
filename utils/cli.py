"""What the scripts' command lines share: argument types, one-line errors, the device."""

import argparse
import os
from collections.abc import Callable
from pathlib import Path

import torch

from utils.augmentation import TrainTransform, WholeFrame
from utils.decode import NMS_THRESHOLD, SCORE_THRESHOLD
from utils.distributed import ALONE, Ranks
from utils.errors import UserError, fail


class Parser(argparse.ArgumentParser):
    """Takes no abbreviated options and answers a wrong line with one line and exit code 2."""

    def __init__(self, description: str):
        super().__init__(
            description=description, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
        )

    def error(self, message: str) -> None:
        fail(f"{message} (--help lists the options)")

    def given(self, arguments: list[str] | None) -> set[str]:
        """The options that a line names, by the names of their values."""
        absent = object()
        blank = argparse.Namespace(**dict.fromkeys(vars(self.parse_args(arguments)), absent))
        return {name for name, value in vars(self.parse_args(arguments, blank)).items() if value is not absent}


def option(group, names, kind: Callable, default, metavar, text: str, **more) -> None:
    """An option with a value, its default in its help. names: one, or a tuple of synonyms."""
    names = (names,) if isinstance(names, str) else names
    text += "" if default is None else " (default %(default)s)"
    group.add_argument(*names, type=kind, default=default, metavar=metavar, help=text, **more)


def flag(group, name: str, text: str) -> None:
    group.add_argument(name, action="store_true", help=text)


def given_text(text: str) -> str:
    """Argument type: a path or the like. An empty one is most often a variable that was never set."""
    if not text.strip():
        raise argparse.ArgumentTypeError("an empty value; is a variable not set?")
    return text


def given_path(text: str) -> Path:
    """Argument type: as `given_text`, a path."""
    return Path(given_text(text))


def whole_number(least: int, most: int = 2**31 - 1):
    """Argument type: a whole number from `least` to `most`."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if not least <= value <= most:
            upper = "or more" if value < least else f"to {most}"
            raise argparse.ArgumentTypeError(f"{text[:40]!r}; expected a whole number, {least} {upper}")
        return value

    return parse


def number(low: float, high: float = float("inf")):
    """Argument type: a number from low to high."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not low <= value <= high or value == float("inf"):
            bounds = f"{low:g} or more" if high == float("inf") else f"from {low:g} to {high:g}"
            raise argparse.ArgumentTypeError(f"{text!r}; expected a number, {bounds}")
        return value

    return parse


def add_detection_options(group, *names: str) -> None:
    """How whole frames are looked at: in validation and in tests. names: of the option for their size."""
    names = names or ("--val-short-side",)
    option(group, names, whole_number(1), WholeFrame.short_side, "PX", "short side of whole frames, in pixels")
    option(group, "--score-threshold", number(0, 1), SCORE_THRESHOLD, "P", "least probability of a text cell")
    text = "of two words with more overlap the one with fewer cells goes"
    option(group, "--nms-threshold", number(0, 1), NMS_THRESHOLD, "IOU", text)


def add_view_options(group) -> None:
    """How training frames are looked at; `train_transform` makes a transform of them."""
    default = TrainTransform
    option(group, "--short-side", whole_number(1), default.short_side, "PX", "training frames get this short side")
    option(group, "--rotation", number(0, 45), default.rotation, "DEG", "... are turned by up to this, either way")
    bounds = ("LOW", "HIGH")
    option(group, "--stretch", number(0.1, 10), default.stretch, bounds, "... stretched in height", nargs=2)
    text = "... and cropped to a square, a multiple of 4"
    option(group, "--crop", whole_number(default.least_crop), default.crop, "PX", text)
    option(group, "--scale", number(0.05, 20), default.scale, bounds, "... made larger or smaller", nargs=2)
    text = "share of the crops that are drawn around a word"
    option(group, "--word-crops", number(0, 1), default.word_crops, "SHARE", text)
    text = "changes of light and colour: 0 none, 1 strong"
    option(group, "--colour", number(0, 1), default.colour, "X", text)


def train_transform(args: argparse.Namespace) -> TrainTransform:
    return TrainTransform(
        args.short_side, args.rotation, tuple(args.stretch), args.crop, tuple(args.scale), args.word_crops, args.colour
    )


def add_cache_option(group) -> None:
    text = "folder for the index of a gt.mat (default: beside it, or the user's cache where that is read-only)"
    option(group, "--cache-dir", given_text, None, "DIR", text)


def add_machine_options(group, *, workers: bool = True) -> None:
    option(group, "--ngpus", whole_number(0), 1, "N", "GPUs to use; 0, or a machine without one: the CPU")
    if workers:
        text = "processes that read data (default: 1 on the CPU, else one a core, at most 8)"
        option(group, "--num-workers", whole_number(0), None, "N", text)


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
