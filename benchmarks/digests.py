"""Digests of what the scripts compute, to show that a change of structure changes no figure.

    git worktree add /tmp/before COMMIT
    python3 -m benchmarks.digests /tmp/before . --folder /tmp/digests

Runs the same command lines in each checkout, on the same rendered data: train, prune (with and without training
frames), fine-tune with a teacher, test, detect, render, convert. Prints the SHA-256 digest of each result, a column a
checkout, and exits with 1 if a row differs. Times and paths are not part of a digest.
"""

import argparse
import csv
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import torch

TIMED = {"images_per_second", "seconds"}
"""Columns of results.csv that differ from run to run."""

MEASURES = ("loss", "precision", "recall", "hmean", "average_precision", "parameters", "gmacs", "sweep")
"""What is compared of metrics.json."""

MOVED = {"tools.demo_data": "utils.demo_data", "tools.render": "utils.render", "tools.convert": "utils.convert"}
"""Tools by their present name, and the name that they had in `utils/`."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkouts", type=Path, nargs="+", metavar="CHECKOUT")
    parser.add_argument("--folder", type=Path, default=Path("/tmp/digests"), help="for data and results (%(default)s)")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    data = args.folder.resolve() / "data"
    if not data.exists():
        run_module(args.checkouts[-1].resolve(), "tools.demo_data", "--out", data)
    columns = [
        run_all(checkout.resolve(), data, args.folder.resolve() / f"results{number}")
        for number, checkout in enumerate(args.checkouts)
    ]
    differ = False
    for name in columns[0]:
        row = [column.get(name, "missing") for column in columns]
        differ |= len(set(row)) > 1
        print(f"{name:28} {'  '.join(digest[:16] for digest in row)}{'' if len(set(row)) == 1 else '  DIFFERENT'}")
    return int(differ)


def run_all(checkout: Path, data: Path, out: Path) -> dict[str, str]:
    """Digests by name of what one checkout computes."""
    if out.exists():
        raise SystemExit(f"{out} exists already; give another --folder, or remove it")
    folders = ["--train-folder-syn", data / "synthtext", "--train-folder-sample", data / "frames"]
    view = ["--short-side", 192, "--crop", 128, "--colour", 0.3, "--word-crops", 0.3, "--scale", 0.8, 1.2]
    frames, side = ["--test-folder-sample", data / "frames"], ["--val-short-side", 192]
    learning = ["--batch-size", 4, "--batches-before-train", 2, "--syn-train-size", 40, "--syn-val-size", 8,
                "--sample-ratio", 0.5, "--val", *side, "--ngpus", 0, "--amp", "off"]  # fmt: skip
    train = ["train_sample.py", *folders, *view, *learning]
    run(checkout, *train, "--width", 0.25, "--epoch", 2, "--ema", 0.9, "--schedule", "cosine", "--warmup-steps", 3,
        "--clip-grad", 5, "--decay-weights-only", "--save-dir", out / "train")  # fmt: skip
    best = out / "train" / "best.pt"
    run(checkout, "prune.py", "--pretrain-model", best, "--save-dir", out / "obs", "--criterion", "obs", *folders,
        "--short-side", 192, "--crop", 128, "--recalibrate", 32, *frames, *side, "--size", 96, 128)  # fmt: skip
    for criterion in ("l1", "fpgm"):
        run(checkout, "prune.py", "--pretrain-model", best, "--save-dir", out / criterion, "--criterion", criterion,
            "--target-macs", 0.02, "--scope", "global", "--round-to", 4, "--size", 96, 128)  # fmt: skip
    run(checkout, *train, "--pretrain-model", out / "obs" / "pruned.pt", "--continue-training", "--prune",
        "--teacher", best, "--epoch", 1, "--save-dir", out / "tuned")  # fmt: skip
    trained = checkout / "weights" / "narrow.pt"
    test = ["test_sample.py", *frames, "--pretrain-model", trained, "--prune", "--ngpus", 0, "--sweep"]
    run(checkout, *test, "--short-side", 384, "--output-dir", out / "test", "--batch-size", 3)
    run(checkout, *test, "--short-side", 256, "--multi-scale", 384, "--output-dir", out / "scales")
    run(checkout, "detect.py", "--pretrain-model", trained, "--output-dir", out / "detect", "--short-side", 384,
        "--no-pictures", "--ngpus", 0, data / "frames" / "test_images1")  # fmt: skip
    run_module(checkout, "tools.render", "--out", out / "rendered", "--images", 6, "--seed", 3)
    run_module(checkout, "tools.convert", data / "frames", out / "converted")
    return {
        **checkpoint_digests(out / "train" / "last.pt"),
        **checkpoint_digests(best),
        "train/results.csv": table_digest(out / "train" / "results.csv"),
        **{
            key: value
            for name in ("obs", "l1", "fpgm")
            for key, value in checkpoint_digests(out / name / "pruned.pt").items()
        },
        **checkpoint_digests(out / "tuned" / "last.pt"),
        "tuned/results.csv": table_digest(out / "tuned" / "results.csv"),
        "test/metrics.json": metrics_digest(out / "test" / "metrics.json"),
        "scales/metrics.json": metrics_digest(out / "scales" / "metrics.json"),
        "test/res_*.txt": files_digest(out / "test", "res_*.txt"),
        "detect/res_*.txt": files_digest(out / "detect", "res_*.txt"),
        "rendered/": files_digest(out / "rendered", "*/*.jpg"),
        "converted/": mat_digest(out / "converted"),
        "rendered/gt.mat": mat_digest(out / "rendered"),
    }


def run(checkout: Path, *words: object) -> None:
    command = [sys.executable, *map(str, words)]
    print(f"{checkout.name}$ {' '.join(command[1:])}"[:160], file=sys.stderr, flush=True)
    result = subprocess.run(command, cwd=checkout, capture_output=True, text=True)
    if result.returncode:
        raise SystemExit(f"{' '.join(command)} in {checkout} failed:\n{result.stdout}\n{result.stderr}")


def run_module(checkout: Path, module: str, *words: object) -> None:
    exists = (checkout / f"{module.replace('.', '/')}.py").exists()
    run(checkout, "-m", module if exists else MOVED[module], *words)


def checkpoint_digests(path: Path) -> dict[str, str]:
    """Digests of a checkpoint's network, optimizer, plan and progress."""
    contents = torch.load(path, weights_only=True)
    name = f"{path.parent.name}/{path.name}"
    digests = {f"{name} model": tensors_digest(contents["model"])}
    if "optimizer" in contents:
        digests[f"{name} optimizer"] = tensors_digest(contents["optimizer"])
    others = {key: contents.get(key) for key in ("plan", "scheduler", "ema", "epoch", "step", "best_score")}
    return digests | {f"{name} others": tensors_digest(others)}


def tensors_digest(contents: object) -> str:
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
    with open(path, newline="", encoding="utf-8") as file:
        rows = [{name: value for name, value in row.items() if name not in TIMED} for row in csv.DictReader(file)]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def metrics_digest(path: Path) -> str:
    metrics = json.loads(path.read_text(encoding="utf-8"))
    return hashlib.sha256(json.dumps([metrics[name] for name in MEASURES]).encode()).hexdigest()


def files_digest(folder: Path, pattern: str) -> str:
    """Of the files' contents, in the order of their names."""
    files = sorted(folder.glob(pattern))
    if not files:
        raise SystemExit(f"{folder}: no {pattern}")
    return hashlib.sha256(b"".join(hashlib.sha256(file.read_bytes()).digest() for file in files)).hexdigest()


def mat_digest(folder: Path) -> str:
    """Of the variables of all gt.mat files in a folder; their headers hold the time of writing."""
    import scipy.io

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
