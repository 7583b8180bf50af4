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
import shlex
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader

from datasets import SYNTHTEXT_DRAW, EpochSampler, make_loader, open_dataset
from loss import loss_counts, loss_sums
from model import FOTSModel
from utils.augmentation import TrainTransform, WholeFrame
from utils.checkpoint import (
    check_pruned,
    load_model,
    restore_optimizer,
    rng_state,
    save_again,
    save_checkpoint,
)
from utils.cli import (
    Parser,
    add_cache_option,
    add_detection_options,
    add_machine_options,
    choose_device,
    count_workers,
    cpu_multiplies_bf16,
    describe_device,
    flag,
    given_path,
    given_text,
    number,
    option,
    whole_number,
)
from utils.cost import describe_cost
from utils.distributed import Ranks, launch
from utils.engine import Training, train_one_epoch
from utils.errors import UserError, run_script
from utils.images import UnreadableImage
from utils.loss_sums import LossSums
from utils.memory import keep_freed_memory
from utils.run_folder import RESULTS, append_row, ensure_row, locked, set_aside
from utils.schedule import Schedule
from utils.stopping import EXIT_STOPPED, StopRequest
from utils.tensorboard import Board
from utils.validation import Validation, validate

PATIENCE, WARMUP_STEPS = 3, 200

PICTURES = 4

COLUMNS = (
    "epoch",
    "lr",
    "train_loss",
    "train_classification",
    "train_iou",
    "train_angle",
    "val_loss",
    "precision",
    "recall",
    "hmean",
    "skipped",
    "images_per_second",
    "seconds",
)
"""Of results.csv; those of validation are empty without --val."""

KEPT_ON_RESUME = ("save_dir", "resume", "ngpus", "num_workers")
"""Options that --resume takes from its own line; all others come from the run that it resumes."""


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = Parser(__doc__)
    data = parser.add_argument_group("data")
    option(data, "--train-folder-syn", given_text, None, "DIR", "SynthText: the folder of gt.mat")
    option(data, "--train-folder-sample", given_text, None, "DIR", "annotated frames, in one of the README's layouts")
    option(data, "--syn-train-size", whole_number(1), SYNTHTEXT_DRAW[True], "N", "SynthText images that an epoch draws")
    option(data, "--syn-val-size", whole_number(1), SYNTHTEXT_DRAW[False], "N", "... and a validation")
    option(
        data,
        "--sample-ratio",
        number(0.01),
        1.0,
        "X",
        "beside SynthText, how many times an epoch draws each sample frame; 0.5: a random half",
    )
    add_cache_option(data)

    view = parser.add_argument_group("what the network sees (pixels, degrees)")
    option(
        view, "--short-side", whole_number(1), TrainTransform.short_side, "PX", "training frames get this short side"
    )
    option(
        view, "--rotation", number(0, 45), TrainTransform.rotation, "DEG", "... are turned by up to this, either way"
    )
    option(
        view, "--stretch", number(0.1, 10), TrainTransform.stretch, ("LOW", "HIGH"), "... stretched in height", nargs=2
    )
    option(
        view,
        "--crop",
        whole_number(TrainTransform.least_crop),
        TrainTransform.crop,
        "PX",
        "... and cropped to a square, a multiple of 4",
    )
    add_detection_options(view)

    network = parser.add_argument_group("network")
    option(
        network,
        "--backbone-weights",
        given_text,
        None,
        "imagenet|none|PATH",
        "what a new network's encoder starts from (default imagenet)",
    )
    option(network, "--pretrain-model", given_text, None, "CKPT", "start from this checkpoint's weights")
    flag(
        network, "--continue-training", "go on with that checkpoint's optimizer, schedule, best score, epoch count, too"
    )
    flag(network, "--prune", "that checkpoint is a pruned network")
    flag(network, "--freeze-bn", "BatchNorms keep their statistics, scales and shifts")
    flag(network, "--sync-bn", "BatchNorms use the statistics of all processes together")

    learning = parser.add_argument_group("learning")
    option(learning, ("--epoch", "--epochs"), whole_number(1), 30, "N", "epochs of this run")
    option(learning, "--batch-size", whole_number(1), 16, "N", "images in a batch, of each process")
    option(
        learning,
        "--batches-before-train",
        whole_number(1),
        2,
        "N",
        "batches whose gradients make one step, as one large batch",
    )
    option(learning, "--lr", number(0), 1e-3, "RATE", "Adam's learning rate")
    option(learning, "--weight-decay", number(0), 1e-5, "W", "Adam's weight decay")
    flag(learning, "--decay-weights-only", "no weight decay on biases and BatchNorms")
    option(learning, "--schedule", str, "plateau", None, "of the learning rate", choices=("plateau", "cosine"))
    option(
        learning,
        "--patience",
        whole_number(0),
        None,
        "N",
        f"plateau: epochs without a lower loss before the rate is halved (default {PATIENCE})",
    )
    option(
        learning,
        "--warmup-steps",
        whole_number(0),
        None,
        "N",
        f"cosine: steps in which the rate rises from zero (default {WARMUP_STEPS})",
    )
    option(learning, "--clip-grad", number(1e-9), None, "NORM", "largest norm of all gradients together (default: any)")
    option(
        learning, "--ema", number(0, 1), None, "DECAY", "average the weights; the average is validated and is best.pt"
    )
    option(learning, "--seed", whole_number(0), 0, "N", "of the draws, the augmentation, the initial weights")

    run = parser.add_argument_group("run")
    option(run, "--save-dir", given_path, None, "DIR", "folder for what the run writes", required=True)
    flag(run, "--resume", "go on with the interrupted run in --save-dir, with its options")
    flag(run, "--val", "validate after each epoch, on SynthText's last 20 %% and the sample's test frames")
    option(run, "--save-every", number(0), 15.0, "MINUTES", "time between checkpoints within an epoch")
    option(run, "--save-epoch-every", whole_number(0), 1, "N", "keep an epoch_N.pt every so many epochs; 0: never")
    option(
        run,
        "--amp",
        str,
        None,
        None,
        "precision of the network (default: bf16 where the hardware has it)",
        choices=("off", "bf16", "fp16"),
    )
    flag(run, "--tensorboard", "write scalars and pictures of a few validation frames to --save-dir/tensorboard")
    flag(run, "--compile", "compile the network first: minutes to start, faster steps")
    flag(run, "--deterministic", "the same numbers in every run, also on a GPU, where it is slower")
    add_machine_options(run)
    args = parser.parse_args(arguments)
    args.given = sorted(parser.given(arguments))
    check_args(parser, args)
    return args


def check_args(parser: Parser, args: argparse.Namespace) -> None:
    """Refuse what could have no effect."""
    given = set(args.given)
    if args.resume:
        if without_effect := sorted(given - set(KEPT_ON_RESUME)):
            names = ", ".join(f"--{name.replace('_', '-')}" for name in without_effect)
            parser.error(f"--resume goes on with the run's own options: drop {names}")
        return
    if not (args.train_folder_syn or args.train_folder_sample):
        parser.error("nothing to train on: give --train-folder-syn, --train-folder-sample, or both")
    for name in ("continue_training", "prune"):
        if getattr(args, name) and not args.pretrain_model:
            parser.error(f"--{name.replace('_', '-')} needs --pretrain-model: the checkpoint that it is about")
    if args.sync_bn and (args.freeze_bn or (args.ngpus < 2 and "RANK" not in os.environ)):
        parser.error("--sync-bn is for several processes (--ngpus N), and BatchNorms that are not frozen")
    if args.sync_bn and not torch.cuda.is_available():
        parser.error("--sync-bn needs GPUs; this machine has none")
    if args.ema is not None and not 0 < args.ema < 1:
        parser.error(f"argument --ema: {args.ema}; expected a number between 0 and 1, such as 0.999")
    if "sample_ratio" in given and not (args.train_folder_syn and args.train_folder_sample):
        parser.error("--sample-ratio mixes two datasets: it needs --train-folder-syn and --train-folder-sample")
    if args.backbone_weights and args.pretrain_model:
        parser.error("--backbone-weights has no effect beside --pretrain-model, which brings all weights; drop one")
    for name, kind in (("patience", "plateau"), ("warmup_steps", "cosine")):
        if name in given and args.schedule != kind:
            parser.error(f"--{name.replace('_', '-')} has no effect with --schedule {args.schedule}; it is for {kind}")
    for name, other in (
        ("syn_train_size", "train_folder_syn"),
        ("syn_val_size", "train_folder_syn"),
        ("syn_val_size", "val"),
        ("val_short_side", "val"),
        ("score_threshold", "val"),
        ("nms_threshold", "val"),
    ):
        if name in given and not getattr(args, other):
            parser.error(f"--{name.replace('_', '-')} has no effect without --{other.replace('_', '-')}")


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
                training, train_loader, args.batches_before_train, loss_sums, loss_counts, stop,
                lambda: save(args, training, None), 60 * args.save_every, skipped_file,
            )  # fmt: skip
            if not finished:
                if ranks.is_first:
                    save(args, training, None)
                    print(f"stopped in epoch {epoch}, all is saved; to go on, type:\n{resume_line(args)}", flush=True)
                sys.exit(EXIT_STOPPED)
            seconds, progress = time.perf_counter() - start, training.progress
            if not progress["images"]:
                raise UserError(f"none of the images could be read:\n{training.problems}")
            (images_now,) = ranks.sum([training.images - images_before])
            row = dict.fromkeys(COLUMNS, "") | LossSums.of(progress["totals"]).parts("train_")
            row |= {"epoch": epoch, "lr": training.optimizer.param_groups[0]["lr"], "skipped": training.skipped}
            problems = training.problems
            if val_loader:
                if ranks.is_first:
                    save(args, training, None)  # so that a validation that is cut off costs no training
                result = measure(args, training, val_loader, epoch)
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
            if problems and not reported:
                ranks.print(f"left out or repaired while reading, in this epoch:\n{problems}")
                reported = True
    written = [name for name in ("last.pt", "best.pt", RESULTS) if (args.save_dir / name).exists()]
    ranks.print(f"{args.save_dir}: {', '.join(written)}")


def measure(args: argparse.Namespace, training: Training, loader: DataLoader, epoch: int) -> Validation:
    """Validate the network, or its average; each process its part of the frames, all the same network."""
    loader.sampler.set_epoch(epoch)
    torch.manual_seed(args.seed + epoch)
    network = training.ema.module if training.ema else training.model
    training.ranks.share(network.buffers())
    return validate(network, loader, loss_sums, training.device, args.score_threshold, args.nms_threshold,
                    training.ranks.sum)  # fmt: skip


def resume_line(args: argparse.Namespace) -> str:
    words = ["python3", "train_sample.py", "--save-dir", str(args.save_dir), "--resume"]
    words += [] if args.ngpus == 1 else ["--ngpus", str(args.ngpus)]
    words += [] if args.num_workers is None else ["--num-workers", str(args.num_workers)]
    return shlex.join(words)


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
    if not args.pretrain_model:
        return FOTSModel(args.backbone_weights or "imagenet"), {}
    model, contents = load_model(args.pretrain_model)
    check_pruned(args.pretrain_model, model, args.prune)
    return model, contents


def build_training(
    args: argparse.Namespace, model: nn.Module, device: torch.device, ranks: Ranks, total_steps: int
) -> Training:
    """The network on its device with optimizer, schedule and whatever else the options ask for."""
    model.to(device)
    if args.sync_bn:
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    set_train_mode(model, args.freeze_bn)
    ema = None
    if args.ema:
        ema = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(args.ema), use_buffers=True)
    groups = model.parameters()
    if args.decay_weights_only:
        flat = [parameter.dim() < 2 for parameter in model.parameters()]  # biases and BatchNorm
        groups = [
            {"params": [p for p, is_flat in zip(model.parameters(), flat, strict=True) if not is_flat]},
            {
                "params": [p for p, is_flat in zip(model.parameters(), flat, strict=True) if is_flat],
                "weight_decay": 0.0,
            },
        ]
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
    if device.type == "cuda":
        model.to(memory_format=torch.channels_last)
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
        amp_dtype,
        args.clip_grad or math.inf,
        args.seed,
    )


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
        training.restore_progress(contents["progress"])
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


def choose_precision(asked: str | None, device: torch.device) -> torch.dtype | None:
    """None for float32. By default bf16 on a GPU that has it, and on a CPU that multiplies matrices in it."""
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
    transform = TrainTransform(args.short_side, args.rotation, tuple(args.stretch), args.crop)
    parts = [(True, args.syn_train_size, transform, args.sample_ratio)]
    if args.val:
        parts.append((False, args.syn_val_size, WholeFrame(args.val_short_side), 1.0))
    loaders = []
    for train, draw, view, ratio in parts:
        dataset = open_dataset(*folders, train, draw=draw, transform=view, sample_ratio=ratio, cache_dir=args.cache_dir)
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
    kind = "pruned" if model.pruned else "original"
    print(f"network     {kind}, {describe_cost(model, args.crop, args.crop)}")
    drawn = len(sampler) * world
    print(f"training    {drawn} of {len(sampler.dataset)} images an epoch, {args.crop}x{args.crop} crops")
    if val_loader:
        drawn_for_val = f"{len(val_loader.sampler) * world} of {len(val_loader.sampler.dataset)}"
        print(f"validation  {drawn_for_val} images an epoch; best.pt by hmean")
    else:
        print("validation  none (no --val): the training loss drives the schedule, and there is no best.pt")
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
        args = parse_args()
        launch(main, args, args.ngpus)

    run_script(start)
