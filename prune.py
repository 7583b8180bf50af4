"""Channel-prune a checkpoint into a smaller network that `train_sample.py --prune` fine-tunes.

    python3 prune.py --pretrain-model CKPT --save-dir OUT --sparsity 0.5
    python3 prune.py --pretrain-model CKPT --save-dir OUT --target-macs 0.25 --scope global --criterion bn
    python3 prune.py --pretrain-model CKPT --save-dir OUT --train-folder-sample SAMPLE --recalibrate 200
    python3 prune.py --show-groups

Channels go together by channel group (utils/channels.py); what the removed ones told the layers that read them is
folded into those (utils/compensation.py). Writes OUT/pruned.pt and OUT/plan.json, and prints channels, parameters
and MACs before and after.
"""

import argparse
import itertools
import json

import torch
from torch import nn

from datasets import EpochSampler, make_loader, open_dataset
from loss import detection_loss
from model import FOTSModel
from model_pruned import FOTSModelPruned
from utils.augmentation import TrainTransform
from utils.channels import LAYERS, ORIGINAL_PLAN, describe_groups, read_plan, select_channels
from utils.checkpoint import load_model, save_checkpoint
from utils.cli import Parser, add_cache_option, flag, given_path, given_text, number, option, whole_number
from utils.compensation import compensate, estimate_inputs, measure_inputs, recalibrate
from utils.cost import PlanCosts, count_macs, count_parameters, milliseconds_per_frame
from utils.errors import UserError, run_script
from utils.importance import CRITERIA, Scores, score_taylor, score_weights
from utils.latency import LayerTimes
from utils.problems import Problems
from utils.results import format_table
from utils.selection import Kept, Rules, choose_plan, choose_share, choose_within

TARGETS = ("sparsity", "target_macs", "target_params", "target_latency", "plan")
BATCH = 8


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = Parser(__doc__)
    option(parser, "--pretrain-model", given_text, None, "CKPT", "the checkpoint to prune, pruned or not")
    option(parser, "--save-dir", given_path, None, "DIR", "folder for pruned.pt and plan.json")
    flag(parser, "--show-groups", "print the channel groups, who writes and who reads them, and do nothing else")

    how = parser.add_argument_group("which channels go")
    option(how, "--criterion", str, "l1", None, "of a channel's importance", choices=CRITERIA)
    option(
        how,
        "--scope",
        str,
        "layer",
        None,
        "the same share of each group, or the least of all",
        choices=("layer", "global"),
    )
    flag(how, "--prune-remove-artifacts", "prune the heads' inputs too, the output of remove_artifacts")
    option(how, "--seed", whole_number(0), 0, "N", "of --criterion random and of the frames drawn")

    much = parser.add_argument_group("how many (one of the first five)")
    option(much, "--sparsity", number(0, 0.999), None, "SHARE", "share of the channels to remove (default 0.5)")
    option(much, "--target-macs", number(1e-6, 1), None, "SHARE", "of the original's MACs")
    option(much, "--target-params", number(1e-6, 1), None, "SHARE", "of the original's parameters")
    option(much, "--target-latency", number(1e-3), None, "MS", "milliseconds a frame on this machine's CPU")
    option(much, "--plan", given_text, None, "FILE", "channels by group, a plan.json")
    option(much, "--round-to", whole_number(1), 1, "N", "widths are multiples of it")
    option(much, "--min-channels", whole_number(1), 1, "N", "that each group keeps")
    option(much, "--size", whole_number(32), (288, 512), ("H", "W"), "input size for MACs and milliseconds", nargs=2)

    data = parser.add_argument_group("training frames, for --criterion taylor and --recalibrate")
    option(data, "--recalibrate", whole_number(1), None, "N", "fit what is left to N frames, BatchNorm statistics anew")
    option(data, "--train-folder-syn", given_text, None, "DIR", "SynthText: the folder of gt.mat")
    option(data, "--train-folder-sample", given_text, None, "DIR", "annotated frames")
    option(data, "--short-side", whole_number(1), TrainTransform.short_side, "PX", "frames get this short side")
    option(data, "--crop", whole_number(TrainTransform.least_crop), TrainTransform.crop, "PX", "and are cropped")
    add_cache_option(data)
    args = parser.parse_args(arguments)
    check_args(parser, args, parser.given(arguments))
    return args


def check_args(parser: Parser, args: argparse.Namespace, given: set[str]) -> None:
    """Refuse what could have no effect, and what contradicts itself."""
    if args.show_groups:
        return
    for name in ("pretrain_model", "save_dir"):
        if getattr(args, name) is None:
            parser.error(f"--{name.replace('_', '-')} is required")
    if len(named := [name for name in TARGETS if name in given]) > 1:
        parser.error(
            f"{' and '.join('--' + name.replace('_', '-') for name in named)} each say how much goes; drop one"
        )
    if args.sparsity is None and not named:
        args.sparsity = 0.5
    needs_frames = args.recalibrate or args.criterion == "taylor"
    has_frames = args.train_folder_syn or args.train_folder_sample
    if needs_frames and not has_frames:
        parser.error("--recalibrate and --criterion taylor need --train-folder-syn or --train-folder-sample")
    if has_frames and not needs_frames:
        parser.error("training folders have no effect without --recalibrate or --criterion taylor")
    for name, without in (("scope", args.plan), ("round_to", args.plan), ("min_channels", args.plan)):
        if name in given and without:
            parser.error(f"--{name.replace('_', '-')} has no effect with --plan, which gives all widths")


def main(args: argparse.Namespace) -> None:
    if args.show_groups:
        model = load_model(args.pretrain_model)[0] if args.pretrain_model else None
        print(format_table(describe_groups(model.plan if model else ORIGINAL_PLAN)))
        return
    model, _ = load_model(args.pretrain_model)
    batches = read_batches(args) if args.recalibrate or args.criterion == "taylor" else []
    if args.criterion == "taylor":
        scores = score_taylor(model, batches, detection_loss)
    else:
        scores = score_weights(model.state_dict(), args.criterion, args.seed)
    pruned = shrink(model, choose_channels(args, model, scores), batches if args.recalibrate else [])
    if pruned.plan == model.plan:
        raise UserError("nothing is removed: every channel stays; ask for less of the network")
    args.save_dir.mkdir(parents=True, exist_ok=True)
    path = args.save_dir / "pruned.pt"
    save_checkpoint(path, pruned, epoch=0, arguments={**vars(args), "save_dir": str(args.save_dir)})
    (args.save_dir / "plan.json").write_text(json.dumps(pruned.plan, indent=1) + "\n", encoding="utf-8")
    print(format_table(report(model, pruned, *args.size)))
    print(f"{path}: fine-tune it with train_sample.py ... --pretrain-model {path} --continue-training --prune "
          f"--teacher {args.pretrain_model}")  # fmt: skip


def choose_channels(args: argparse.Namespace, model: nn.Module, scores: Scores) -> Kept:
    """The channels that stay, for the target that the options name."""
    if args.plan:
        return choose_plan(scores, read_plan(args.plan))
    whole = () if args.prune_remove_artifacts else ("remove_artifacts",)
    rules = Rules(args.scope, whole, args.round_to, args.min_channels)
    if args.sparsity is not None:
        return choose_share(scores, args.sparsity, rules)
    if args.target_latency:
        return choose_by_latency(args, model, scores, rules)
    name, target = ("macs", args.target_macs) if args.target_macs else ("params", args.target_params)
    costs = PlanCosts(model, *args.size)
    cost = costs.macs if args.target_macs else costs.parameters
    return choose_within(scores, cost, target * cost(ORIGINAL_PLAN), rules, f"--target-{name} {target}")


def choose_by_latency(args: argparse.Namespace, model: nn.Module, scores: Scores, rules: Rules) -> Kept:
    """From a table of layer times, corrected twice by the time that the whole network then takes."""
    times = LayerTimes(model, *args.size)
    times.correct(model.plan, milliseconds_per_frame(model, *args.size))
    what = f"--target-latency {args.target_latency}"
    for _ in range(2):
        kept = choose_within(scores, times.milliseconds, args.target_latency, rules, what)
        plan = {group: len(channels) for group, channels in kept.items()}
        times.correct(plan, milliseconds_per_frame(FOTSModelPruned(plan).eval(), *args.size))
    return choose_within(scores, times.milliseconds, args.target_latency, rules, what)


def shrink(model: FOTSModel, kept: Kept, batches: list) -> FOTSModelPruned:
    """The network of the kept channels, in eval mode; with batches, fitted to them."""
    state = model.state_dict()
    inputs = measure_inputs(model, batches) if batches else estimate_inputs(state)
    pruned = FOTSModelPruned({group: len(channels) for group, channels in kept.items()})
    pruned.load_state_dict(select_channels(compensate(state, kept, inputs), kept))
    if batches:
        recalibrate(pruned, batches)
    return pruned.eval()


def read_batches(args: argparse.Namespace) -> list:
    """Training crops, as many as are asked for (64 for taylor)."""
    transform = TrainTransform(short_side=args.short_side, crop=args.crop)
    folders = args.train_folder_syn, args.train_folder_sample
    dataset = open_dataset(*folders, True, transform=transform, cache_dir=args.cache_dir)
    loader = make_loader(dataset, EpochSampler(dataset, args.seed), BATCH, 0)
    count = -(-(args.recalibrate or 64) // BATCH)
    batches = [batch for batch in itertools.islice(loader, count) if not isinstance(batch, Problems)]
    if not batches:
        raise UserError(f"none of the images could be read:\n{dataset.problems}")
    return batches


def report(before: torch.nn.Module, after: torch.nn.Module, height: int, width: int) -> list[list[str]]:
    """Rows of a table: output channels, parameters and MACs of each convolution and its norm, and in all."""
    counts = []
    for model in (before, after):
        macs, modules = count_macs(model, height, width), dict(model.named_modules())
        counts.append({})
        for layer in LAYERS:
            parameters = sum(count_parameters(modules[name]) for name in (layer.conv, layer.norm) if name)
            counts[-1][layer.conv] = modules[layer.conv].out_channels, parameters, macs[layer.conv]
    rows = [["layer", "channels", "", "parameters", "", f"MMACs at {height}x{width}", ""]]
    for conv, old in counts[0].items():
        rows.append([conv, *_cells(old, counts[1][conv])])
    totals = [[sum(values) for values in zip(*count.values(), strict=True)] for count in counts]
    rows.append(["in all", *_cells(*totals)])
    rows.append(["left", *(cell for old, new in zip(*totals, strict=True) for cell in ("", f"{new / old:.1%}"))])
    return rows


def _cells(old, new) -> list[str]:
    cells = []
    for place, (before, after) in enumerate(zip(old, new, strict=True)):
        scale, pattern = (1e6, "{:,.1f}") if place == 2 else (1, "{:,.0f}")
        cells += [pattern.format(before / scale), "-> " + pattern.format(after / scale)]
    return cells


if __name__ == "__main__":
    run_script(lambda: main(parse_args()))
