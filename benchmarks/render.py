"""Rendered images per second of one core, against the JPEG coding of the same pictures.

    python3 -m benchmarks.render [--images 40] [--rounds 5]
    python3 -m benchmarks.render --sheet docs/rendered.jpg

Images of 600x450: with what the installed packages carry, and with the photographs and fonts of ../shared/data
(or TEXT_DATA) where they are there. Beside them each picture is decoded from its JPEG and coded again at quality 95.
Both in one process on one thread, in turns; time is this process's own, so that others on the machine disturb
less; medians of the rounds. --sheet draws a picture of samples instead, with the installed packages' means alone.
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
    """This process's own, a call."""
    start = time.process_time()
    for number in numbers:
        work(number)
    return (time.process_time() - start) / len(numbers)


def measure(studio: Studio, images: int, rounds: int) -> np.ndarray:
    """(rounds, 2) seconds an image: rendering it, decoding and coding it."""
    style = Style()
    coded = [np.frombuffer(render_image(studio, style, 1, number)[0], np.uint8) for number in range(images)]

    def code(number: int) -> None:
        cv2.imencode(".jpg", cv2.imdecode(coded[number % images], cv2.IMREAD_COLOR), [cv2.IMWRITE_JPEG_QUALITY, 95])

    found = []
    for turn in range(1, rounds + 1):
        numbers = range(turn * images, (turn + 1) * images)
        found.append([seconds_of(lambda number: render_image(studio, style, 1, number), numbers),
                      seconds_of(code, numbers)])  # fmt: skip
    return np.array(found)


def write_sheet(path: Path) -> None:
    studio, style = load_studio(None, None, None), Style()
    pictures = []
    for number in range(SHEET_ROWS * SHEET_COLUMNS):
        data, _ = render_image(studio, style, 0, number)
        picture = cv2.cvtColor(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        width = SHEET_HEIGHT * picture.shape[1] // picture.shape[0]
        pictures.append(cv2.resize(picture, (width, SHEET_HEIGHT), interpolation=cv2.INTER_AREA))
    rows = [np.hstack(pictures[start : start + SHEET_COLUMNS]) for start in range(0, len(pictures), SHEET_COLUMNS)]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, np.vstack(rows))


def main() -> None:
    parser = Parser(__doc__)
    option(parser, "--images", whole_number(1), 40, "N", "a round")
    option(parser, "--rounds", whole_number(1), 5, "N", "of rendering and coding in turns")
    option(parser, "--sheet", nonempty_path, None, "FILE", "write samples there, and measure nothing")
    args = parser.parse_args()
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
