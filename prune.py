"""Channel-prune a checkpoint into a smaller network that `train_sample.py --prune` fine-tunes.

    python3 prune.py --pretrain-model CKPT --save-dir OUT --sparsity 0.5 \\
        --train-folder-syn SYN --train-folder-sample SAMPLE --test-folder-sample SAMPLE
    python3 prune.py ... --target-macs 0.25 --scope global --criterion taylor --round-to 8
    python3 prune.py ... --sparsity 0.75 --steps 3 -- --train-folder-sample SAMPLE --epoch 1 --val
    python3 prune.py ... --analyse                  # which channel groups matter
    python3 prune.py --show-groups

Chooses the channels of each channel group that matter least and removes them. With training frames, the layers
that read a removed channel learn by least squares to do with the others, and BatchNorm's statistics are
measured anew where that lowers the frames' loss. Writes to --save-dir: pruned.pt, with the optimizer's state for the
channels that stay, plan.json and report.json.
"""

import argparse
import copy
import itertools
import sys
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn
from tqdm import tqdm

from datasets import Batch, EpochSampler, SampleDataset, make_loader, open_dataset
from loss import Criterion, detection_loss
from model import FOTSModel
from model_pruned import FOTSModelPruned
from utils.checkpoint import load_model, save_checkpoint
from utils.data.augmentation import WholeFrame
from utils.decode import Thresholds
from utils.errors import UserError, run_script
from utils.evaluation.validation import ValidationSettings, validate
from utils.maps import normalise
from utils.network.channels import ORIGINAL_PLAN, describe_groups, read_plan, select_channels
from utils.network.cost import PlanCosts, milliseconds_per_frame
from utils.network.layer_times import LayerTimes
from utils.options.pruning import parse_args
from utils.options.view import train_transform
from utils.pruning.compensation import Inputs, compensate, estimate_inputs, measure_inputs, recalibrate
from utils.pruning.gradual import fine_tune, share_of_step
from utils.pruning.importance import Scores, score_obs, score_taylor, score_weights
from utils.pruning.masked import varying_channels
from utils.pruning.optimizer_state import select_optimizer
from utils.pruning.report import comparison, draw_channels, layer_table, measure_cost, write_json
from utils.pruning.selection import Kept, Rules, choose_plan, choose_share, choose_within, plan_of_kept
from utils.pruning.sensitivity import analyse, draw, write_csv
from utils.runtime.device import choose_device
from utils.runtime.tables import format_table

TRIES, CLOSE = 6, 0.93
"""Whole networks that --target-latency measures at most; the share of the target that is near enough to it."""


def main(args: argparse.Namespace) -> None:
    if args.target == "show_groups":
        widths = load_model(args.pretrain_model)[0].plan if args.pretrain_model else ORIGINAL_PLAN
        print(format_table(describe_groups(widths), words=4))
        return
    choose_device(0)
    model, contents = load_model(args.pretrain_model)
    frames, test_loader = read_frames(args), open_test_frames(args)
    args.save_dir.mkdir(parents=True, exist_ok=True)
    if args.target == "analyse":
        analyse_groups(args, model, frames, test_loader)
        return
    networks = {"before": measure_cost(model, *args.size) | measure_accuracy(args, model, test_loader)}
    first = model
    for step in range(1, args.steps):
        pruned = prune_once(args, model, frames, step)
        if args.recalibrates:
            recalibrate_if_better(pruned.network, frames)
        folder = args.save_dir / f"step{step}"
        folder.mkdir(exist_ok=True)
        path = folder / "pruned.pt"
        pruned.save(args, path, contents)
        print(
            f"step {step} of {args.steps}: {sum(pruned.network.plan.values()):,} channels left; fine-tuning", flush=True
        )
        model, contents = load_model(fine_tune(path, args.training, folder))
    pruned = prune_once(args, model, frames, args.steps)
    costs = measure_cost(pruned.network, *args.size)
    networks["pruned"] = costs | measure_accuracy(args, pruned.network, test_loader)
    if args.recalibrates:
        recalibrate_if_better(pruned.network, frames)
        networks["recalibrated"] = costs | measure_accuracy(args, pruned.network, test_loader)
    write_results(args, first, pruned, contents, networks)


class Pruned:
    """A pruned network and where its channels were in the one before."""

    def __init__(self, model: nn.Module, state: dict[str, torch.Tensor], kept: Kept):
        self.before, self.kept = model, kept
        self.network = FOTSModelPruned(plan_of_kept(kept))
        self.network.load_state_dict(select_channels(state, kept))
        self.network.origin = model.origin.after(kept)
        self.network.eval()

    def save(self, args: argparse.Namespace, path: Path, contents: dict) -> None:
        """contents: of the checkpoint before pruning, whose optimizer's state is carried along."""
        others = {}
        if "optimizer" in contents:
            others["optimizer"], reason = select_optimizer(contents["optimizer"], self.before, self.kept)
            if reason:
                print(f"{args.pretrain_model}: {reason}: the optimizer's state is left behind")
                others = {}
        arguments = {name: str(value) if isinstance(value, Path) else value for name, value in vars(args).items()}
        save_checkpoint(path, self.network, epoch=0, arguments=arguments, **others)


def read_frames(args: argparse.Namespace) -> list[Batch]:
    """The training frames to measure on, [] where there are none."""
    if not args.frames:
        return []
    folders = args.train_folder_syn, args.train_folder_sample
    dataset = open_dataset(*folders, True, transform=train_transform(args), cache_dir=args.cache_dir)
    if dataset.problems:
        print(f"training data, left out or repaired:\n{dataset.problems}")
    loader = make_loader(dataset, EpochSampler(dataset, args.seed), args.batch_size, 0)
    count = max(1, args.frames // args.batch_size)
    batches = tqdm(itertools.islice(loader, count), "read", count, unit="batch", leave=False, disable=None)
    # a single frame is too little for BatchNorm
    frames = [batch for batch in batches if isinstance(batch, Batch) and len(batch.images) > 1]
    if not frames:
        raise UserError(f"{' and '.join(filter(None, folders))}: no batch of training frames could be read; "
                        "give more, or a smaller --batch-size")  # fmt: skip
    return frames


def open_test_frames(args: argparse.Namespace):
    if not args.test_folder_sample:
        return None
    view = WholeFrame(args.val_short_side)
    dataset = SampleDataset(args.test_folder_sample, train=False, transform=view, cache_dir=args.cache_dir)
    if dataset.problems:
        print(f"test data, left out or repaired:\n{dataset.problems}")
    return make_loader(dataset, EpochSampler(dataset), 1, 0)


def measure_accuracy(args: argparse.Namespace, model: nn.Module, test_loader) -> dict[str, float]:
    """Loss and hmean on the test frames, if there are any."""
    if not test_loader:
        return {}
    torch.manual_seed(0)  # the loss draws its easy negatives at random
    settings = ValidationSettings(Thresholds(args.score_threshold, args.nms_threshold))
    result = validate(model, test_loader, Criterion(), settings)
    return {"loss": result.loss, "hmean": result.evaluation.hmean}


def score_channels(args: argparse.Namespace, model: nn.Module, frames: list[Batch], inputs: Inputs) -> Scores:
    if args.criterion == "taylor":
        return score_taylor(model, frames, detection_loss)
    if args.criterion == "obs":
        return score_obs(model.state_dict(), inputs)
    return score_weights(model.state_dict(), args.criterion, args.seed)


def see_inputs(args: argparse.Namespace, model: nn.Module, frames: list[Batch]) -> Inputs:
    """What the layers read, from training frames or, without any, from the BatchNorms; {} if nobody asks for it."""
    if args.reconstruct == "zero" and args.criterion != "obs":
        return {}
    return measure_inputs(model, frames) if frames else estimate_inputs(model.state_dict())


def prune_once(args: argparse.Namespace, model: nn.Module, frames: list[Batch], step: int) -> Pruned:
    """Step `step`, from 1, of --steps. Raises `UserError` if it removes nothing."""
    state = model.state_dict()
    if args.target == "zeroed":
        state, kept = varying_channels(state)
        inputs = estimate_inputs(state)
    else:
        inputs = see_inputs(args, model, frames)
        kept = choose_channels(args, model, score_channels(args, model, frames, inputs), step)
    if plan_of_kept(kept) == model.plan:
        value = getattr(args, args.target)
        shown = f"--{args.target.replace('_', '-')}" + ("" if value is True else f" {value}")
        raise UserError(f"{shown}: removes no channel at all of {args.pretrain_model}; ask for a smaller network")
    return Pruned(model, reconstruct(args, state, kept, inputs), kept)


def reconstruct(args: argparse.Namespace, state: dict[str, torch.Tensor], kept: Kept, inputs: Inputs):
    """The tensors of `state` with what stands in for the channels that go."""
    if args.reconstruct == "zero":
        return state
    if args.reconstruct == "mean":
        inputs = {name: moments._replace(covariance=None) for name, moments in inputs.items()}
    return compensate(state, kept, inputs)


def choose_channels(args: argparse.Namespace, model: nn.Module, scores: Scores, step: int) -> Kept:
    """The channels that stay after step `step` of --steps, which remove the same share each."""
    whole = () if args.prune_remove_artifacts else ("remove_artifacts",)
    rules = Rules(args.scope, whole, args.round_to, args.min_channels)
    if args.target == "plan":
        return choose_plan(scores, read_plan(args.plan))
    if args.target == "sparsity":
        return choose_share(scores, 1 - (1 - args.sparsity) ** (1 / args.steps), rules)
    target, left = getattr(args, args.target), args.steps - step + 1
    what = f"--{args.target.replace('_', '-')} {target:g}"
    if args.target == "target_latency":
        return choose_by_latency(args, model, scores, rules, left, what)
    with torch.device("meta"):
        original = PlanCosts(FOTSModel(), *args.size)
    cost = original.macs if args.target == "target_macs" else original.parameters
    now, whole_cost = cost(model.plan), cost(ORIGINAL_PLAN)
    goal = now * share_of_step(target * whole_cost / now, 1, left)
    return choose_within(scores, cost, goal, rules, what)


class Trial(NamedTuple):
    """A choice of channels, and the milliseconds of its network by the table and by measurement."""

    kept: Kept
    expected: float
    measured: float


def choose_by_latency(args, model: nn.Module, scores: Scores, rules: Rules, left: int, what: str) -> Kept:
    """The widest of a few networks that takes no longer than asked for.

    A table of layer times says which to try: between a network that is fast enough and one that is not, times are
    taken to go as in the table.
    """
    choose_device(0)
    if args.threads:
        torch.set_num_threads(args.threads)
    print(f"{what}: measuring the layers, {torch.get_num_threads()} threads", flush=True)

    def trial(kept: Kept) -> Trial:
        network = Pruned(model, model.state_dict(), kept).network
        measured = milliseconds_per_frame(network, *args.size)
        print(f"  {sum(network.plan.values()):,} channels: {measured:.1f} ms", flush=True)
        return Trial(kept, table.milliseconds(network.plan), measured)

    table = LayerTimes(model, *args.size)
    narrow, wide = (trial(choose_share(scores, share, rules)) for share in (1.0, 0.0))
    goal = wide.measured * share_of_step(args.target_latency / wide.measured, 1, left)
    if narrow.measured > goal:
        raise UserError(f"{what}: out of reach, the narrowest network takes {narrow.measured:.3g}; "
                        "give more, or a lower --min-channels or --round-to")  # fmt: skip
    for _ in range(TRIES if wide.measured > goal else 0):
        way = ((1 + CLOSE) / 2 * goal - narrow.measured) / (wide.measured - narrow.measured)
        expected = narrow.expected + min(max(way, 0.05), 0.95) * (wide.expected - narrow.expected)
        kept = choose_within(scores, table.milliseconds, expected, rules, what)
        if plan_of_kept(kept) in (plan_of_kept(narrow.kept), plan_of_kept(wide.kept)):
            break
        tried = trial(kept)
        narrow, wide = (tried, wide) if tried.measured <= goal else (narrow, tried)
        if narrow.measured >= CLOSE * goal:
            break
    choose_device(0)
    return wide.kept if wide.measured <= goal else narrow.kept


def analyse_groups(args: argparse.Namespace, model: nn.Module, frames: list[Batch], test_loader) -> None:
    inputs, state = see_inputs(args, model, frames), model.state_dict()
    scores = score_channels(args, model, frames, inputs)

    def measure(kept: Kept | None) -> dict[str, float]:
        network = model
        if kept:
            network = Pruned(model, reconstruct(args, state, kept, inputs), kept).network
        return measure_accuracy(args, network, test_loader) or {"loss": training_loss(network, frames)}

    whole = measure(None)
    rows = list(tqdm(analyse(scores, measure), "analyse", 3 * len(scores), leave=False, disable=None))
    write_csv(args.save_dir / "analysis.csv", rows)
    draw(args.save_dir / "analysis.png", rows, whole)
    half = sorted((row for row in rows if row["sparsity"] == 0.5), key=lambda row: -row["loss"])
    table = [["group, half of it removed", *whole]]
    table += [[row["group"], *(f"{row[name] - value:+.4f}" for name, value in whole.items())] for row in half]
    print(format_table(table))
    print(f"{args.save_dir}: analysis.csv, analysis.png")


@torch.inference_mode()
def training_loss(model: nn.Module, frames: list[Batch]) -> float:
    torch.manual_seed(0)
    criterion = Criterion()
    total = criterion.zeros()
    for batch in frames:
        total = total + criterion(model(normalise(batch.images)), batch.target)
    return float(total.loss())


def recalibrate_if_better(model: nn.Module, frames: list[Batch]) -> None:
    """BatchNorms' statistics anew, in place, if that lowers the frames' loss.

    What least squares foretell varies less than what was there; to stretch it again can do more harm than good.
    """
    before, loss = copy.deepcopy(model.state_dict()), training_loss(model, frames)
    recalibrate(model, frames)
    if (anew := training_loss(model, frames)) >= loss:
        model.load_state_dict(before)
        print(f"BatchNorms stay: measured anew, the frames' loss is {anew:.4f} instead of {loss:.4f}")


def write_results(args: argparse.Namespace, first: nn.Module, pruned: Pruned, contents: dict, networks: dict) -> None:
    path = args.save_dir / "pruned.pt"
    pruned.save(args, path, contents)
    write_json(args.save_dir / "plan.json", pruned.network.plan)
    report = {"size": args.size, "networks": networks, "plan_before": first.plan, "plan": pruned.network.plan}
    write_json(args.save_dir / "report.json", report)
    if args.chart:
        draw_channels(args.save_dir / "channels.png", first.plan, pruned.network.plan)
    print(layer_table(first, pruned.network, *args.size))
    print(f"\n{comparison(networks, *args.size)}")
    print(f"{path}: fine-tune it with train_sample.py ... --pretrain-model {path} --continue-training --prune")


if __name__ == "__main__":
    run_script(lambda: main(parse_args(sys.argv[1:], __doc__)))
