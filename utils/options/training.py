"""The command line of `train_sample.py`."""

import argparse
import os
import shlex

import torch

from utils.data.augmentation import TrainTransform
from utils.options.machine import add_cache_option, add_machine_options
from utils.options.parser import Parser, flag, given_path, given_text, number, option, whole_number
from utils.options.reading import add_reading_options
from utils.options.view import add_detection_options

PATIENCE, WARMUP_STEPS = 3, 200

KEPT_ON_RESUME = ("save_dir", "resume", "ngpus", "num_workers")
"""Options that --resume takes from its own line; all others come from the run that it resumes."""


def parse_args(arguments: list[str] | None = None, description: str = "") -> argparse.Namespace:
    """The checked options; `given` lists those that the line names."""
    parser = Parser(description)
    data = parser.add_argument_group("data")
    option(data, "--train-folder-syn", given_text, None, "DIR", "SynthText: the folder of gt.mat")
    option(data, "--train-folder-sample", given_text, None, "DIR", "annotated frames, in one of the README's layouts")
    option(data, "--syn-train-size", whole_number(1), None, "N", "SynthText images that an epoch draws (default 15000)")
    option(data, "--syn-val-size", whole_number(1), None, "N", "... and a validation (default 3500)")
    option(
        data,
        "--sample-ratio",
        number(0.01),
        1.0,
        "X",
        "how many times an epoch draws each sample frame; 0.5: a random half",
    )
    add_cache_option(data)
    add_reading_options(data)

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
    option(
        view, "--scale", number(0.05, 20), TrainTransform.scale, ("LOW", "HIGH"), "... made larger or smaller", nargs=2
    )
    text = "share of the crops that are drawn around a word"
    option(view, "--word-crops", number(0, 1), TrainTransform.word_crops, "SHARE", text)
    text = "changes of light and colour: 0 none, 1 strong"
    option(view, "--colour", number(0, 1), TrainTransform.colour, "X", text)
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
    text = "a new network of this share of the original's widths"
    option(network, "--width", number(0.01, 1), None, "SHARE", text)
    option(
        network, "--plan", given_text, None, "FILE", "a new network of this channel plan (JSON, as prune.py writes it)"
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
    text = "a trained network whose maps and features this one learns to give, too"
    option(learning, "--teacher", given_text, None, "CKPT", text)
    text = "weight of the L1 norm of the BatchNorms' scales: channels that matter little fade out, to be pruned"
    option(learning, "--sparsity-lambda", number(0), 0.0, "W", text)
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
    if args.sparsity_lambda and args.freeze_bn:
        parser.error(
            "--sparsity-lambda works on the BatchNorms' scales, which --freeze-bn leaves as they are; drop one"
        )
    if args.backbone_weights and args.pretrain_model:
        parser.error("--backbone-weights has no effect beside --pretrain-model, which brings all weights; drop one")
    for name in ("width", "plan"):
        if name in given and args.pretrain_model:
            parser.error(f"--{name} is for a new network: --pretrain-model brings its own widths; drop one")
        if name in given and args.backbone_weights not in (None, "none"):
            parser.error(f"--backbone-weights {args.backbone_weights} fits the original's widths only; drop --{name}")
    if {"width", "plan"} <= given:
        parser.error("--width and --plan both say how wide the network is; drop one")
    for name, kind in (("patience", "plateau"), ("warmup_steps", "cosine")):
        if name in given and args.schedule != kind:
            parser.error(f"--{name.replace('_', '-')} has no effect with --schedule {args.schedule}; it is for {kind}")
    for name, other in (
        ("syn_train_size", "train_folder_syn"),
        ("syn_val_size", "train_folder_syn"),
        ("syn_val_size", "val"),
        ("sample_ratio", "train_folder_sample"),
        ("val_short_side", "val"),
        ("score_threshold", "val"),
        ("nms_threshold", "val"),
    ):
        if name in given and not getattr(args, other):
            parser.error(f"--{name.replace('_', '-')} has no effect without --{other.replace('_', '-')}")


def resume_line(args: argparse.Namespace) -> str:
    words = ["python3", "train_sample.py", "--save-dir", str(args.save_dir), "--resume"]
    words += [] if args.ngpus == 1 else ["--ngpus", str(args.ngpus)]
    words += [] if args.num_workers is None else ["--num-workers", str(args.num_workers)]
    return shlex.join(words)
