"""The hmean and the speed of pruned networks, by criterion and sparsity.

    python3 -m benchmarks.pruning --pretrain-model CKPT --train-folder-sample DIR --test-folder-sample DIR

For each criterion and share of channels removed: hmean after pruning, after re-estimation of BatchNorm statistics, and
after a short fine-tuning, the same for all (new Adam, cosine schedule, the network before pruning as teacher, the last
epoch's network). Each hmean is at the best of a few score thresholds, because pruning and short training change which
one is best. For comparison: *torch-pruning*, the choice of its MagnitudePruner with its own importance; and *plain*,
uniform L1 without compensation, fine-tuned without a teacher. No method prunes `remove_artifacts` and the heads.

A row is written to pruning.csv in --save-dir after each measurement; the same command, started again, continues after
them.
"""

import argparse
import copy
import csv
import statistics
import subprocess
import sys
import warnings
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader

from loss import Criterion
from model import FOTSModel
from model_pruned import FOTSModelPruned
from prune import open_test_frames, read_frames
from utils.checkpoint import load_model, save_checkpoint
from utils.data.augmentation import WholeFrame
from utils.decode import NMS_THRESHOLD, Thresholds
from utils.errors import run_script
from utils.evaluation.validation import ValidationSettings, evaluate_frames, validate
from utils.network.base import TextNetwork
from utils.network.channels import LAYERS, uniform_plan
from utils.network.cost import limit_threads, milliseconds_per_frame
from utils.options.parser import Parser, nonempty_path, nonempty_text, number, option, whole_number
from utils.options.pruning import VIEW
from utils.options.pruning_request import AccuracySettings, TrainingFrames
from utils.options.view import add_view_options, train_transform
from utils.pruning import CRITERIA, Evidence, Method, Sparsity, keep_channels, prune, recalibrate_if_better
from utils.pruning.selection import Kept
from utils.runtime.tables import format_table
from utils.training.run_folder import append_row

PLAIN, PEER = "plain", "torch-pruning"
RATIOS = 0.25, 0.5, 0.75
COLUMNS = "method", "sparsity", "pruned", "recalibrated", "finetuned"
SETTINGS = "pretrain_model", "test_folder_sample", "val_short_side", "recalibrate", "epochs", "lr", "batch_size"
"""The options that make rows comparable, besides those of the training data."""

THRESHOLDS = 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95
SPEED_SIZE, SPEED_ROUNDS, SPEED_THREADS = (288, 512), 9, 2
MEASURED_BATCH = 8
"""Training frames in a batch that pruning measures on; --batch-size is of the fine-tuning."""


def main() -> None:
    args = parse_args()
    torch.set_num_threads(args.threads)
    args.save_dir.mkdir(parents=True, exist_ok=True)
    table = args.save_dir / "pruning.csv"
    settings = " ".join([*(str(getattr(args, name)) for name in SETTINGS), *data_options(args)])
    rows = [row for row in read_rows(table) if row["settings"] == settings]
    done = {(row["method"], float(row["sparsity"])) for row in rows}
    model, _ = load_model(args.pretrain_model)
    thresholds = Thresholds(min(THRESHOLDS), NMS_THRESHOLD)
    test_loader = open_test_frames(AccuracySettings(args.test_folder_sample, args.val_short_side, thresholds))
    hmean = best_hmean(model, test_loader)
    print(f"{args.pretrain_model}: hmean {hmean:.4f} on {len(test_loader)} frames", flush=True)
    folders = args.train_folder_syn, args.train_folder_sample
    frames = TrainingFrames(folders, train_transform(args), args.recalibrate, MEASURED_BATCH)
    evidence = Evidence(model, read_frames(frames), Criterion())
    for sparsity in args.ratios:
        for method in args.methods:
            if (method, sparsity) not in done:
                row = measure(args, method, sparsity, evidence, test_loader)
                rows.append({"method": method, "sparsity": sparsity, **row, "settings": settings})
                append_row(table, rows[-1])
                print(row, flush=True)
    cells = ([row["method"], str(row["sparsity"]), *(str(row[name])[:5] for name in COLUMNS[2:])] for row in rows)
    print(format_table([list(COLUMNS), *cells]))
    narrow = {f"sparsity {1 - share:g}": FOTSModelPruned(uniform_plan(share)) for share in (0.75, 0.5, 0.25)}
    print(format_table(time_networks({"original": FOTSModel(), **narrow})))


def build_parser() -> Parser:
    parser = Parser(__doc__)
    option(parser, "--pretrain-model CKPT", nonempty_text, None, "a trained network", required=True)
    option(parser, "--train-folder-syn DIR", nonempty_text, None, "SynthText")
    option(parser, "--train-folder-sample DIR", nonempty_text, None, "annotated frames")
    option(parser, "--test-folder-sample DIR", nonempty_text, None, "annotated frames to measure on", required=True)
    option(parser, "--save-dir DIR", nonempty_path, Path("pruning_benchmark"), "for pruning.csv and the runs")
    option(parser, "--epochs N", whole_number(1), 1, "of each fine-tuning")
    option(parser, "--lr RATE", number(0), 1e-3, "of each fine-tuning")
    option(parser, "--batch-size N", whole_number(2), 8, "of each fine-tuning")
    option(parser, "--recalibrate N", whole_number(8), 256, "training frames to measure on")
    methods = (PLAIN, PEER, *sorted(CRITERIA))
    option(parser, "--methods", str, methods, "what to measure (default: all)", nargs="+", choices=methods)
    option(parser, "--ratios SHARE", number(0.01, 0.99), RATIOS, "shares of the channels to remove", nargs="+")
    option(parser, "--threads N", whole_number(1), torch.get_num_threads(), "of the measurements")
    add_view_options(parser)
    option(parser, "--val-short-side PX", whole_number(1), WholeFrame.short_side, "of the frames to measure on")
    return parser


def parse_args() -> argparse.Namespace:
    parser = build_parser()
    args = parser.parse_args()
    if not (args.train_folder_syn or args.train_folder_sample):
        parser.error("nothing to fine-tune on: give --train-folder-syn, --train-folder-sample, or both")
    return args


def data_options(args: argparse.Namespace) -> list[str]:
    """The options about training data and their view, as on a command line."""
    words = []
    for name in ("train_folder_syn", "train_folder_sample", *VIEW):
        value = getattr(args, name)
        if value is not None:
            values = value if isinstance(value, list | tuple) else [value]
            words += [f"--{name.replace('_', '-')}", *map(str, values)]
    return words


def measure(
    args: argparse.Namespace, method: str, sparsity: float, evidence: Evidence, test_loader: DataLoader
) -> dict[str, float | str]:
    """The hmean of one network after pruning, re-estimation of BatchNorm statistics and fine-tuning."""
    torch.manual_seed(0)
    if method == PEER:
        pruned = keep_channels(evidence.model, choose_with_peer(evidence.model, sparsity))
    else:
        how = Method("l1", replacement="zero") if method == PLAIN else Method(method)
        pruned = prune(evidence, Sparsity(sparsity), how).network
    before, after = best_hmean(pruned, test_loader), ""
    if method in CRITERIA:
        recalibrate_if_better(pruned, evidence.batches, Criterion())
        after = str(best_hmean(pruned, test_loader))
    teacher = [] if method == PLAIN else ["--teacher", args.pretrain_model]
    tuned = fine_tune(args, pruned, args.save_dir / f"{method}-{sparsity:g}", teacher)
    return {"pruned": before, "recalibrated": after, "finetuned": best_hmean(tuned, test_loader)}


def best_hmean(model: TextNetwork, loader: DataLoader) -> float:
    """The highest hmean over `THRESHOLDS`."""
    settings = ValidationSettings(Thresholds(min(THRESHOLDS), NMS_THRESHOLD), THRESHOLDS)
    found = validate(model, loader, Criterion(), settings)
    return max(evaluate_frames(found.frames, words).hmean for words in found.sweep.values())


def choose_with_peer(model: TextNetwork, sparsity: float) -> Kept:
    """The channels that torch-pruning keeps: their indices are put into the running means, which it prunes along."""
    import torch_pruning

    model = copy.deepcopy(model)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.get_buffer("running_mean").copy_(torch.arange(module.num_features))
    names = "remove_artifacts", "confidence", "distances", "angle"
    options = {"pruning_ratio": sparsity, "ignored_layers": [model.get_submodule(name) for name in names]}
    importance = torch_pruning.importance.MagnitudeImportance()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch_pruning.pruner.MagnitudePruner(model, torch.zeros(1, 3, 128, 128), importance, **options).step()
    norms = {layer.writes: layer.norm for layer in LAYERS if layer.writes and layer.norm}
    means = {group: model.get_submodule(norm).get_buffer("running_mean") for group, norm in norms.items()}
    return {group: mean.long() for group, mean in means.items()}


def fine_tune(args: argparse.Namespace, pruned: TextNetwork, folder: Path, teacher: list[str]) -> TextNetwork:
    """The network after a short training. teacher: the option, or []."""
    folder.mkdir(parents=True, exist_ok=True)
    save_checkpoint(folder / "pruned.pt", pruned)
    line = ["--pretrain-model", folder / "pruned.pt", "--prune", "--save-dir", folder / "tuned", "--num-workers", 0]
    line += ["--epochs", args.epochs, "--lr", args.lr, "--schedule", "cosine", "--warmup-steps", 20]
    line += ["--batch-size", args.batch_size, "--batches-before-train", 1, "--save-epoch-every", 0]
    command = [sys.executable, "train_sample.py", *data_options(args), *map(str, line), *teacher]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    tuned, _ = load_model(folder / "tuned" / "last.pt")
    for path in (folder / "pruned.pt", folder / "tuned" / "last.pt"):
        path.unlink()
    return tuned


def time_networks(networks: dict[str, TextNetwork]) -> list[list[str]]:
    """Rows of a table: milliseconds, measured in turns, and how many times faster than the first network."""
    times: dict[str, list[float]] = {name: [] for name in networks}
    with limit_threads(SPEED_THREADS):
        for _ in range(SPEED_ROUNDS):
            for name, network in networks.items():
                times[name].append(milliseconds_per_frame(network.eval(), *SPEED_SIZE, repeats=3))
    medians = {name: statistics.median(values) for name, values in times.items()}
    first = next(iter(medians.values()))
    height, width = SPEED_SIZE
    rows = [[f"{height}x{width}, {SPEED_THREADS} threads", "ms", "times faster"]]
    return rows + [[name, f"{value:.1f}", f"{first / value:.2f}"] for name, value in medians.items()]


def read_rows(path: Path) -> list[dict]:
    """The rows of a CSV file; [] if it does not exist."""
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


if __name__ == "__main__":
    run_script(main)
