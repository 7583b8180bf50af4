"""What pruning leaves of a network's hmean, and what it gains in speed.

    python3 -m benchmarks.pruning --pretrain-model CKPT --train-folder-sample DIR --test-folder-sample DIR

For each criterion and ratio: hmean right after pruning, after recalibration, and after a short fine-tuning, the same
for all (fresh Adam, cosine schedule, the whole network as teacher, the last epoch's network). Each hmean is at the
best of a few score thresholds, which pruning and short training move. Against them *torch-pruning*: its
MagnitudePruner with its own importance; and *plain*: uniform L1, the channels taken out and nothing else, fine-tuned
without a teacher. `remove_artifacts` and the heads are left whole by all.

Every row goes to pruning.csv in --save-dir as soon as it is measured; the same line started again goes on after them.
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

import prune
from loss import Criterion
from model import FOTSModel
from model_pruned import FOTSModelPruned
from utils.checkpoint import load_model, save_checkpoint
from utils.data.augmentation import WholeFrame
from utils.decode import NMS_THRESHOLD, Thresholds
from utils.errors import run_script
from utils.evaluation.validation import ValidationSettings, evaluate_frames, validate
from utils.network.channels import LAYERS, uniform_plan
from utils.network.cost import milliseconds_per_frame
from utils.options.parser import Parser, given_path, given_text, number, option, whole_number
from utils.options.pruning import VIEW
from utils.options.view import add_view_options
from utils.pruning.compensation import measure_inputs
from utils.pruning.importance import CRITERIA
from utils.pruning.selection import Kept, Rules, choose_share
from utils.runtime.tables import format_table
from utils.training.run_folder import append_row

PLAIN, PEER = "plain", "torch-pruning"
RATIOS = 0.25, 0.5, 0.75
COLUMNS = "method", "sparsity", "pruned", "recalibrated", "finetuned"
SETTINGS = "pretrain_model", "test_folder_sample", "val_short_side", "recalibrate", "epochs", "lr", "batch_size"
THRESHOLDS = 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95
SPEED_SIZE, SPEED_ROUNDS = (288, 512), 9


def main() -> None:
    args = parse_args()
    torch.set_num_threads(args.threads)
    args.save_dir.mkdir(parents=True, exist_ok=True)
    table = args.save_dir / "pruning.csv"
    settings = " ".join([*(str(getattr(args, name)) for name in SETTINGS), *data_words(args)])
    rows = [row for row in read_rows(table) if row["settings"] == settings]
    done = {(row["method"], float(row["sparsity"])) for row in rows}
    options = prune.parse_args(prune_line(args))
    model, _ = load_model(args.pretrain_model)
    test_loader = prune.open_test_frames(options)
    whole_score = best_hmean(model, test_loader)
    print(f"{args.pretrain_model}: hmean {whole_score:.4f} on {len(test_loader.sampler)} frames", flush=True)
    frames = prune.read_frames(options)
    inputs = measure_inputs(model, frames)
    for sparsity in args.ratios:
        for method in args.methods:
            if (method, sparsity) not in done:
                row = measure(args, options, method, sparsity, model, frames, inputs, test_loader)
                rows.append({"method": method, "sparsity": sparsity, **row, "settings": settings})
                append_row(table, rows[-1])
                print(row, flush=True)
    cells = ([row["method"], str(row["sparsity"]), *(str(row[name])[:5] for name in COLUMNS[2:])] for row in rows)
    print(format_table([list(COLUMNS), *cells]))
    times = {"original": FOTSModel()} | {f"sparsity {1 - share:g}": FOTSModelPruned(uniform_plan(share))
                                         for share in (0.75, 0.5, 0.25)}  # fmt: skip
    print(format_table(time_networks(times)))


def parse_args() -> argparse.Namespace:
    parser = Parser(__doc__)
    option(parser, "--pretrain-model", given_text, None, "CKPT", "a trained network", required=True)
    option(parser, "--train-folder-syn", given_text, None, "DIR", "SynthText")
    option(parser, "--train-folder-sample", given_text, None, "DIR", "annotated frames")
    option(parser, "--test-folder-sample", given_text, None, "DIR", "annotated frames to measure on", required=True)
    option(parser, "--save-dir", given_path, Path("pruning_benchmark"), "DIR", "for pruning.csv and the runs")
    option(parser, "--epochs", whole_number(1), 1, "N", "of each fine-tuning")
    option(parser, "--lr", number(0), 1e-3, "RATE", "of each fine-tuning")
    option(parser, "--batch-size", whole_number(2), 8, "N", "of each fine-tuning")
    option(parser, "--recalibrate", whole_number(8), 256, "N", "training frames to recalibrate on")
    text = "what to measure (default: all)"
    methods = (PLAIN, PEER, *CRITERIA)
    option(parser, "--methods", str, methods, None, text, nargs="+", choices=methods)
    option(parser, "--ratios", number(0.01, 0.99), RATIOS, "SHARE", "shares of the channels", nargs="+")
    option(parser, "--threads", whole_number(1), torch.get_num_threads(), "N", "of the measurements")
    add_view_options(parser)
    option(parser, "--val-short-side", whole_number(1), WholeFrame.short_side, "PX", "of the frames to measure on")
    args = parser.parse_args()
    if not (args.train_folder_syn or args.train_folder_sample):
        parser.error("nothing to fine-tune on: give --train-folder-syn, --train-folder-sample, or both")
    return args


def data_words(args: argparse.Namespace) -> list[str]:
    """The training data and the view of them, as options."""
    words = []
    for name in ("train_folder_syn", "train_folder_sample", *VIEW):
        value = getattr(args, name)
        if value is not None:
            values = value if isinstance(value, list | tuple) else [value]
            words += [f"--{name.replace('_', '-')}", *map(str, values)]
    return words


def prune_line(args: argparse.Namespace) -> list[str]:
    line = ["--pretrain-model", args.pretrain_model, "--save-dir", args.save_dir, "--recalibrate", args.recalibrate,
            "--test-folder-sample", args.test_folder_sample, "--val-short-side", args.val_short_side]  # fmt: skip
    return [*map(str, line), *data_words(args)]


def measure(args, options, method: str, sparsity: float, model, frames, inputs, test_loader) -> dict[str, float | str]:
    """One network's hmean in its stages."""
    torch.manual_seed(0)
    after = ""
    if method == PEER:
        kept = choose_with_peer(model, sparsity)
    else:
        options.criterion = "l1" if method == PLAIN else method
        scores = prune.score_channels(options, model, frames, inputs)
        kept = choose_share(scores, sparsity, Rules(whole=("remove_artifacts",)))
    options.reconstruct = "linear" if method in CRITERIA else "zero"
    pruned = prune.Pruned(model, prune.reconstruct(options, model.state_dict(), kept, inputs), kept).network
    before = best_hmean(pruned, test_loader)
    if method in CRITERIA:
        prune.recalibrate_if_better(pruned, frames)
        after = best_hmean(pruned, test_loader)
    teacher = [] if method == PLAIN else ["--teacher", args.pretrain_model]
    tuned = fine_tune(args, pruned, f"{method}-{sparsity:g}", teacher)
    finetuned = best_hmean(tuned, test_loader)
    return {"pruned": before, "recalibrated": after, "finetuned": finetuned}


def best_hmean(model: nn.Module, loader: DataLoader) -> float:
    settings = ValidationSettings(Thresholds(min(THRESHOLDS), NMS_THRESHOLD), THRESHOLDS)
    found = validate(model, loader, Criterion(), settings)
    return max(evaluate_frames(found.frames, words).hmean for words in found.sweep.values())


def choose_with_peer(model: nn.Module, sparsity: float) -> Kept:
    """The channels that torch-pruning keeps. It takes their running means along, where their numbers are put."""
    import torch_pruning

    model = copy.deepcopy(model)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.copy_(torch.arange(module.num_features))
    whole_layers = [model.remove_artifacts, model.confidence, model.distances, model.angle]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pruner = torch_pruning.pruner.MagnitudePruner(
            model, torch.zeros(1, 3, 128, 128), torch_pruning.importance.MagnitudeImportance(),
            pruning_ratio=sparsity, ignored_layers=whole_layers,
        )  # fmt: skip
        pruner.step()
    norms = {layer.writes: layer.norm for layer in LAYERS if layer.writes}
    return {group: model.get_submodule(norm).running_mean.long() for group, norm in norms.items()}


def fine_tune(args: argparse.Namespace, pruned: FOTSModelPruned, name: str, teacher: list[str]) -> nn.Module:
    folder = args.save_dir / name
    folder.mkdir(parents=True, exist_ok=True)
    save_checkpoint(folder / "pruned.pt", pruned)
    line = ["train_sample.py", *data_words(args), "--pretrain-model", folder / "pruned.pt", "--prune",
            "--save-dir", folder / "tuned", "--epochs", args.epochs, "--lr", args.lr, "--batch-size", args.batch_size,
            "--batches-before-train", 1, "--schedule", "cosine", "--warmup-steps", 20, "--save-epoch-every", 0,
            "--num-workers", 0, *teacher]  # fmt: skip
    subprocess.run([sys.executable, *map(str, line)], check=True, stdout=subprocess.DEVNULL)
    tuned, _ = load_model(folder / "tuned" / "last.pt")
    for path in (folder / "pruned.pt", folder / "tuned" / "last.pt"):
        path.unlink()
    return tuned


def time_networks(networks: dict[str, nn.Module]) -> list[list[str]]:
    """Rows of a table: milliseconds on two threads, in turns, and how many times the first one's speed."""
    torch.set_num_threads(2)
    times = {name: [] for name in networks}
    for _ in range(SPEED_ROUNDS):
        for name, network in networks.items():
            times[name].append(milliseconds_per_frame(network.eval(), *SPEED_SIZE, repeats=3))
    medians = {name: statistics.median(values) for name, values in times.items()}
    first = next(iter(medians.values()))
    height, width = SPEED_SIZE
    rows = [[f"{height}x{width}, 2 threads", "ms", "times faster"]]
    return rows + [[name, f"{value:.1f}", f"{first / value:.2f}"] for name, value in medians.items()]


def read_rows(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


if __name__ == "__main__":
    run_script(main)
