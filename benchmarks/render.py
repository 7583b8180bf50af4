"""Rendered images per second of one core, against the JPEG coding of the same pictures.

    python3 -m benchmarks.render [--images 40] [--rounds 5]
    python3 -m benchmarks.render --sheet docs/rendered.jpg

Images of 600x450: with the fonts of the installed packages on drawn backgrounds and, if ../shared/data (or TEXT_DATA)
exists, with its photographs and fonts. For comparison each picture is decoded from its JPEG and coded again at quality
95. Both run in one process on one thread, in turns; CPU time of this process, so that other processes disturb less;
medians of the rounds. --sheet draws a picture of samples instead, without photographs.
"""

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

from utils.data.images import write_image
from utils.errors import run_script
from utils.options.parser import Parser, nonempty_path, option, whole_number
from utils.rendering.engine import load_studio, render_image
from utils.rendering.scenes import Studio, Style

DATA = Path(os.environ.get("TEXT_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
SHEET_ROWS, SHEET_COLUMNS, SHEET_HEIGHT = 2, 4, 240


def seconds_of(work: Callable[[int], object], numbers: Sequence[int]) -> float:
    """CPU seconds of this process per call."""
    start = time.process_time()
    for number in numbers:
        work(number)
    return (time.process_time() - start) / len(numbers)


def measure(studio: Studio, images: int, rounds: int) -> np.ndarray:
    """(rounds, 2) seconds per image: rendering; decoding and coding."""
    style = Style()
    coded = [np.frombuffer(render_image(studio, style, 1, number)[0], np.uint8) for number in range(images)]

    def code(number: int) -> None:
        picture = cv2.imdecode(coded[number % images], cv2.IMREAD_COLOR)
        assert picture is not None
        cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 95])

    found = []
    for turn in range(1, rounds + 1):
        numbers = range(turn * images, (turn + 1) * images)
        rendering = seconds_of(lambda number: render_image(studio, style, 1, number), numbers)
        found.append([rendering, seconds_of(code, numbers)])
    return np.array(found)


def write_sheet(path: Path) -> None:
    studio, style = load_studio(None, None, None), Style()
    pictures = []
    for number in range(SHEET_ROWS * SHEET_COLUMNS):
        data, _ = render_image(studio, style, 0, number)
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        assert decoded is not None
        picture = cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)
        width = SHEET_HEIGHT * picture.shape[1] // picture.shape[0]
        pictures.append(cv2.resize(picture, (width, SHEET_HEIGHT), interpolation=cv2.INTER_AREA))
    rows = [np.hstack(pictures[start : start + SHEET_COLUMNS]) for start in range(0, len(pictures), SHEET_COLUMNS)]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, np.vstack(rows))


def build_parser() -> Parser:
    parser = Parser(__doc__)
    option(parser, "--images N", whole_number(1), 40, "images per round")
    option(parser, "--rounds N", whole_number(1), 5, "rounds of rendering and coding")
    option(parser, "--sheet FILE", nonempty_path, None, "write a picture of samples to this file, and measure nothing")
    return parser


def main() -> None:
    args = build_parser().parse_args()
    cv2.setNumThreads(0)
    if args.sheet:
        write_sheet(args.sheet)
        print(args.sheet)
        return
    studios = {"installed packages' means": load_studio(None, None, None)}
    if (DATA / "backgrounds").is_dir() and (DATA / "fonts").is_dir():
        studios["photographs and fonts"] = load_studio(DATA / "backgrounds", DATA / "fonts", None)
    print("| 600x450 with | images/s a core | JPEG decoded and coded/s | time of rendering / JPEG |")
    print("|---|---|---|---|")
    for name, studio in studios.items():
        found = measure(studio, args.images, args.rounds)
        speeds = " | ".join(f"{1 / seconds:.0f}" for seconds in np.median(found, 0))
        print(f"| {name} | {speeds} | {np.median(found[:, 0] / found[:, 1]):.1f} |")


if __name__ == "__main__":
    run_script(main)
