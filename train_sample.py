"""Train the FOTS text detector on SynthText, on annotated frames, or on both; fine-tune a pruned one.

    python3 train_sample.py --train-folder-syn SYN --train-folder-sample SAMPLE --batch-size 64 \\
        --batches-before-train 2 --ngpus 1 --save-dir OUT --epoch 30 --val
    python3 train_sample.py --save-dir OUT --resume
    python3 train_sample.py ... --pretrain-model OUT/last.pt --continue-training
    python3 train_sample.py ... --pretrain-model PRUNED/pruned.pt --continue-training --prune
    torchrun --nnodes 2 --nproc-per-node 4 ... train_sample.py ...

Writes to --save-dir: last.pt (each epoch, and every --save-every minutes), epoch_N.pt, best.pt (best validation
hmean, with --val), results.csv. SIGTERM and Ctrl-C finish the step, save and exit with code 75; --resume goes
on from there with the same numbers as a run that was never stopped.
"""

import argparse
import contextlib
import math
import os
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader

from datasets import EpochSampler, make_loader, open_dataset
from loss import Criterion
from model import FOTSModel
from model_pruned import FOTSModelPruned
from utils.checkpoint import (
    check_pruned,
    load_model,
    restore_optimizer,
    rng_state,
    save_again,
    save_checkpoint,
)
from utils.data.augmentation import TrainTransform, WholeFrame
from utils.data.images import UnreadableImage
from utils.data.problems import Problems
from utils.decode import Thresholds
from utils.errors import UserError, run_script
from utils.evaluation.validation import Validation, ValidationSettings, validate
from utils.network.channels import read_plan, uniform_plan
from utils.network.cost import describe_cost
from utils.network.parameter_groups import optimizer_groups
from utils.options.reading import read_options
from utils.options.training import KEPT_ON_RESUME, PATIENCE, WARMUP_STEPS, parse_args, resume_line
from utils.runtime.device import choose_device, count_workers, cpu_multiplies_bf16, describe_device
from utils.runtime.distributed import Ranks, launch
from utils.runtime.memory import keep_freed_memory
from utils.runtime.signals import EXIT_STOPPED, Stopped, StopRequest
from utils.training.distillation import Distillation
from utils.training.epoch import Training, train_one_epoch
from utils.training.run_folder import RESULTS, append_row, ensure_row, locked, set_aside
from utils.training.schedule import Schedule
from utils.training.tensorboard import Board

PICTURES = 4

_LEAST_WIDTH_IN_CHANNELS_LAST = 16
"""Well above where it fails; see `memory_format`."""

COLUMNS = (
    "epoch",
    "lr",
    "train_loss",
    "train_classification",
    "train_iou",
    "train_angle",
    "train_distillation",
    "val_loss",
    "precision",
    "recall",
    "hmean",
    "skipped",
    "images_per_second",
    "seconds",
)
"""Of results.csv; those of validation are empty without --val."""


def main(args: argparse.Namespace, ranks: Ranks) -> None:
    with locked(args.save_dir) if ranks.is_first else contextlib.nullcontext():
        contents = {}
        if args.resume:
            args, model, contents = read_resumed(args)
        device = choose_device(args.ngpus, ranks)
        if device.type == "cpu":
            keep_freed_memory()
        torch.manual_seed(args.seed)
        if args.deterministic:
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
            torch.use_deterministic_algorithms(True, warn_only=True)
        if not args.resume:
            model, contents = start_model(args)
        train_loader, val_loader = build_loaders(args, device, ranks)
        steps = args.epoch * math.ceil(len(train_loader.sampler) / args.batch_size / args.batches_before_train)
        training = build_training(args, model, device, ranks, steps)
        if args.resume or args.continue_training:
            restore(args, training, contents)
        if not args.resume:
            args.last_epoch = training.epoch + args.epoch
            last = (args.save_dir / "last.pt").resolve()
            goes_on_here = args.continue_training and Path(args.pretrain_model).resolve() == last
            if ranks.is_first and not goes_on_here and (aside := set_aside(args.save_dir)):
                print(f"{args.save_dir} held an earlier run; its files are now in {aside}")
        if ranks.is_first:
            print_header(args, training, train_loader, val_loader)
        run_epochs(args, training, train_loader, val_loader)


def run_epochs(
    args: argparse.Namespace, training: Training, train_loader: DataLoader, val_loader: DataLoader | None
) -> None:
    """Train, validate, save, epoch by epoch, from wherever the run stands; exits with 75 when asked to stop."""
    ranks, reported = training.ranks, False
    board = open_board(args, val_loader or train_loader) if args.tensorboard and ranks.is_first else None
    with StopRequest() as stop:
        while training.epoch < args.last_epoch:
            start, epoch = time.perf_counter(), training.epoch + 1
            done = training.step * args.batches_before_train * args.batch_size
            train_loader.sampler.set_epoch(epoch, done)
            set_train_mode(training.model, args.freeze_bn)
            images_before = training.images
            skipped_file = args.save_dir / ("skipped.csv" if ranks.is_first else f"skipped-{ranks.rank}.csv")
            finished = train_one_epoch(
                training, train_loader, args.batches_before_train, stop,
                lambda: save(args, training, None), 60 * args.save_every, skipped_file,
            )  # fmt: skip
            seconds, problems = time.perf_counter() - start, training.problems
            if finished and not training.progress["images"]:
                raise UserError(f"none of the images could be read:\n{problems}")
            if ranks.is_first and (val_loader or not finished):
                save(args, training, None)  # a validation that is cut off costs no training
            result = measure(args, training, val_loader, stop) if finished and val_loader else None
            if not finished or (val_loader and not result):
                ranks.print(f"stopped in epoch {epoch}, all is saved; to go on, type:\n{resume_line(args)}")
                sys.exit(EXIT_STOPPED)
            (images_now,) = ranks.sum([training.images - images_before])
            row = dict.fromkeys(COLUMNS, "") | {f"train_{name}": value for name, value in training.parts().items()}
            row |= {"epoch": epoch, "lr": training.optimizer.param_groups[0]["lr"], "skipped": training.skipped}
            if result:
                problems.update(result.problems)
                row |= {"val_loss": result.loss}
                row |= {name: getattr(result.evaluation, name) for name in ("precision", "recall", "hmean")}
            training.schedule.after_epoch(row["val_loss"] if val_loader else row["train_loss"])
            row |= {"images_per_second": images_now / seconds, "seconds": time.perf_counter() - start}
            is_best = val_loader is not None and row["hmean"] > training.best_score
            training.best_score = row["hmean"] if is_best else training.best_score
            training.epoch = epoch
            training.begin_epoch()
            if ranks.is_first:
                save(args, training, row, is_best)
                append_row(args.save_dir / RESULTS, row)
                if board:
                    board.write(epoch, row, training.ema.module if training.ema else training.model)
                shown = [f"{name} {value:.4g}" for name, value in row.items() if value != ""]
                print("  ".join(shown) + "  (best)" * is_best, flush=True)
            if not reported:
                problems = Problems.together(ranks.gather(problems))
                reported = bool(problems)
                if problems:
                    ranks.print(f"left out or repaired while reading, in this epoch:\n{problems}")
    written = [name for name in ("last.pt", "best.pt", RESULTS) if (args.save_dir / name).exists()]
    ranks.print(f"{args.save_dir}: {', '.join(written)}")


def measure(args: argparse.Namespace, training: Training, loader: DataLoader, stop: StopRequest) -> Validation | None:
    """Validate the network, or its average; each process its part of the frames, all the same network."""
    loader.sampler.set_epoch(training.epoch + 1)
    torch.manual_seed(args.seed + training.epoch + 1)
    network = training.ema.module if training.ema else training.model
    training.ranks.share(network.buffers())
    thresholds = Thresholds(args.score_threshold, args.nms_threshold)
    settings = ValidationSettings(thresholds, ranks=training.ranks)
    with contextlib.suppress(Stopped):
        return validate(network, loader, training.criterion, settings, stop)
    return None


def open_board(args: argparse.Namespace, loader: DataLoader) -> Board:
    dataset = loader.sampler.dataset
    some = np.linspace(0, len(dataset) - 1, min(len(dataset), PICTURES)).astype(int)
    frames = []
    for index in some.tolist():
        with contextlib.suppress(UnreadableImage):
            frames.append(dataset.frame(index, seed=0))
    return Board(args.save_dir / "tensorboard", frames, args.score_threshold, args.nms_threshold)


def read_resumed(args: argparse.Namespace) -> tuple[argparse.Namespace, nn.Module, dict]:
    """The interrupted run's options, network and checkpoint."""
    path = args.save_dir / "last.pt"
    model, contents = load_model(path)
    if "last_epoch" not in (contents.get("arguments") or {}):
        raise UserError(f"{path}: no checkpoint of a training run; start from it with --pretrain-model {path}")
    if contents["epoch"] >= contents["arguments"]["last_epoch"]:
        raise UserError(f"{path}: the run is complete, {contents['epoch']} epochs; "
                        f"to train on: --pretrain-model {path} --continue-training")  # fmt: skip
    own = {name: getattr(args, name) for name in KEPT_ON_RESUME}
    resumed = {**vars(args), **contents["arguments"], **own}
    return argparse.Namespace(**resumed), model, contents


def start_model(args: argparse.Namespace) -> tuple[nn.Module, dict]:
    """A new network or a checkpoint's, and the checkpoint's other contents."""
    if args.width or args.plan:
        return FOTSModelPruned(read_plan(args.plan) if args.plan else uniform_plan(args.width)), {}
    if not args.pretrain_model:
        return FOTSModel(args.backbone_weights or "imagenet"), {}
    model, contents = load_model(args.pretrain_model)
    check_pruned(args.pretrain_model, model, args.prune)
    return model, contents


def build_training(
    args: argparse.Namespace, model: nn.Module, device: torch.device, ranks: Ranks, total_steps: int
) -> Training:
    """The network on its device with optimizer, schedule and whatever else the options ask for."""
    model.to(device, memory_format=memory_format(device, model))
    if args.sync_bn:
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    set_train_mode(model, args.freeze_bn)
    ema = None
    if args.ema:
        ema = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(args.ema), use_buffers=True)
    groups = optimizer_groups(model, args.decay_weights_only)
    optimizer = torch.optim.Adam(groups, args.lr, weight_decay=args.weight_decay, fused=True)
    schedule = Schedule(
        optimizer,
        args.schedule,
        PATIENCE if args.patience is None else args.patience,
        WARMUP_STEPS if args.warmup_steps is None else args.warmup_steps,
        total_steps,
    )
    amp_dtype = choose_precision(args.amp, device)
    scaler = torch.amp.GradScaler(device.type, enabled=amp_dtype == torch.float16)
    forward = model
    if ranks.world > 1:
        forward = DistributedDataParallel(model, [device] if device.type == "cuda" else None)
    if args.compile:
        forward = torch.compile(forward)
    return Training(
        model,
        forward,
        optimizer,
        schedule,
        scaler,
        ema,
        device,
        ranks,
        Criterion(),
        amp_dtype,
        args.clip_grad or math.inf,
        teach(args, model, device),
        args.sparsity_lambda,
        args.seed,
    )


def teach(args: argparse.Namespace, student: nn.Module, device: torch.device) -> Distillation | None:
    if not args.teacher:
        return None
    teacher, _ = load_model(args.teacher)
    return Distillation(teacher.to(device, memory_format=memory_format(device, teacher)), student)


def restore(args: argparse.Namespace, training: Training, contents: dict) -> None:
    """Put a checkpoint's optimizer, schedule, best score and epoch count into the run; for --resume all of it."""
    path, note = args.save_dir / "last.pt" if args.resume else args.pretrain_model, training.ranks.print
    if "optimizer" not in contents:
        note(f"{path} holds no optimizer state: the optimizer starts anew")
    elif reason := restore_optimizer(training.optimizer, contents["optimizer"]):
        note(f"{path}: {reason}: the optimizer starts anew")
    training.epoch = contents["epoch"] if isinstance(contents.get("epoch"), int) else 0
    if "format" not in contents:
        note(f"{path}: of the earlier code; schedule and best score, about another loss there, start anew")
        return
    if not args.resume and args.schedule == "cosine":
        note("a new cosine begins")
        training.schedule.begin(training.optimizer, args.lr)
    elif not training.schedule.load_state_dict(contents.get("scheduler") or {}) and "scheduler" in contents:
        note(f"{path}: its schedule is of another kind: the schedule starts anew")
        training.schedule.begin(training.optimizer, args.lr)
    if not args.resume:
        override(args, training)
    training.best_score = contents.get("best_score", -1.0)
    if contents.get("scaler"):
        training.scaler.load_state_dict(contents["scaler"])
    if training.ema and contents.get("ema"):
        training.ema.load_state_dict(contents["ema"])
    if args.resume:
        training.restore_progress(contents["step"], contents["progress"])
        if training.ranks.is_first and contents["metrics"]:
            ensure_row(args.save_dir / RESULTS, contents["metrics"])


def override(args: argparse.Namespace, training: Training) -> None:
    """What the line names wins over what the checkpoint brought along."""
    if "lr" in args.given:
        training.schedule.begin(training.optimizer, args.lr)
    if "weight_decay" in args.given:
        training.optimizer.param_groups[0]["weight_decay"] = args.weight_decay
    if "patience" in args.given:
        training.schedule.set_patience(args.patience)


def memory_format(device: torch.device, model: nn.Module) -> torch.memory_format:
    """channels_last, in which convolutions are faster; contiguous on the CPU for very narrow networks.

    There PyTorch 2.14's backward pass of 1x1 convolutions with stride 2 and 4 to 8 channels damages the heap on some
    CPUs when its inputs are channels_last.
    """
    too_narrow = device.type == "cpu" and min(model.plan.values()) < _LEAST_WIDTH_IN_CHANNELS_LAST
    return torch.contiguous_format if too_narrow else torch.channels_last


def choose_precision(asked: str | None, device: torch.device) -> torch.dtype | None:
    """None for float32. By default bf16 on a GPU that has it, and on a CPU with instructions for it."""
    if asked is None:
        has_it = torch.cuda.get_device_capability(device) >= (8, 0) if device.type == "cuda" else cpu_multiplies_bf16()
        asked = "bf16" if has_it else "off"
    if asked == "fp16" and device.type == "cpu":
        raise UserError("--amp fp16: needs a GPU; give --amp off or bf16")
    return {"off": None, "bf16": torch.bfloat16, "fp16": torch.float16}[asked]


def set_train_mode(model: nn.Module, freeze_bn: bool) -> None:
    """Training mode; with freeze_bn, BatchNorms keep their statistics, scales and shifts."""
    model.train()
    for module in model.modules() if freeze_bn else ():
        if isinstance(module, nn.BatchNorm2d | nn.SyncBatchNorm):
            module.eval()
            module.requires_grad_(False)


def build_loaders(args: argparse.Namespace, device: torch.device, ranks: Ranks) -> tuple[DataLoader, DataLoader | None]:
    """Training batches and, with --val, those for validation."""
    folders = args.train_folder_syn, args.train_folder_sample
    transform = TrainTransform(args.short_side, args.rotation, tuple(args.stretch), args.crop, tuple(args.scale),
                               args.word_crops, args.colour)  # fmt: skip
    parts = [(True, args.syn_train_size, transform, args.sample_ratio)]
    if args.val:
        parts.append((False, args.syn_val_size, WholeFrame(args.val_short_side), 1.0))
    loaders, options = [], {"cache_dir": args.cache_dir, **read_options(args)._asdict()}
    for train, draw, view, ratio in parts:
        dataset = open_dataset(*folders, train, draw=draw, transform=view, sample_ratio=ratio, **options)
        if dataset.problems:
            ranks.print(f"{'training' if train else 'validation'} data, left out or repaired:\n{dataset.problems}")
        sampler = EpochSampler(dataset, args.seed, rank=ranks.rank, world=ranks.world, even=train)
        loaders.append(make_loader(dataset, sampler, args.batch_size, count_workers(args.num_workers, device)))
    return loaders[0], loaders[1] if args.val else None


def print_header(args, training: Training, train_loader: DataLoader, val_loader: DataLoader | None) -> None:
    model, world, sampler = training.model, training.ranks.world, train_loader.sampler
    batch = args.batch_size * args.batches_before_train * world
    precision = str(training.amp_dtype or torch.float32).removeprefix("torch.")
    processes = f", {world} processes" if world > 1 else ""
    print(f"device      {describe_device(training.device, args.ngpus)}{processes}, {precision}")
    kind = "of a channel plan" if model.pruned else "original"
    print(f"network     {kind}, {describe_cost(model, args.crop, args.crop)}")
    drawn = len(sampler) * world
    print(f"training    {drawn} of {len(sampler.dataset)} images an epoch, {args.crop}x{args.crop} crops")
    if val_loader:
        drawn_for_val = f"{len(val_loader.sampler) * world} of {len(val_loader.sampler.dataset)}"
        print(f"validation  {drawn_for_val} images an epoch; best.pt by hmean")
    else:
        print("validation  none (no --val): the training loss drives the schedule, and there is no best.pt")
    if training.distillation:
        how = "channel by channel" if training.distillation.by_channel else "by where they are strong"
        print(f"teacher     {args.teacher}, {describe_cost(training.distillation.teacher, args.crop, args.crop)}")
        print(f"            its features are compared {how}")
    batches = " x ".join(map(str, [args.batches_before_train, args.batch_size] + [world] * (world > 1)))
    print(f"step        {batch} images ({batches}), {math.ceil(drawn / batch)} steps an epoch")
    if training.epoch or training.step:
        print(
            f"going on    after {training.epoch} epochs and {training.step} steps, to epoch {args.last_epoch}",
            flush=True,
        )


def save(args: argparse.Namespace, training: Training, row: dict | None, is_best: bool = False) -> None:
    """last.pt; at an epoch's end (with its row) epoch_N.pt and best.pt, too. best.pt holds the EMA's weights.

    Nothing is written while steps are being skipped, or once weights are no numbers: last.pt stays good.
    """
    if training.skipped_in_a_row or not all(bool(torch.isfinite(p).all()) for p in training.model.parameters()):
        print(f"not saved: the last {max(training.skipped_in_a_row, 1)} steps were not finite", flush=True)
        return
    contents = {
        "optimizer": training.optimizer.state_dict(),
        "scheduler": training.schedule.state_dict(),
        "scaler": training.scaler.state_dict(),
        "ema": training.ema.state_dict() if training.ema else None,
        "rng": rng_state(),
        "epoch": training.epoch,
        "step": training.step,
        "progress": training.progress,
        "best_score": training.best_score,
        "arguments": {name: str(value) if isinstance(value, Path) else value for name, value in vars(args).items()},
        "metrics": row,
    }
    names = [f"epoch_{training.epoch}.pt"] * bool(
        row and args.save_epoch_every and training.epoch % args.save_epoch_every == 0
    )
    if is_best and training.ema:
        save_checkpoint(args.save_dir / "best.pt", training.model, weights=training.ema.module, **contents)
    elif is_best:
        names.append("best.pt")
    # last.pt is written last: a run that is killed in between does the epoch's end again, with the same numbers
    first, *others = [args.save_dir / name for name in (*names, "last.pt")]
    save_checkpoint(first, training.model, **contents)
    save_again(first, *others)


if __name__ == "__main__":

    def start() -> None:
        args = parse_args(description=__doc__)
        launch(main, args, args.ngpus)

    run_script(start)
