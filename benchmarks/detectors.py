"""Text detectors side by side: hmean, size and milliseconds of our checkpoints, PP-OCR and CRAFT.

    python3 -m tools.split_icdar ICDAR2015 SPLIT --train 800
    python3 -m benchmarks.detectors SPLIT [NAME=CKPT[@score_threshold] ...] [--others ppocr-v4 ppocr-v5 ppocr-v6 craft]

Every detector gets the test frames of SPLIT at the same short sides and is evaluated by the ICDAR 2015 protocol. Times
include the network and the post-processing, on the CPU. Choose score thresholds on other frames, or state that they
were chosen on these. The other detectors need `pip install --no-deps -r benchmarks/requirements.txt`; detectors whose
packages are missing are left out. PP-OCR marks lines where ICDAR 2015 marks words, and is evaluated by words.
"""

import argparse
import itertools
import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from tqdm import tqdm

from benchmarks.contenders import COST_SIZE, OTHERS, Contender, open_ours
from benchmarks.report import as_markdown, describe_machine
from datasets import open_dataset
from utils.base_detector import to_frame
from utils.data.augmentation import WholeFrame
from utils.data.frames import FrameDataset
from utils.data.images import read_image
from utils.decode import SCORE_THRESHOLD
from utils.errors import UserError, run_script
from utils.evaluation import evaluate
from utils.evaluation.result_files import whole_pixels
from utils.options.parser import Parser, flag, nonempty_path, nonempty_text, option, whole_number
from utils.runtime.device import available_cores
from utils.runtime.files import write_file
from utils.runtime.optional import MissingPackage
from utils.runtime.tables import format_table

SHORT_SIDES = 288, 480, 736
TIMED_SIZES = (288, 512), (736, 1280)
THREADS = 1, 2
TIMED_FRAMES, WARM_UP = 9, 2
NOTE = "PP-OCR marks lines of text where the ground truth marks words; a line of several words is one wrong detection."


Opener = Callable[[int], Contender]
"""Opens a detector that uses so many threads."""


class NamedCheckpoint(NamedTuple):
    """A checkpoint on the command line."""

    name: str
    path: str
    score_threshold: float


def build_parser() -> Parser:
    parser = Parser(__doc__)
    parser.add_argument("data", type=nonempty_text, metavar="SPLIT", help="annotated frames; the test frames are used")
    text = "checkpoints, each with the name of its row and an optional score threshold"
    parser.add_argument("checkpoints", type=named_checkpoint, nargs="*", metavar="NAME=CKPT[@P]", help=text)
    text = "detectors to compare with (default: all; without a name: none)"
    parser.add_argument("--others", nargs="*", choices=OTHERS, default=list(OTHERS), help=text)
    option(parser, "--frames N", whole_number(1), None, "use the first N frames only")
    option(parser, "--short-sides PX", whole_number(1), SHORT_SIDES, "of the frames, in pixels", nargs="+")
    threads = [count for count in THREADS if count <= available_cores()]
    option(parser, "--threads N", whole_number(1), threads, "threads that times are measured with", nargs="+")
    parts = parser.add_mutually_exclusive_group()
    flag(parts, "--no-times", "measure hmean and sizes only")
    flag(parts, "--times-only", "measure times and sizes only")
    text = "read the hmean of the other detectors from an earlier --json file"
    option(parser, "--reuse FILE", nonempty_path, None, text)
    option(parser, "--json FILE", nonempty_path, None, "write all figures to this file, after each detector")
    option(parser, "--markdown FILE", nonempty_path, None, "write the tables to this file")
    return parser


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = build_parser()
    args, given = parser.parse_args(arguments), parser.given(arguments)
    for part, unused in (("no_times", {"threads"}), ("times_only", {"short_sides", "reuse"})):
        if getattr(args, part) and (idle := unused & given):
            parser.error(f"--{idle.pop().replace('_', '-')} has no effect beside --{part.replace('_', '-')}")
    return args


def named_checkpoint(text: str) -> NamedCheckpoint:
    """Argument type: NAME=CKPT or NAME=CKPT@P. An @ that no number follows is a part of the path."""
    name, equals, path = text.partition("=")
    before, at, threshold = path.rpartition("@")
    try:
        chosen = float(threshold) if at else None
    except ValueError:
        chosen = None
    if chosen is None:
        before, chosen = path, SCORE_THRESHOLD
    if not (name and equals and before and 0 <= chosen <= 1):
        raise argparse.ArgumentTypeError(f"{text!r}; expected NAME=CKPT or NAME=CKPT@P with P from 0 to 1")
    return NamedCheckpoint(name, before, chosen)


def main(args: argparse.Namespace) -> None:
    check_names([*(each.name for each in args.checkpoints), *args.others])
    if not args.no_times and max(args.threads) > available_cores():
        raise UserError(f"--threads {max(args.threads)}: {available_cores()} cores are available; give no more")
    dataset = open_dataset(None, args.data, False)
    frames = range(min(args.frames or len(dataset), len(dataset)))
    earlier = read_accuracies(args.reuse, args.data, len(frames)) if args.reuse else {}
    about = f"{len(frames)} frames of {args.data}, {describe_machine()}. {NOTE}{list_thresholds(args.checkpoints)}"

    openers: dict[str, Opener] = {each.name: partial(open_ours, *each[1:]) for each in args.checkpoints}
    openers |= {name: OTHERS[name] for name in args.others}
    rows: dict[str, dict] = {}
    for name, opener in openers.items():
        try:
            contender = opener(torch.get_num_threads())
        except MissingPackage as missing:
            print(f"{name}: left out. {missing}")
            continue
        row = rows[name] = contender.cost._asdict()
        if not args.times_only:
            known = earlier.get(name, {}) if name in OTHERS else {}
            row["accuracy"] = {
                str(side): known.get(str(side)) or measure_accuracy(contender, args.data, side, frames, name)
                for side in args.short_sides
            }
        if not args.no_times:
            row["milliseconds"] = measure_times(opener, dataset, frames, args.threads)
        if args.json:
            report = {"data": args.data, "frames": len(frames), "about": about, "detectors": rows}
            write_file(args.json, json.dumps(report, indent=2) + "\n")
    if not rows:
        raise UserError("no detector is left to measure; name a checkpoint, NAME=CKPT")
    tables = [cost_table(rows)] if args.times_only else [accuracy_table(rows), cost_table(rows)]
    print("\n\n".join([about, *map(format_table, tables)]))
    if args.markdown:
        write_file(args.markdown, "\n\n".join([*map(as_markdown, tables), about]) + "\n")


def check_names(names: list[str]) -> None:
    """Raise `UserError` if a name occurs twice."""
    if twice := {name for name in names if names.count(name) > 1}:
        raise UserError(f"{', '.join(twice)}: the name of two rows; give each its own")


def list_thresholds(checkpoints: list[NamedCheckpoint]) -> str:
    if not checkpoints:
        return ""
    return f" Score thresholds: {', '.join(f'{each.name} {each.score_threshold:g}' for each in checkpoints)}."


def read_accuracies(path: Path, data: str, frames: int) -> dict[str, dict]:
    """The accuracies in an earlier run's --json file, by detector and short side."""
    try:
        former = json.loads(path.read_text(encoding="utf-8"))
        measured = former["data"], former["frames"]
        accuracies = {name: row.get("accuracy", {}) for name, row in former["detectors"].items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: not written by --json ({error}); give such a file") from None
    if measured != (data, frames):
        raise UserError(f"{path}: {measured[1]} frames of {measured[0]}, not {frames} of {data}; measure again")
    return accuracies


def measure_accuracy(contender: Contender, data: str, short_side: int, frames: range, name: str) -> dict[str, float]:
    """A detector's scores by the ICDAR 2015 protocol, with quads in whole pixels of the frames."""
    dataset = open_dataset(None, data, False, transform=WholeFrame(short_side))
    words, found = [], []
    for index in tqdm(frames, desc=f"{name} at {short_side}", unit="frame", leave=False, disable=None):
        image, info, _ = dataset.frame(index, seed=0)
        height, width = info.size
        quads = contender.detect(np.ascontiguousarray(image[:height, :width]))
        quads, _ = to_frame(quads, np.zeros(len(quads)), info)
        words.append(info.words)
        found.append(whole_pixels(quads))
    return evaluate(words, found)._asdict()


def measure_times(opener: Opener, dataset: FrameDataset, frames: range, counts: list[int]) -> dict[str, dict]:
    """Milliseconds per frame by the frame's size, then by the number of threads."""
    files = [dataset.frame(index, seed=0).info.path for index in frames[:TIMED_FRAMES]]
    images = [read_image(path) for path in files]
    before = torch.get_num_threads(), cv2.getNumThreads()
    times: dict[str, dict[str, float]] = {f"{height}x{width}": {} for height, width in TIMED_SIZES}
    for threads in counts:
        torch.set_num_threads(threads)
        cv2.setNumThreads(threads)
        detect = opener(threads).detect
        for height, width in TIMED_SIZES:
            resized = [cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA) for image in images]
            times[f"{height}x{width}"][str(threads)] = milliseconds(detect, resized)
    torch.set_num_threads(before[0])
    cv2.setNumThreads(before[1])
    return times


def milliseconds(detect: Callable[[np.ndarray], np.ndarray], images: list[np.ndarray]) -> float:
    """Median time of one call, after a warm-up."""
    times = []
    for image in itertools.islice(itertools.cycle(images), WARM_UP + TIMED_FRAMES):
        start = time.perf_counter()
        detect(image)
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times[WARM_UP:])


def accuracy_table(rows: dict[str, dict]) -> list[list[str]]:
    """Three columns for each short side."""
    sides = next(iter(rows.values()))["accuracy"]
    table = [["", *(title for side in sides for title in (f"hmean at {side}", "precision", "recall"))]]
    for name, row in rows.items():
        shares = [row["accuracy"][side][of] for side in sides for of in ("hmean", "precision", "recall")]
        table.append([name, *(f"{share:.3f}" for share in shares)])
    return table


def cost_table(rows: dict[str, dict]) -> list[list[str]]:
    """Parameters, MACs and file, and a column of milliseconds for each size and number of threads."""
    times = next(iter(rows.values())).get("milliseconds", {})
    columns = [(size, threads) for size, by_threads in times.items() for threads in by_threads]
    titles = [f"ms, {size}, {threads} thread{'s' * (threads != '1')}" for size, threads in columns]
    table = [["", "parameters", "GMACs at {}x{}".format(*COST_SIZE), "file MB", *titles]]
    for name, row in rows.items():
        sizes = [f"{row['parameters']:,}", f"{row['gmacs']:.2f}", f"{row['megabytes']:.1f}"]
        table.append([name, *sizes, *(f"{row['milliseconds'][size][threads]:.1f}" for size, threads in columns)])
    return table


if __name__ == "__main__":
    run_script(lambda: main(parse_args()))
