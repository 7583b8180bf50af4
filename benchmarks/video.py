"""Frames per second of a video's whole path, in detect.py's threads and in a plain loop.

    python3 -m benchmarks.video clip.mp4 narrow=narrow8.onnx pruned=pruned8.onnx --short-sides 288 736 --threads 2

Read, detect, write: the words of each frame are written, in the columns *drawn* the video with the words, too. The loop
calls the same functions one after the other; both must write the same words. Each network runs in each backend in a
process of its own, from its second pass over the video on. Loop and threads take turns; medians are shown.
"""

import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import detect
from benchmarks.deploy import check_engines, engines_of, installed_engines, named_file
from benchmarks.report import describe_machine
from utils.base_detector import BaseDetector
from utils.data.video import VideoReader
from utils.deploy.detectors import is_exported, load_detector
from utils.errors import UserError, run_script
from utils.evaluation.detection_results import Results
from utils.evaluation.video_results import VideoResults
from utils.options.parser import Parser, nonempty_path, option, whole_number
from utils.runtime.cores import available_cores
from utils.runtime.tables import format_table

HEADER = ["frames/s", "loop", "threads", "ratio", "loop, drawn", "threads, drawn", "ratio"]

Pass = Callable[[VideoReader, BaseDetector, Results], None]


def build_parser() -> Parser:
    parser = Parser(__doc__)
    parser.add_argument("video", type=nonempty_path, metavar="VIDEO", help="a video")
    text = "checkpoints and exported files"
    parser.add_argument("networks", type=named_file, nargs="+", metavar="NAME=FILE", help=text)
    text = "short sides that the frames are resized to"
    option(parser, "--short-sides PX", whole_number(32), [288, 736], text, nargs="+")
    option(parser, "--threads N", whole_number(1), available_cores(), "threads of the networks")
    option(parser, "--turns N", whole_number(1), 3, "passes over the video of each kind")
    return parser


def main() -> None:
    args = build_parser().parse_args()
    if not args.video.is_file():
        raise UserError(f"{args.video}: no such video; check the path")
    engines, rows = installed_engines(), [HEADER]
    check_engines(args.networks, engines)
    for name, path in args.networks:
        for engine in [each for each in engines if each in engines_of(path)]:
            for short_side in args.short_sides:
                backend = engine if is_exported(path) else None
                settings = {"short_side": short_side, "threads": args.threads, "backend": backend}
                rates = measure(args.video, path, settings, args.turns)
                rows.append([f"{name} {short_side}, {engine}", *(cell for each in rates for cell in cells(*each))])
    print(f"{describe_machine()}, {args.threads} threads, {args.turns} turns\n\n{format_table(rows)}")


def cells(loop: float, threads: float) -> tuple[str, str, str]:
    return f"{loop:.1f}", f"{threads:.1f}", f"{threads / loop:.2f}"


def measure(video: Path, network: Path, settings: dict[str, Any], turns: int) -> list[tuple[float, float]]:
    """Frames per second of loop and threads, with words only, then with the video drawn."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(measure_here, (video, network, settings, turns))


def measure_here(video: Path, network: Path, settings: dict[str, Any], turns: int) -> list[tuple[float, float]]:
    detector = load_detector(str(network), ngpus=0, **settings)
    passes: tuple[Pass, Pass] = (in_a_loop, in_threads)
    rates: dict[tuple[Pass, bool], list[float]] = {(each, drawn): [] for each in passes for drawn in (False, True)}
    for turn in range(turns + 1):  # the first one warms up
        for drawn in (False, True):
            written = []
            for each in passes:
                rate, words = run_pass(each, video, detector, drawn)
                written.append(words)
                if turn:
                    rates[each, drawn].append(rate)
            if written[0] != written[1]:
                raise UserError(f"{network}: threads and loop found other words in {video}")
    medians = {key: statistics.median(each) for key, each in rates.items()}
    return [(medians[in_a_loop, drawn], medians[in_threads, drawn]) for drawn in (False, True)]


def run_pass(each: Pass, video: Path, detector: BaseDetector, drawn: bool) -> tuple[float, bytes]:
    """Frames per second, and the words as they were written."""
    with tempfile.TemporaryDirectory(prefix="video-") as folder:
        output = Results(Path(folder), "jsonl", drawn)
        output.name_sources([video])
        start = time.perf_counter()
        with VideoReader(video) as reader:
            each(reader, detector, output)
        seconds = time.perf_counter() - start
        return output.frames / seconds, (Path(folder) / "detections.jsonl").read_bytes()


def in_a_loop(reader: VideoReader, detector: BaseDetector, output: Results) -> None:
    """Read, detect, write, one after the other."""
    with VideoResults(reader, output, track=False) as results:
        for frame in reader.frames():
            results.add(frame, None if frame.image is None else detector.detect(frame.image))


def in_threads(reader: VideoReader, detector: BaseDetector, output: Results) -> None:
    """As detect.py does it."""
    line = ["--pretrain-model", "-", "--output-dir", str(output.folder), str(reader.source)]
    detect.detect_video(reader, detector, output, detect.parse_args(line))


if __name__ == "__main__":
    run_script(main)
