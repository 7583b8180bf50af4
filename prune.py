"""Prune the channels of a checkpoint; `train_sample.py --prune` fine-tunes the smaller network.

    python3 prune.py --pretrain-model CKPT --save-dir OUT --sparsity 0.5 \\
        --train-folder-syn SYN --train-folder-sample SAMPLE --test-folder-sample SAMPLE
    python3 prune.py ... --target-macs 0.25 --scope global --criterion taylor --round-to 8
    python3 prune.py ... --sparsity 0.75 --steps 3 -- --train-folder-sample SAMPLE --epoch 1 --val
    python3 prune.py ... --analyse                  # how sensitive each channel group is
    python3 prune.py --show-groups

The least important channels of each channel group are removed. With training frames, a removed channel is replaced by a
linear combination of the kept ones, and BatchNorm statistics are re-estimated where this lowers the frames' loss.
The folder --save-dir receives pruned.pt (with the optimizer's state of the kept channels), plan.json and report.json.
The same from Python: `utils.pruning.prune_network`.
"""

import utils.runtime.openmp  # noqa: F401  # isort: skip  (PyTorch reads its setting when it is loaded)
import itertools
import sys
from collections.abc import Mapping
from pathlib import Path

import torch
from torch.utils.data import DataLoader
from tqdm import tqdm

from datasets import Batch, EpochSampler, make_loader, open_dataset
from loss import Criterion
from utils.checkpoint import load_model
from utils.data.augmentation import WholeFrame
from utils.data.layouts import folder_names
from utils.errors import UserError, printable, run_script
from utils.evaluation.validation import ValidationSettings, validate
from utils.network.base import TextNetwork
from utils.network.channels import ORIGINAL_PLAN, describe_groups
from utils.network.cost import measure_cost
from utils.network.rejector import note_left_out
from utils.options.parser import Parser
from utils.options.pruning import add_options
from utils.options.pruning_request import AccuracySettings, Request, TrainingFrames, parse_request
from utils.pruning import Evidence, OutOfReach, Pruning, build_pruning, prune, remove_masked_channels
from utils.pruning.comparison import comparison_table, draw_channels, layer_table
from utils.pruning.criteria import score_channels
from utils.pruning.gradual import fine_tune, step_folder
from utils.pruning.importance import usable_batches
from utils.pruning.output_files import save_pruning, write_json
from utils.pruning.recalibration import mean_loss, recalibrate_if_better
from utils.pruning.selection import Kept
from utils.pruning.sensitivity import draw_heatmap, measure_groups, table_of_halves, write_csv
from utils.runtime.device import choose_device
from utils.runtime.results import ResultFolder
from utils.runtime.tables import format_table

WRITTEN = "pruned.pt", "plan.json", "report.json", "channels.png"
WRITTEN_BY_ANALYSE = "analysis.csv", "analysis.png"


def main(request: Request) -> None:
    if request.action == "show_groups":
        show_groups(request.checkpoint)
        return
    choose_device(0, threads=request.threads)
    model, contents = load_model(request.checkpoint)
    batches, accuracy = read_frames(request.frames), Accuracy(request.accuracy)
    results = ResultFolder(request.folder, "prune")
    for name in WRITTEN_BY_ANALYSE if request.action == "analyse" else WRITTEN:
        results.claim(name)
    if request.action == "analyse":
        analyse(Evidence(model, batches, Criterion(), request.seed), request, accuracy)
        return
    if left_out := note_left_out(contents):
        print(left_out)
    networks = {"before": measure_cost(model, *request.size) | accuracy.of(model)}
    original = model
    for step in range(1, request.steps):
        pruning = prune_step(request, model, batches, step)
        if request.recalibrates:
            recalibrate(pruning.network, batches)
        folder = step_folder(request.folder, step)
        folder.mkdir(exist_ok=True)
        path = save(folder, pruning, model, contents, request)
        channels = sum(pruning.network.plan.values())
        print(f"step {step} of {request.steps}: {channels:,} channels are kept; fine-tuning", flush=True)
        model, contents = load_model(fine_tune(path, request.training_line, folder))
    pruning = prune_step(request, model, batches, request.steps)
    costs = measure_cost(pruning.network, *request.size)
    networks["pruned"] = costs | accuracy.of(pruning.network)
    if request.recalibrates:
        recalibrate(pruning.network, batches)
        networks["recalibrated"] = costs | accuracy.of(pruning.network)
    path = save(request.folder, pruning, model, contents, request)
    write_report(request, original, pruning.network, networks)
    name = printable(path)
    print(f"{name}: fine-tune it with train_sample.py ... --pretrain-model {name} --continue-training --prune")


def show_groups(checkpoint: str | None) -> None:
    """Print the channel groups of a checkpoint's network, or of the original."""
    widths = load_model(checkpoint)[0].plan if checkpoint else ORIGINAL_PLAN
    print(format_table(describe_groups(widths), words=4))


def read_frames(frames: TrainingFrames | None) -> list[Batch]:
    """Batches of the training frames to measure on; [] without any. Raises `UserError` if none can be read."""
    if not frames:
        return []
    options = {"cache_dir": frames.cache_dir, **frames.reading._asdict()}
    dataset = open_dataset(*frames.folders, train=True, transform=frames.transform, **options)
    if dataset.problems:
        print(f"training data, left out or repaired:\n{dataset.problems}")
    loader = make_loader(dataset, EpochSampler(dataset, frames.seed), frames.batch_size, 0)
    count = max(1, frames.count // frames.batch_size)
    drawn = tqdm(itertools.islice(loader, count), "read", count, unit="batch", leave=False, disable=None)
    batches = usable_batches(drawn)
    if not batches:
        names = folder_names(*frames.folders)
        raise UserError(f"{names}: no batch of training frames can be read; give more, or a smaller --batch-size")
    return batches


def open_test_frames(settings: AccuracySettings) -> DataLoader:
    """A loader of the test frames, one at a time."""
    transform = WholeFrame(settings.short_side)
    options = {"cache_dir": settings.cache_dir, **settings.reading._asdict()}
    dataset = open_dataset(None, settings.folder, train=False, transform=transform, **options)
    if dataset.problems:
        print(f"test data, left out or repaired:\n{dataset.problems}")
    return make_loader(dataset, EpochSampler(dataset), 1, 0)


class Accuracy:
    """Measures networks on the test frames; without settings, it measures nothing."""

    def __init__(self, settings: AccuracySettings | None):
        self.settings = settings
        self.loader = open_test_frames(settings) if settings else None

    def of(self, network: TextNetwork) -> dict[str, float]:
        """The network's loss and hmean, by name; {} without test frames."""
        if not self.settings or not self.loader:
            return {}
        torch.manual_seed(0)  # the loss draws easy negatives at random
        result = validate(network, self.loader, Criterion(), ValidationSettings(self.settings.thresholds))
        return {"loss": result.loss, "hmean": result.evaluation.hmean}


def prune_step(request: Request, model: TextNetwork, batches: list[Batch], step: int) -> Pruning:
    """Pruning number `step`, from 1, of --steps. Raises `UserError` if it removes nothing."""
    if request.target is None:
        pruning = remove_masked_channels(model)
    else:
        evidence = Evidence(model, batches, Criterion(), request.seed)
        try:
            pruning = prune(evidence, request.target.at_step(step, request.steps), request.method)
        except OutOfReach as error:
            raise UserError(f"{request.asked}: {error}") from None
    if pruning.network.plan == model.plan:
        raise UserError(f"{request.asked}: removes no channel of {request.checkpoint}; ask for a smaller network")
    return pruning


def recalibrate(network: TextNetwork, batches: list[Batch]) -> None:
    """Re-estimate BatchNorm statistics, in place, where this lowers the loss of the training frames."""
    before, after = result = recalibrate_if_better(network, batches, Criterion())
    if not result.accepted:
        print(f"BatchNorm statistics are kept: re-estimated ones give a loss of {after:.4f} instead of {before:.4f}")


def save(folder: Path, pruning: Pruning, before: TextNetwork, contents: Mapping, request: Request) -> Path:
    """Write pruned.pt and return its path. before: the network before pruning; contents: of its checkpoint."""
    path = folder / "pruned.pt"
    reason = save_pruning(path, pruning, before, contents.get("optimizer"), request.arguments)
    if reason:
        print(f"{printable(request.checkpoint)}: {reason}: {printable(path)} has no optimizer state")
    return path


def write_report(request: Request, before: TextNetwork, after: TextNetwork, networks: Mapping) -> None:
    """Write plan.json, report.json and with --chart channels.png; print the tables."""
    write_json(request.folder / "plan.json", after.plan)
    report = {"size": request.size, "networks": networks, "plan_before": before.plan, "plan": after.plan}
    write_json(request.folder / "report.json", report)
    if request.arguments["chart"]:
        draw_channels(request.folder / "channels.png", before.plan, after.plan)
    print(layer_table(before, after, *request.size))
    print(f"\n{comparison_table(networks, *request.size)}")


def analyse(evidence: Evidence, request: Request, accuracy: Accuracy) -> None:
    """Measure the network with each channel group pruned alone; write and print the changes."""

    def measure(network: TextNetwork) -> dict[str, float]:
        return accuracy.of(network) or {"loss": mean_loss(network, evidence.batches, Criterion())}

    def measure_kept(kept: Kept) -> dict[str, float]:
        return measure(build_pruning(evidence, kept, request.method.replacement).network)

    scores = score_channels(evidence, request.method.criterion)
    whole = measure(evidence.model)
    measured = measure_groups(scores, measure_kept)
    rows = list(tqdm(measured, "analyse", 3 * len(scores), leave=False, disable=None))
    write_csv(request.folder / "analysis.csv", rows)
    draw_heatmap(request.folder / "analysis.png", rows, whole)
    print(format_table(table_of_halves(rows, whole)))
    print(f"{printable(request.folder)}: analysis.csv, analysis.png")


def build_parser() -> Parser:
    return add_options(Parser(__doc__))


def parse_args(arguments: list[str]) -> Request:
    return parse_request(build_parser(), arguments)


if __name__ == "__main__":
    run_script(lambda: main(parse_args(sys.argv[1:])))
