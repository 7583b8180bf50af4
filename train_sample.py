"""Train the FOTS text detector on SynthText, on annotated frames, or on both; fine-tune a pruned one.

    python3 train_sample.py --train-folder-syn SYN --train-folder-sample SAMPLE --batch-size 64 \\
        --batches-before-train 2 --ngpus 1 --save-dir OUT --epoch 30 --val
    python3 train_sample.py ... --pretrain-model OUT/last.pt --continue-training
    python3 train_sample.py ... --pretrain-model PRUNED/pruned.pt --continue-training --prune

Writes to --save-dir: last.pt and epoch_N.pt after each epoch, best.pt (best validation hmean, with --val),
results.csv. --pretrain-model alone starts a new run from its weights; with --continue-training the run goes
on with its optimizer, schedule, best score and epoch count, for --epoch more epochs.
"""

import argparse
import itertools
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from datasets import SYNTHTEXT_DRAW, Batch, EpochSampler, make_loader, open_dataset
from loss import LossCounts, LossSums, loss_counts, loss_sums
from model import FOTSModel
from utils.augmentation import TrainTransform, WholeFrame
from utils.checkpoint import check_pruned, load_model, restore_optimizer, rng_state, save_checkpoint
from utils.cli import (
    Parser,
    add_cache_option,
    add_detection_options,
    add_machine_options,
    choose_device,
    count_workers,
    describe_device,
    number,
    whole_number,
)
from utils.cost import describe_cost
from utils.errors import UserError, run_script
from utils.maps import normalise
from utils.problems import Problems
from utils.results import append_row, set_aside
from utils.validation import validate


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = Parser(__doc__)
    data = parser.add_argument_group("data")
    data.add_argument("--train-folder-syn", metavar="DIR", help="SynthText: the folder of gt.mat")
    data.add_argument("--train-folder-sample", metavar="DIR", help="annotated frames, in one of the README's layouts")
    data.add_argument(
        "--syn-train-size",
        type=whole_number(1),
        default=SYNTHTEXT_DRAW[True],
        metavar="N",
        help="SynthText images that each epoch draws (default %(default)s)",
    )
    data.add_argument(
        "--syn-val-size",
        type=whole_number(1),
        default=SYNTHTEXT_DRAW[False],
        metavar="N",
        help="SynthText images that each validation draws (default %(default)s)",
    )
    data.add_argument(
        "--sample-ratio",
        type=number(0.01),
        default=1.0,
        metavar="X",
        help="beside SynthText, how many times an epoch draws each sample frame; 0.5: a random half (default 1)",
    )
    add_cache_option(data)
    view = parser.add_argument_group("what the network sees (pixels, degrees)")
    view.add_argument(
        "--short-side",
        type=whole_number(1),
        default=TrainTransform.short_side,
        metavar="PX",
        help="training frames are resized to this short side (default %(default)s)",
    )
    view.add_argument(
        "--rotation",
        type=number(0, 45),
        default=TrainTransform.rotation,
        metavar="DEG",
        help="... turned by up to this, either way (default %(default)s)",
    )
    view.add_argument(
        "--stretch",
        type=number(0.1, 10),
        nargs=2,
        default=TrainTransform.stretch,
        metavar=("LOW", "HIGH"),
        help="... stretched in height by a factor (default 0.9 1.1)",
    )
    view.add_argument(
        "--crop",
        type=whole_number(32),
        default=TrainTransform.crop,
        metavar="PX",
        help="... and cropped to a square, a multiple of 4 (default %(default)s)",
    )
    add_detection_options(view)
    network = parser.add_argument_group("network")
    network.add_argument(
        "--backbone-weights",
        metavar="imagenet|none|PATH",
        help="what a new network's encoder starts from (default imagenet)",
    )
    network.add_argument("--pretrain-model", metavar="CKPT", help="start from this checkpoint's weights")
    network.add_argument(
        "--continue-training",
        action="store_true",
        help="go on with that checkpoint's optimizer, schedule, best score and epoch count, too",
    )
    network.add_argument("--prune", action="store_true", help="that checkpoint is a pruned network")
    learning = parser.add_argument_group("learning")
    learning.add_argument(
        "--epoch",
        "--epochs",
        type=whole_number(1),
        default=30,
        metavar="N",
        help="epochs of this run (default %(default)s)",
    )
    learning.add_argument("--batch-size", type=whole_number(1), default=16, metavar="N", help="(default %(default)s)")
    learning.add_argument(
        "--batches-before-train",
        type=whole_number(1),
        default=2,
        metavar="N",
        help="batches whose gradients make one step, as one large batch (default %(default)s)",
    )
    learning.add_argument("--lr", type=number(0), default=1e-3, help="Adam's learning rate (default %(default)s)")
    learning.add_argument("--weight-decay", type=number(0), default=1e-5, help="(default %(default)s)")
    learning.add_argument(
        "--patience",
        type=whole_number(0),
        default=3,
        metavar="N",
        help="epochs without a lower loss before the rate is halved (default %(default)s)",
    )
    learning.add_argument("--seed", type=whole_number(0), default=0, help="(default %(default)s)")
    run = parser.add_argument_group("run")
    run.add_argument(
        "--val",
        action="store_true",
        help="validate after each epoch, on SynthText's last 20 %% and the sample's test frames",
    )
    run.add_argument("--save-dir", type=Path, required=True, metavar="DIR", help="folder for what the run writes")
    run.add_argument(
        "--save-epoch-every",
        type=whole_number(0),
        default=1,
        metavar="N",
        help="keep an epoch_N.pt every so many epochs; 0: never (default %(default)s)",
    )
    add_machine_options(run)
    args = parser.parse_args(arguments)  # fmt: skip
    check_args(parser, args)
    return args


def check_args(parser: Parser, args: argparse.Namespace) -> None:
    """Refuse what could have no effect."""
    if not (args.train_folder_syn or args.train_folder_sample):
        parser.error("nothing to train on: give --train-folder-syn, --train-folder-sample, or both")
    for option in ("continue_training", "prune"):
        if getattr(args, option) and not args.pretrain_model:
            parser.error(f"--{option.replace('_', '-')} needs --pretrain-model: the checkpoint that it is about")
    if args.sample_ratio != 1 and not (args.train_folder_syn and args.train_folder_sample):
        parser.error("--sample-ratio mixes two datasets: it needs --train-folder-syn and --train-folder-sample")
    if args.backbone_weights and args.pretrain_model:
        parser.error("--backbone-weights has no effect beside --pretrain-model, which brings all weights; drop one")


class Run(NamedTuple):
    """What goes through the epochs, and into checkpoints."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    scheduler: torch.optim.lr_scheduler.ReduceLROnPlateau
    first_epoch: int
    best_score: float


def main(args: argparse.Namespace) -> None:
    device = choose_device(args.ngpus)
    torch.manual_seed(args.seed)
    run = build_run(args, device)
    train_loader, val_loader = build_loaders(args, device)
    args.save_dir.mkdir(parents=True, exist_ok=True)
    goes_on_here = args.continue_training and Path(args.pretrain_model).resolve().parent == args.save_dir.resolve()
    if not goes_on_here and (aside := set_aside(args.save_dir)):
        print(f"{args.save_dir} held an earlier run; its files are now in {aside}")
    print_header(args, run.model, device, train_loader, val_loader)

    best_score, reported = run.best_score, False
    for epoch in range(run.first_epoch, run.first_epoch + args.epoch):
        start = time.perf_counter()
        train_loader.sampler.set_epoch(epoch)
        sums, problems, images = train_one_epoch(run, train_loader, args.batches_before_train, device, epoch)
        seconds = time.perf_counter() - start
        row = {"epoch": epoch, "lr": run.optimizer.param_groups[0]["lr"], **loss_parts(sums, "train_")}
        watched = row["train_loss"]
        if val_loader:
            val_loader.sampler.set_epoch(epoch)
            result = validate(run.model, val_loader, loss_sums, device, args.score_threshold, args.nms_threshold)
            problems.update(result.problems)
            scores = result.evaluation
            row |= {"val_loss": result.loss, "precision": scores.precision, "recall": scores.recall,
                    "hmean": scores.hmean}  # fmt: skip
            watched = result.loss
        row |= {"images_per_second": images / seconds, "seconds": time.perf_counter() - start}
        run.scheduler.step(watched)
        is_best = val_loader is not None and row["hmean"] > best_score
        best_score = max(best_score, row.get("hmean", best_score))
        save_epoch(args, run, epoch, best_score, row, is_best)
        append_row(args.save_dir / "results.csv", row)
        print("  ".join(f"{name} {value:.4g}" for name, value in row.items()) + ("  (best)" if is_best else ""))
        if problems and not reported:
            print(f"left out or repaired while reading, in this epoch:\n{problems}")
            reported = True
    print(f"{args.save_dir}: last.pt{', best.pt' if val_loader else ''}, results.csv")


def build_run(args: argparse.Namespace, device: torch.device) -> Run:
    """Network, optimizer and schedule: new, from a checkpoint's weights, or going on where it stopped."""
    contents = {}
    if args.pretrain_model:
        model, contents = load_model(args.pretrain_model)
        check_pruned(args.pretrain_model, model, args.prune)
    else:
        model = FOTSModel(args.backbone_weights or "imagenet")
    model.to(device)
    optimizer = torch.optim.Adam(model.parameters(), args.lr, weight_decay=args.weight_decay)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=args.patience)
    if not args.continue_training:
        return Run(model, optimizer, scheduler, 1, -1.0)
    if "optimizer" not in contents:
        print(f"{args.pretrain_model} holds no optimizer state: the optimizer starts anew")
    elif reason := restore_optimizer(optimizer, contents["optimizer"]):
        print(f"{args.pretrain_model}: {reason}: the optimizer starts anew")
    if "format" in contents:  # the earlier code's schedule and best score are about another loss
        scheduler.load_state_dict(contents.get("scheduler", scheduler.state_dict()))
        return Run(model, optimizer, scheduler, contents.get("epoch", 0) + 1, contents.get("best_score", -1.0))
    print(f"{args.pretrain_model}: of the earlier code; schedule and best score, about another loss there, start anew")
    epoch = contents.get("epoch", 0)
    return Run(model, optimizer, scheduler, (epoch if isinstance(epoch, int) else 0) + 1, -1.0)


def build_loaders(args: argparse.Namespace, device: torch.device) -> tuple[DataLoader, DataLoader | None]:
    """Training batches and, with --val, those for validation."""
    folders = args.train_folder_syn, args.train_folder_sample
    transform = TrainTransform(args.short_side, args.rotation, tuple(args.stretch), args.crop)
    parts = [(True, args.syn_train_size, transform, args.sample_ratio)]
    if args.val:
        parts.append((False, args.syn_val_size, WholeFrame(args.val_short_side), 1.0))
    loaders = []
    for train, draw, view, ratio in parts:
        dataset = open_dataset(*folders, train, draw=draw, transform=view, sample_ratio=ratio, cache_dir=args.cache_dir)
        if dataset.problems:
            print(f"{'training' if train else 'validation'} data, left out or repaired:\n{dataset.problems}")
        sampler = EpochSampler(dataset, args.seed)
        loaders.append(make_loader(dataset, sampler, args.batch_size, count_workers(args.num_workers, device)))
    return loaders[0], loaders[1] if args.val else None


def print_header(args, model, device, train_loader: DataLoader, val_loader: DataLoader | None) -> None:
    drawn, batch = len(train_loader.sampler), args.batch_size * args.batches_before_train
    print(f"device      {describe_device(device, args.ngpus)}")
    print(f"network     {'pruned' if model.pruned else 'original'}, {describe_cost(model, args.crop, args.crop)}")
    print(f"training    {drawn} of {len(train_loader.sampler.dataset)} images an epoch, {args.crop}x{args.crop} crops")
    if val_loader:
        drawn_for_val = f"{len(val_loader.sampler)} of {len(val_loader.sampler.dataset)}"
        print(f"validation  {drawn_for_val} images an epoch; best.pt by hmean")
    else:
        print("validation  none (no --val): the training loss drives the schedule, and there is no best.pt")
    batches = f"{args.batches_before_train} x {args.batch_size}"
    print(f"step        {batch} images ({batches}), {math.ceil(drawn / batch)} steps an epoch")


def train_one_epoch(
    run: Run, loader: DataLoader, batches_per_step: int, device: torch.device, epoch: int
) -> tuple[LossSums, Problems, int]:
    """The epoch's loss sums, what could not be read, and the number of images."""
    run.model.train()
    totals, problems, images = None, Problems(), 0
    start = shown = time.perf_counter()
    with tqdm(total=len(loader.sampler), desc=f"epoch {epoch}", unit="img", leave=False, disable=None) as bar:
        for batches in groups_of(loader, batches_per_step, problems):
            # All batches of a step share its counts, so that their gradients add up to one large batch's.
            targets = [batch.target.to(device) for batch in batches]
            counts = LossCounts(*map(sum, zip(*map(loss_counts, targets), strict=True)))
            for batch, target in zip(batches, targets, strict=True):
                prediction = run.model(normalise(batch.images.to(device, non_blocking=True)))
                sums = loss_sums(prediction, target)
                sums.over(counts).backward()
                sums = LossSums(*(value.detach() for value in sums))
                totals = sums if totals is None else LossSums(*map(torch.add, totals, sums))
                images += len(batch.images)
                bar.update(len(batch.images))
            run.optimizer.step()
            run.optimizer.zero_grad()
            if time.perf_counter() - shown > 1:  # reading the loss waits for the device: not every step
                shown = time.perf_counter()
                parts = check_finite(loss_parts(totals), epoch)
                bar.set_postfix(
                    {name: f"{value:.3f}" for name, value in parts.items()}
                    | {"img/s": f"{images / (shown - start):.1f}"}
                )
    if totals is None:
        raise UserError(f"none of the {len(loader.sampler)} images could be read:\n{problems}")
    check_finite(loss_parts(totals), epoch)
    return totals, problems, images


def groups_of(loader: DataLoader, count: int, problems: Problems) -> Iterator[list[Batch]]:
    """The loader's batches, `count` at a time, the last ones too; what could not be read goes to problems."""
    batches = iter(loader)
    while items := list(itertools.islice(batches, count)):
        for item in items:
            problems.update(item if isinstance(item, Problems) else item.problems)
        if readable := [item for item in items if isinstance(item, Batch)]:
            yield readable


def loss_parts(sums: LossSums, prefix: str = "") -> dict[str, float]:
    """The loss and its parts as means over the chosen cells, whatever the batch size."""
    classification, iou, angle, cells, positives = (value.item() for value in sums)
    parts = {
        "loss": sums.loss().item(),
        "classification": classification / max(cells, 1),
        "iou": iou / max(positives, 1),
        "angle": angle / max(positives, 1),
    }
    return {f"{prefix}{name}": value for name, value in parts.items()}


def check_finite(parts: dict[str, float], epoch: int) -> dict[str, float]:
    if not math.isfinite(parts.get("loss", 0.0) + sum(parts.values())):
        raise UserError(
            f"epoch {epoch}: the loss is not finite ({parts}); try a smaller --lr; the last whole epoch is in last.pt"
        )
    return parts


def save_epoch(args: argparse.Namespace, run: Run, epoch: int, best_score: float, row: dict, is_best: bool) -> None:
    names = ["last.pt"]
    names += ["best.pt"] if is_best else []
    names += [f"epoch_{epoch}.pt"] if args.save_epoch_every and epoch % args.save_epoch_every == 0 else []
    contents = {
        "optimizer": run.optimizer.state_dict(),
        "scheduler": run.scheduler.state_dict(),
        "scaler": None,
        "rng": rng_state(),
        "epoch": epoch,
        "step": 0,
        "best_score": best_score,
        "arguments": {name: str(value) if isinstance(value, Path) else value for name, value in vars(args).items()},
        "metrics": row,
    }
    for name in names:
        save_checkpoint(args.save_dir / name, run.model, **contents)


if __name__ == "__main__":
    run_script(lambda: main(parse_args()))
