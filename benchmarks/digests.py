"""Digests of what the scripts compute, to show that a change of structure changes no figure.

    git worktree add /tmp/before COMMIT
    python3 -m benchmarks.digests /tmp/before . --folder /tmp/digests

Runs the same command lines in each checkout, one after the other, on the same rendered data: train, stop and resume,
prune (with and without training frames), fine-tune with a teacher, test, detect, render, convert. Prints the SHA-256
digest of each result, with one column a checkout, and exits with 1 if a row differs. Times and paths are not part of a
digest. Digests depend on the machine and on the number of threads.
"""

import csv
import hashlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import scipy.io
import torch

from utils.options.parser import Parser, option
from utils.runtime.signals import EXIT_STOPPED

TIMED = {"images_per_second", "seconds"}
"""Columns of results.csv that differ from run to run."""

MEASURES = ("loss", "precision", "recall", "hmean", "average_precision", "parameters", "gmacs", "sweep")
"""Entries of metrics.json that are compared."""

MOVED = {"tools.demo_data": "utils.demo_data", "tools.render": "utils.render", "tools.convert": "utils.convert"}
"""Present names of tools, and their names in older checkouts."""

CPU = "--ngpus", 0
VIEW = "--short-side", 192, "--crop", 128
AUGMENTATION = "--colour", 0.3, "--word-crops", 0.3, "--scale", 0.8, 1.2
VALIDATION_SIDE = "--val-short-side", 192
BATCHES = "--batch-size", 4, "--batches-before-train", 2
EPOCH = "--syn-train-size", 40, "--syn-val-size", 8, "--sample-ratio", 0.5
TRAINING = *VIEW, *AUGMENTATION, *BATCHES, *EPOCH, "--val", *VALIDATION_SIDE, *CPU, "--amp", "off"
NEW_NETWORK = "--width", 0.25, "--epoch", 2, "--ema", 0.9, "--clip-grad", 5, "--decay-weights-only"
COSINE = "--schedule", "cosine", "--warmup-steps", 3
INPUT_SIZE = "--size", 96, 128


class Run(NamedTuple):
    """The runs in one checkout."""

    checkout: Path
    data: Path
    """Folder with `synthtext` and `frames`, the same for all checkouts."""
    out: Path
    """Folder for the results of this checkout."""

    @property
    def training_folders(self) -> tuple:
        return "--train-folder-syn", self.data / "synthtext", "--train-folder-sample", self.data / "frames"

    @property
    def test_folder(self) -> tuple:
        return "--test-folder-sample", self.data / "frames"

    @property
    def best(self) -> Path:
        """The checkpoint of the training run."""
        return self.out / "train" / "best.pt"

    def command(self, *words: object) -> list[str]:
        """A command line for `subprocess`; it is shown, too."""
        command = [sys.executable, *map(str, words)]
        print(f"{self.checkout.name}$ {' '.join(command[1:])}"[:160], file=sys.stderr, flush=True)
        return command

    def run(self, *words: object) -> None:
        """Run a script of the checkout; ends the program if it fails."""
        command = self.command(*words)
        result = subprocess.run(command, cwd=self.checkout, capture_output=True, text=True)
        if result.returncode:
            raise SystemExit(f"{' '.join(command)} in {self.checkout} failed:\n{result.stdout}\n{result.stderr}")

    def run_module(self, module: str, *words: object) -> None:
        exists = (self.checkout / f"{module.replace('.', '/')}.py").exists()
        self.run("-m", module if exists else MOVED[module], *words)


def build_parser() -> Parser:
    parser = Parser(__doc__)
    parser.add_argument("checkouts", type=Path, nargs="+", metavar="CHECKOUT", help="folders with the code to compare")
    option(parser, "--folder DIR", Path, Path("/tmp/digests"), "folder for the data and the results")
    return parser


def main() -> int:
    args = build_parser().parse_args()
    folder = args.folder.resolve()
    data = folder / "data"
    runs = [Run(path.resolve(), data, folder / f"results{number}") for number, path in enumerate(args.checkouts)]
    for run in runs:
        if run.out.exists():
            raise SystemExit(f"{run.out} exists already; give another --folder, or remove it")
    folder.mkdir(parents=True, exist_ok=True)
    if not data.exists():
        runs[-1].run_module("tools.demo_data", "--out", data)
    columns = [dict(run_all(run)) for run in runs]
    differ = False
    for name in columns[0]:
        row = [column.get(name, "missing") for column in columns]
        differ |= len(set(row)) > 1
        print(f"{name:28} {'  '.join(digest[:16] for digest in row)}{'' if len(set(row)) == 1 else '  DIFFERENT'}")
    return int(differ)


def run_all(run: Run) -> Iterator[tuple[str, str]]:
    """Names and digests of all results of one checkout."""
    yield from train(run)
    yield from stop_and_resume(run)
    yield from prune_and_fine_tune(run)
    yield from measure(run)
    yield from make_data(run)


def train(run: Run) -> Iterator[tuple[str, str]]:
    folder = run.out / "train"
    run.run("train_sample.py", *run.training_folders, *TRAINING, *NEW_NETWORK, *COSINE, "--save-dir", folder)
    yield from checkpoint_digests(folder / "last.pt")
    yield from checkpoint_digests(run.best)
    yield "train/results.csv", table_digest(folder / "results.csv")


def stop_and_resume(run: Run) -> Iterator[tuple[str, str]]:
    """The same training, stopped by SIGTERM after its first checkpoint; where it stops does not change the result."""
    folder = run.out / "resumed"
    line = ("train_sample.py", *run.training_folders, *TRAINING, *NEW_NETWORK, *COSINE, "--save-dir", folder)
    command = run.command(*line, "--save-every", 0)
    process = subprocess.Popen(command, cwd=run.checkout, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (folder / "last.pt").exists() and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    if process.wait() == EXIT_STOPPED:
        run.run("train_sample.py", "--save-dir", folder, "--resume", *CPU)
    yield from checkpoint_digests(folder / "last.pt")
    yield "resumed/results.csv", table_digest(folder / "results.csv")


def prune_and_fine_tune(run: Run) -> Iterator[tuple[str, str]]:
    frames = *run.training_folders, *VIEW, "--recalibrate", 32, *run.test_folder, *VALIDATION_SIDE
    without_frames = "--target-macs", 0.02, "--scope", "global", "--round-to", 4
    for criterion, options in (("obs", frames), ("l1", without_frames), ("fpgm", without_frames)):
        folder, line = run.out / criterion, ("prune.py", "--pretrain-model", run.best, "--criterion", criterion)
        run.run(*line, *options, *INPUT_SIZE, "--save-dir", folder)
        yield from checkpoint_digests(folder / "pruned.pt")
    folder, pruned = run.out / "tuned", ("--pretrain-model", run.out / "obs" / "pruned.pt", "--prune")
    line = ("train_sample.py", *run.training_folders, *TRAINING, *pruned, "--continue-training", "--teacher", run.best)
    run.run(*line, "--epoch", 1, "--save-dir", folder)
    yield from checkpoint_digests(folder / "last.pt")
    yield "tuned/results.csv", table_digest(folder / "results.csv")


def measure(run: Run) -> Iterator[tuple[str, str]]:
    network = "--pretrain-model", run.checkout / "weights" / "narrow.pt"
    test = "test_sample.py", *run.test_folder, *network, "--prune", *CPU, "--sweep"
    run.run(*test, "--short-side", 384, "--output-dir", run.out / "test", "--batch-size", 3)
    run.run(*test, "--short-side", 256, "--multi-scale", 384, "--output-dir", run.out / "scales")
    detect = "detect.py", *network, *CPU, "--short-side", 384, "--no-pictures", "--output-dir", run.out / "detect"
    run.run(*detect, run.data / "frames" / "test_images1")
    for name in ("test", "scales"):
        yield f"{name}/metrics.json", metrics_digest(run.out / name / "metrics.json")
    for name in ("test", "detect"):
        yield f"{name}/res_*.txt", files_digest(run.out / name, "res_*.txt")


def make_data(run: Run) -> Iterator[tuple[str, str]]:
    rendered, converted = run.out / "rendered", run.out / "converted"
    run.run_module("tools.render", "--out", rendered, "--images", 6, "--seed", 3)
    run.run_module("tools.convert", run.data / "frames", converted)
    yield "rendered/", files_digest(rendered, "*/*.jpg")
    yield "converted/", mat_digest(converted)
    yield "rendered/gt.mat", mat_digest(rendered)


def checkpoint_digests(path: Path) -> Iterator[tuple[str, str]]:
    """Names and digests of a checkpoint's network, optimizer, plan and progress."""
    contents = torch.load(path, weights_only=True)
    name = f"{path.parent.name}/{path.name}"
    yield f"{name} model", tensors_digest(contents["model"])
    if "optimizer" in contents:
        yield f"{name} optimizer", tensors_digest(contents["optimizer"])
    others = {key: contents.get(key) for key in ("plan", "scheduler", "ema", "epoch", "step", "best_score")}
    yield f"{name} others", tensors_digest(others)


def tensors_digest(contents: object) -> str:
    """The digest of nested dicts and lists with tensors, including their dtypes and shapes."""
    digest = hashlib.sha256()

    def add(value: object) -> None:
        if isinstance(value, torch.Tensor):
            digest.update(f"{value.dtype}{tuple(value.shape)}".encode())
            digest.update(value.detach().contiguous().cpu().numpy().tobytes())
        elif isinstance(value, dict):
            for key, item in value.items():
                digest.update(str(key).encode())
                add(item)
        elif isinstance(value, list | tuple):
            for item in value:
                add(item)
        else:
            digest.update(repr(value).encode())

    add(contents)
    return digest.hexdigest()


def table_digest(path: Path) -> str:
    """The digest of a results.csv without the columns `TIMED`."""
    with open(path, newline="", encoding="utf-8") as file:
        rows = [{name: value for name, value in row.items() if name not in TIMED} for row in csv.DictReader(file)]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def metrics_digest(path: Path) -> str:
    metrics = json.loads(path.read_text(encoding="utf-8"))
    return hashlib.sha256(json.dumps([metrics[name] for name in MEASURES]).encode()).hexdigest()


def files_digest(folder: Path, pattern: str) -> str:
    """The digest of the files' contents, in the order of their names."""
    files = sorted(folder.glob(pattern))
    if not files:
        raise SystemExit(f"{folder}: no {pattern}")
    return hashlib.sha256(b"".join(hashlib.sha256(file.read_bytes()).digest() for file in files)).hexdigest()


def mat_digest(folder: Path) -> str:
    """The digest of the variables of all gt.mat files in a folder; headers, with the time of writing, are ignored."""
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("gt.mat")):
        for name, cells in sorted(scipy.io.loadmat(file).items()):
            if not name.startswith("__"):
                digest.update(name.encode())
                for cell in cells.flat:
                    digest.update(repr(cell.tolist()).encode())
    return digest.hexdigest()


if __name__ == "__main__":
    sys.exit(main())
