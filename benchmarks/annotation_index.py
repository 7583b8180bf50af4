"""The annotation index at SynthText's full size: time and memory, against scipy.io.loadmat of the same file.

    python3 -m benchmarks.annotation_index [--images 858750] [--folder /tmp/annotation_index]

Writes a gt.mat of SynthText's form (imnames, wordBB, charBB, txt: 1.7 GB at full size) and the index into the folder,
measures each step in its own process, prints a table and removes the files.
"""

import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import scipy.io
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from utils.data.annotation_index import read_synthtext
from utils.data.gt_mat import cell_of_quads, write_gt_mat
from utils.errors import run_script
from utils.options.parser import Parser, nonempty_path, option, whole_number

FULL_SIZE = 858_750
WORDS_PER_IMAGE, LETTERS_PER_WORD = 8.47, 5.1
"""SynthText's own: 7.27 million words."""
EPOCH, WORKERS = 15_000, 4


def write_large_mat(path: Path, images: int, seed: int = 0) -> None:
    """Write a gt.mat of so many images, all four variables, with SynthText's numbers of words and letters."""
    rng = np.random.default_rng(seed)
    words = np.minimum(rng.geometric(1 / WORDS_PER_IMAGE, images), 200)
    letters = np.rint(words * LETTERS_PER_WORD).astype(int)
    boxes, text = _boxes(rng, 100_000), "abcdefghijklmnopqrstuvwxyz" * 50
    starts = rng.integers(0, len(boxes) - letters.max(), images).tolist()

    def quads(counts: np.ndarray) -> Iterator[np.ndarray]:
        for start, count in zip(starts, counts.tolist(), strict=True):
            yield cell_of_quads(boxes[start : start + count])

    columns = {
        "charBB": quads(letters),
        "wordBB": quads(words),
        "imnames": (f"{number // 4300 + 1}/scene_{number // 10}_{number % 10}.jpg" for number in range(images)),
        "txt": (text[: round(count * LETTERS_PER_WORD)] for count in words.tolist()),
    }
    bars = {
        name: tqdm(cells, desc=f"writing {name}", total=images, leave=False, disable=None)
        for name, cells in columns.items()
    }
    write_gt_mat(path, bars, images)


def _boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    """(count, 4, 2) float32 upright boxes inside 600 x 450 pixels."""
    low = rng.uniform([0, 0], [500, 400], (count, 2))
    size = rng.uniform([10, 8], [100, 40], (count, 2))
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
    return (low[:, None] + size[:, None] * corners).astype(np.float32)


class Reads(Dataset):
    """Reads each image's annotation, without the image."""

    def __init__(self, annotations):
        self.annotations = annotations

    def __len__(self) -> int:
        return len(self.annotations)

    def __getitem__(self, index: int) -> int:
        words = self.annotations.words(index)
        return len(str(self.annotations.path(index))) + int(words.quads.sum() > 0)


def private_bytes(process: str) -> int:
    """Memory that a process shares with no other process (its unique set size)."""
    rows = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    return sum(int(row.split()[1]) * 1024 for row in rows if row.startswith("Private_"))


def step_loadmat(folder: Path, variables: list[str] | None = None) -> dict:
    contents = scipy.io.loadmat(folder / "gt.mat", variable_names=variables)
    return {"images": contents["imnames"].size}


def step_loadmat_two(folder: Path) -> dict:
    return step_loadmat(folder, ["imnames", "wordBB"])


def step_index(folder: Path) -> dict:
    """Builds the index in the first call; later calls open it."""
    annotations = read_synthtext(folder)
    return {"images": len(annotations), "words": len(annotations.quads)}


def step_workers(folder: Path) -> dict:
    annotations = read_synthtext(folder)
    order = np.random.default_rng(0).permutation(len(annotations))[:EPOCH].tolist()
    loader = DataLoader(
        Reads(annotations), 32, sampler=order, num_workers=WORKERS, persistent_workers=True
    )  # persistent: they still run when their memory is read
    sum(len(batch) for batch in loader)
    return {"private": [private_bytes(str(process.pid)) for process in multiprocessing.active_children()]}


STEPS = {"loadmat": step_loadmat, "loadmat-two": step_loadmat_two, "index": step_index, "workers": step_workers}


def measure(step: str, folder: Path) -> dict:
    """The step's seconds, without the start of Python, and its peak memory, in a fresh process."""
    line = [sys.executable, "-W", "ignore", "-m", "benchmarks.annotation_index", "--step", step]
    process = subprocess.run([*line, "--folder", str(folder)], check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(process.stdout.splitlines()[-1])


def run_step(step: str, folder: Path) -> None:
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak to the present use
    before = peak_bytes()
    start = time.perf_counter()
    found = STEPS[step](folder)
    print(json.dumps({**found, "seconds": time.perf_counter() - start, "peak": peak_bytes() - before}))


def peak_bytes() -> int:
    rows = Path("/proc/self/status").read_text().splitlines()
    return next(int(row.split()[1]) * 1024 for row in rows if row.startswith("VmHWM:"))


def build_parser() -> Parser:
    parser = Parser(__doc__)
    option(parser, "--images N", whole_number(100), FULL_SIZE, "images in the gt.mat")
    folder = Path("/tmp/annotation_index")
    option(parser, "--folder DIR", nonempty_path, folder, "folder for the files; 2.2 GB at full size")
    parser.add_argument("--step", choices=STEPS, help="run one measurement and print it as JSON")
    return parser


def main() -> None:
    args = build_parser().parse_args()
    if args.step:
        run_step(args.step, args.folder)
        return
    args.folder.mkdir(parents=True, exist_ok=True)
    files = args.folder / "gt.mat", args.folder / "gt.mat.index"
    try:
        write_large_mat(files[0], args.images)
        print_table(args.folder, files)
    finally:
        for file in files:
            file.unlink(missing_ok=True)
        if not os.listdir(args.folder):
            shutil.rmtree(args.folder)


def print_table(folder: Path, files: tuple[Path, Path]) -> None:
    files[1].unlink(missing_ok=True)
    steps = "loadmat", "loadmat-two", "index", "index", "workers"
    *rows, workers = (measure(step, folder) for step in steps)
    built = rows[2]
    sizes = [f"{file.stat().st_size / 1e6:.0f} MB" for file in files]
    print(f"gt.mat {sizes[0]}, {built['images']} images, {built['words']} words; index {sizes[1]}\n")
    print("| step | seconds | peak memory above an idle Python |\n|---|---|---|")
    names = "scipy.io.loadmat", "scipy.io.loadmat, two variables", "index, first use", "index, later starts"
    for name, found in zip(names, rows, strict=True):
        print(f"| {name} | {found['seconds']:.2f} | {found['peak'] / 1e6:.0f} MB |")
    private = ", ".join(f"{value / 1e6:.0f}" for value in workers["private"])
    print(f"\nprivate memory of each of {WORKERS} workers after {EPOCH} random reads: {private} MB")


if __name__ == "__main__":
    run_script(main)
