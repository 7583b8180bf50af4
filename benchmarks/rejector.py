"""What a rejector loses and saves: frames and words, CPU milliseconds a frame.

    python3 -m benchmarks.rejector SAMPLE narrow=OUT/rejector.pt narrow8=narrow8.onnx --textless walls --short-side 288

Every file detects twice in each frame, alternately with and without its rejector, from the picture in memory to the
words. The frames are the test frames of SAMPLE and, of each folder of pictures without annotations, those that
`train_sample.py --rejector` validates on. Times are the CPU time of all threads.

A frame with text is one in which the file finds a word without its rejector: an annotated one, or with --unlabelled any
word. A frame without text has no annotated word that counts, or with --unlabelled no word that the file finds. In *half
empty*, both kinds have equal weight.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from benchmarks.deploy import named_file
from benchmarks.report import describe_machine
from datasets import open_dataset
from rejector import NO_WORDS, choose_pictures
from utils.base_detector import BaseDetector
from utils.data.annotations import Words
from utils.data.images import read_image
from utils.deploy.detectors import load_detector
from utils.errors import UserError, run_script
from utils.evaluation import evaluate
from utils.evaluation.result_files import whole_pixels
from utils.options.parser import Parser, nonempty_text, option, whole_number
from utils.runtime.tables import format_table

MISSED = ("frames with text lost", "words lost", "frames without text rejected")
COSTS = ("without text", "rejected", "with text", "half empty")


class Picture(NamedTuple):
    """A frame to detect in."""

    image: np.ndarray
    words: Words | None
    """None: not annotated."""


class Outcome(NamedTuple):
    """A detector on one frame without and with its rejector."""

    words: int
    """Found without the rejector, and matching annotated ones if there are any."""
    is_empty: bool
    rejected: bool
    detections: tuple[np.ndarray, np.ndarray]
    seconds: tuple[float, float]
    """Of CPU time."""


def build_parser() -> Parser:
    parser = Parser(__doc__)
    parser.add_argument("data", type=nonempty_text, metavar="SAMPLE", help="annotated frames; the test frames are used")
    text = "checkpoints and exported files with rejectors, each with the name of its row"
    parser.add_argument("detectors", type=named_file, nargs="+", metavar="NAME=FILE", help=text)
    option(parser, "--textless DIR", nonempty_text, [], "pictures without text", nargs="+")
    option(parser, "--unlabelled DIR", nonempty_text, [], "pictures without annotations", nargs="+")
    option(parser, "--short-side PX", whole_number(1), None, "of the frames (default: that of each file)")
    option(parser, "--frames N", whole_number(1), None, "use the first N frames of each folder only")
    option(parser, "--threads N", whole_number(1), 1, "threads")
    return parser


def main() -> None:
    args = build_parser().parse_args()
    lost, costs = [["", *MISSED, "hmean", "with rejector"]], [["CPU ms a frame", *COSTS]]
    pictures = [*read_pictures(args)]
    for name, path in args.detectors:
        detector = load_detector(path, short_side=args.short_side, threads=args.threads)
        if not detector.reject_below:
            raise UserError(f"{path}: it has no rejector; train one with train_sample.py --rejector")
        shown = tqdm(pictures, name, leave=False, disable=None)
        outcomes = [measure(detector, picture, number % 2 == 0) for number, picture in enumerate(shown)]
        annotated = [picture.words for picture in pictures if picture.words]
        found = [each.detections for each, picture in zip(outcomes, pictures, strict=True) if picture.words]
        hmeans = [f"{evaluate(annotated, [each[side] for each in found]).hmean:.4f}" for side in (0, 1)]
        lost.append([name, *lost_row(outcomes), *hmeans])
        costs.append([name, *cost_row(outcomes)])
    print(f"{len(pictures)} frames, {describe_machine()}\n\n{format_table(lost)}\n\n{format_table(costs)}")


def read_pictures(args) -> Iterator[Picture]:
    """All frames, in memory."""
    dataset = open_dataset(None, args.data, False)
    for index in range(len(dataset))[: args.frames]:
        info = dataset.frame(index, 0).info
        yield Picture(info.picture(), info.words)
    for folders, words in ((args.textless, NO_WORDS), (args.unlabelled, None)):
        for folder in folders:
            for path in choose_pictures(Path(folder), train=False)[: args.frames]:
                yield Picture(read_image(path), words)


def measure(detector: BaseDetector, picture: Picture, rejector_first: bool) -> Outcome:
    """Detect without and with the rejector, in either order."""
    below, rejected = detector.reject_below, detector.rejected
    found: dict[bool, tuple[np.ndarray, float]] = {}
    for rejects in (rejector_first, not rejector_first):
        detector.reject_below = below if rejects else 0.0
        start = time.process_time()
        quads, _ = detector.detect(picture.image)
        found[rejects] = whole_pixels(quads), time.process_time() - start
    detector.reject_below = below
    (plain, plain_seconds), (others, seconds) = found[False], found[True]
    words = len(plain) if picture.words is None else evaluate([picture.words], [plain]).matched
    is_empty = not len(plain) if picture.words is None else bool(picture.words.ignored.all())
    return Outcome(words, is_empty, detector.rejected > rejected, (plain, others), (plain_seconds, seconds))


def lost_row(outcomes: list[Outcome]) -> list[str]:
    """What `MISSED` names, each as a count of a count."""
    text, empty = [each for each in outcomes if each.words], [each for each in outcomes if each.is_empty]
    return [
        f"{sum(each.rejected for each in text)} of {len(text)}",
        f"{sum(each.words for each in text if each.rejected)} of {sum(each.words for each in text)}",
        f"{sum(each.rejected for each in empty)} of {len(empty)}",
    ]


def cost_row(outcomes: list[Outcome]) -> list[str]:
    """What `COSTS` names: milliseconds without and with the rejector, and the share that is saved."""
    empty, text = ([each for each in outcomes if each.is_empty is is_empty] for is_empty in (True, False))
    means = [mean_milliseconds(each) for each in (empty, [each for each in empty if each.rejected], text)]
    means.append((means[0] + means[2]) / 2)
    return [f"{plain:.1f} -> {rejecting:.1f} ({rejecting / plain - 1:+.0%})" for plain, rejecting in means]


def mean_milliseconds(outcomes: list[Outcome]) -> np.ndarray:
    """(2,) without and with the rejector; NaN for no frames."""
    return 1000 * np.mean([each.seconds for each in outcomes], axis=0) if outcomes else np.full(2, np.nan)


if __name__ == "__main__":
    run_script(main)
