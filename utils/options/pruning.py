"""The command line of `prune.py`."""

import argparse

from utils.options.machine import add_cache_option
from utils.options.parser import Parser, flag, given_path, given_text, number, option, whole_number
from utils.options.training import parse_args as parse_training_line
from utils.options.view import add_detection_options, add_view_options
from utils.pruning.importance import CRITERIA, MEASURED

SPARSITY, FRAMES = 0.5, 256

VIEW = ("short_side", "rotation", "stretch", "crop", "scale", "word_crops", "colour")
"""Options that say how training frames are looked at."""

TARGETS = ("sparsity", "target_macs", "target_params", "target_latency", "plan", "zeroed", "analyse", "show_groups")
"""What is to be done; one of them."""


def parse_args(arguments: list[str], description: str = "") -> argparse.Namespace:
    """The checked options. `given` lists those that the line names; `training` is what follows a bare `--`, or []."""
    place = arguments.index("--") if "--" in arguments else len(arguments)
    arguments, training = arguments[:place], arguments[place + 1 :]
    parser = Parser(description)
    option(parser, "--pretrain-model", given_text, None, "CKPT", "the checkpoint to prune, pruned already or not")
    option(parser, "--save-dir", given_path, None, "DIR", "folder for pruned.pt, plan.json, report.json")

    target = parser.add_argument_group("how much to remove, or what else to do (one of these)")
    text = f"remove this share of the present channels (default {SPARSITY})"
    option(target, "--sparsity", number(0, 0.999), None, "SHARE", text)
    text = "leave at most this share of the original's MACs"
    option(target, "--target-macs", number(1e-6, 1), None, "SHARE", text)
    option(target, "--target-params", number(1e-6, 1), None, "SHARE", "... of the original's parameters")
    text = "... this time for one image on this machine's CPU, measured"
    option(target, "--target-latency", number(0.01), None, "MS", text)
    option(target, "--plan", given_text, None, "FILE", "keep as many channels as this channel plan says (JSON)")
    text = "remove the channels that masking has left without effect, and no others"
    flag(target, "--zeroed", text)
    flag(target, "--analyse", "only measure how sensitive each channel group is: analysis.csv, analysis.png")
    flag(target, "--show-groups", "only print the channel groups, who writes and who reads them")
    option(target, "--size", whole_number(32), (288, 512), ("H", "W"), "input that MACs and times are about", nargs=2)
    option(target, "--threads", whole_number(1), None, "N", "... of --target-latency (default: all cores)")
    text = "times that channels are removed, with the training line after a bare -- run in between"
    option(target, "--steps", whole_number(1), 1, "K", text)

    choice = parser.add_argument_group("which channels")
    option(choice, "--criterion", str, "l1", None, "which channels matter", choices=CRITERIA)
    text = "remove the same share of each group, or the least of all groups' channels"
    option(choice, "--scope", str, "layer", None, text, choices=("layer", "global"))
    option(choice, "--round-to", whole_number(1), 1, "N", "widths are multiples of this")
    option(choice, "--min-channels", whole_number(1), 1, "N", "channels that each group keeps at least")
    flag(choice, "--prune-remove-artifacts", "prune the heads' inputs, too, the output of remove_artifacts")
    option(choice, "--seed", whole_number(0), 0, "N", "of the frames' draw, and of --criterion random")

    keeping = parser.add_argument_group("keeping what was learned")
    text = "what stands in for a removed channel where it was read (default: linear with training frames, else mean)"
    option(keeping, "--reconstruct", str, None, None, text, choices=("zero", "mean", "linear"))
    text = f"training frames to measure on; where it lowers their loss, BatchNorms are re-estimated (default {FRAMES})"
    option(keeping, "--recalibrate", whole_number(0), None, "N", text + "; 0: BatchNorms stay")
    option(keeping, "--train-folder-syn", given_text, None, "DIR", "SynthText: the folder of gt.mat")
    option(
        keeping, "--train-folder-sample", given_text, None, "DIR", "annotated frames, in one of the README's layouts"
    )
    option(keeping, "--batch-size", whole_number(2), 8, "N", "frames in a batch")
    add_view_options(keeping)
    add_cache_option(keeping)

    seeing = parser.add_argument_group("seeing")
    option(seeing, "--test-folder-sample", given_text, None, "DIR", "annotated frames to measure hmean on")
    flag(seeing, "--chart", "draw the kept channels: channels.png (needs requirements-extra.txt)")
    add_detection_options(seeing)

    args = parser.parse_args(arguments)
    args.given = sorted(parser.given(arguments))
    args.training = training
    check_args(parser, args)
    return args


def check_args(parser: Parser, args: argparse.Namespace) -> None:
    """Refuse what is missing, contradicts itself or could have no effect; fill in what depends on other options."""
    given = set(args.given)

    def refuse(names: tuple[str, ...], reason: str) -> None:
        if wrong := [name for name in names if name in given]:
            parser.error(f"{_option(wrong[0])} {reason}")

    targets = [name for name in TARGETS if name in given]
    if len(targets) > 1:
        parser.error(f"{_option(targets[0])} and {_option(targets[1])} exclude each other: give one")
    args.target = targets[0] if targets else "sparsity"
    args.sparsity = SPARSITY if args.target == "sparsity" and args.sparsity is None else args.sparsity
    if args.target == "show_groups":
        refuse(tuple(given - {"show_groups", "pretrain_model"}), "has no effect with --show-groups")
        return
    for name in ("pretrain_model", "save_dir"):
        if not getattr(args, name):
            parser.error(f"the following arguments are required: {_option(name)}")
    free = "has no effect with --" + args.target.replace("_", "-")
    if args.target in ("plan", "zeroed", "analyse"):
        refuse(("scope", "round_to", "min_channels", "steps", "prune_remove_artifacts"), free)
    if args.target == "zeroed":
        refuse(("criterion", "reconstruct", "recalibrate", "train_folder_syn", "train_folder_sample", "seed"),
               free + ", which changes nothing that the network says")  # fmt: skip
    if args.target == "analyse":
        refuse(("chart", "threads", "size"), free)
    if args.target != "target_latency":
        refuse(("threads",), "is about --target-latency")
    check_training_line(parser, args)
    check_frames(parser, args, refuse)


def check_training_line(parser: Parser, args: argparse.Namespace) -> None:
    if not args.training:
        if args.steps > 1:
            parser.error(f"--steps {args.steps} needs the training line after a bare --: -- --train-folder-syn ...")
        return
    if args.steps == 1:
        parser.error("a training line after -- has an effect with --steps 2 or more only")
    for name in ("pretrain-model", "save-dir", "prune", "continue-training", "resume", "width", "plan"):
        if any(word.split("=")[0] == f"--{name}" for word in args.training):
            parser.error(f"the training line after --: drop --{name}; prune.py says what is trained, and where")
    parse_training_line([*args.training, "--save-dir", "step"])


def check_frames(parser: Parser, args: argparse.Namespace, refuse) -> None:
    has_frames = bool(args.train_folder_syn or args.train_folder_sample)
    if not has_frames:
        needs = "needs training frames: --train-folder-syn, --train-folder-sample, or both"
        refuse(("recalibrate", "batch_size", *VIEW), needs)
        if args.criterion in MEASURED or args.reconstruct == "linear":
            asked = f"--criterion {args.criterion}" if args.criterion in MEASURED else "--reconstruct linear"
            parser.error(f"{asked} {needs}")
        if args.criterion != "random":
            refuse(("seed",), "is of the frames' draw and of --criterion random")
    if args.target == "analyse" and not has_frames and not args.test_folder_sample:
        parser.error("--analyse measures on frames: give --train-folder-sample or the like, or --test-folder-sample")
    if not args.test_folder_sample:
        names = ("val_short_side", "score_threshold", "nms_threshold")
        refuse(names, "has no effect without --test-folder-sample")
        if not has_frames:
            refuse(("cache_dir",), "has no effect without a dataset")
    args.reconstruct = args.reconstruct or ("linear" if has_frames else "mean")
    if args.recalibrate == 0 and has_frames and args.criterion not in MEASURED and args.reconstruct == "zero":
        parser.error("--recalibrate 0 --reconstruct zero: nothing would be done with the training frames; drop them")
    args.frames = (args.recalibrate or FRAMES) if has_frames else 0
    args.recalibrates = has_frames and args.recalibrate != 0 and args.target not in ("analyse", "zeroed")


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
