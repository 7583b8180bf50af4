"""The command line of `prune.py`: its options, and the checks of their combinations."""

import argparse
from collections.abc import Iterable

from utils.data.augmentation import MOST_SIDE
from utils.maps import SIZE_MULTIPLE
from utils.options.machine import MOST_IMAGES, add_cache_option
from utils.options.parser import Parser, dashed, flag, nonempty_path, nonempty_text, number, option, whole_number
from utils.options.reading import add_reading_options
from utils.options.sample import add_format_option, add_sample_option
from utils.options.training import parse_args as parse_training_line
from utils.options.view import DETECTION, VIEW, add_detection_options, add_view_options
from utils.pruning.compensation import REPLACEMENTS
from utils.pruning.criteria import CRITERIA
from utils.pruning.gradual import step_folder
from utils.pruning.targets import SIZE
from utils.runtime.files import refuse_overlap

SPARSITY, FRAMES = 0.5, 256
"""Defaults: share of the channels to remove, training frames to measure on."""

_GIVEN = ("--pretrain-model", "--save-dir", "--prune", "--continue-training", "--resume", "--width", "--plan")
_NOT_FOR_STEPS = dict.fromkeys(_GIVEN, "prune.py sets the checkpoint and the folder")
_NOT_FOR_STEPS |= dict.fromkeys(("--auto-resume", "--rejector"), "each step fine-tunes what it has pruned")
"""Training options that `--steps` does not take, and why."""

ACTIONS = ("sparsity", "target_macs", "target_params", "target_latency", "plan", "zeroed", "analyse", "show_groups")
"""The options that say how much to remove or what else to do; a command line has at most one of them."""


def add_options(parser: Parser) -> Parser:
    """Add the options of `prune.py`; returns the parser."""
    text = "the checkpoint to prune, of an original or a pruned network"
    option(parser, "--pretrain-model CKPT", nonempty_text, None, text)
    option(parser, "--save-dir DIR", nonempty_path, None, "folder for pruned.pt, plan.json, report.json")
    _add_target_options(parser.add_argument_group("how much to remove, or what else to do (one of these)"))
    _add_measure_options(parser.add_argument_group("how the target is reached"))
    _add_method_options(parser.add_argument_group("which channels, and what replaces them"))
    _add_frame_options(parser.add_argument_group("training frames to measure on"))
    _add_report_options(parser.add_argument_group("accuracy and charts"))
    return parser


def _add_target_options(group) -> None:
    text = f"remove this share of the present channels (default {SPARSITY})"
    option(group, "--sparsity SHARE", number(0, 0.999), None, text)
    text = "keep at most this share of the original network's MACs"
    option(group, "--target-macs SHARE", number(1e-6, 1), None, text)
    text = "keep at most this share of the original network's parameters"
    option(group, "--target-params SHARE", number(1e-6, 1), None, text)
    text = "take at most this time for one image on this machine's CPU, measured"
    option(group, "--target-latency MS", number(0.01), None, text)
    option(group, "--plan FILE", nonempty_text, None, "keep as many channels as this channel plan has (JSON)")
    flag(group, "--zeroed", "remove only the channels without effect in a masked network: their output is constant")
    flag(group, "--analyse", "only measure how sensitive each channel group is: analysis.csv, analysis.png")
    flag(group, "--show-groups", "only print the channel groups, which layers write them and which read them")


def _add_measure_options(group) -> None:
    text = "height and width of the input that MACs and times are counted for"
    option(group, "--size H W", whole_number(32, MOST_SIDE), SIZE, text)
    option(group, "--threads N", whole_number(1), None, "threads on the CPU (default: as train_sample.py)")
    text = "--target-latency is the time of the exported network in this engine (default: in PyTorch)"
    option(group, "--backend", str, None, text, choices=("onnxruntime", "openvino"))
    flag(group, "--int8", "--target-latency is the time of the int8 network, with --backend")
    text = "prune in this many steps; between them, fine-tune with the training options after a bare --"
    option(group, "--steps K", whole_number(1), 1, text)


def _add_method_options(group) -> None:
    names = sorted(CRITERIA)
    text = "importance of a channel (default: obs with training frames, else l1): "
    text += "; ".join(f"{name}: {CRITERIA[name].summary}" for name in names)
    option(group, "--criterion", str, None, text, choices=names)
    text = "remove the same share of each group, or the channels of the lowest scores of all groups"
    option(group, "--scope", str, "layer", text, choices=("layer", "global"))
    option(group, "--round-to N", whole_number(1), 1, "make widths multiples of this")
    option(group, "--min-channels N", whole_number(1), 1, "least number of channels of each group")
    flag(group, "--prune-remove-artifacts", "also prune the inputs of the heads, the output of remove_artifacts")
    option(group, "--seed N", whole_number(0), 0, "of the draw of training frames, and of --criterion random")
    text = (
        "what replaces a removed channel in the layers that read it: zero, its mean, or a linear combination of the "
        "kept channels (default: linear with training frames, else mean)"
    )
    option(group, "--reconstruct", str, None, text, choices=REPLACEMENTS)


def _add_frame_options(group) -> None:
    text = (
        f"training frames to measure on; BatchNorm statistics are re-estimated where this lowers their loss (default "
        f"{FRAMES}); 0: statistics are not re-estimated"
    )
    option(group, "--recalibrate N", whole_number(0), None, text)
    option(group, "--train-folder-syn DIR", nonempty_text, None, "SynthText: the folder of gt.mat")
    add_sample_option(group, "--train-folder-sample", "a sample dataset, see docs/data.md")
    option(group, "--batch-size N", whole_number(2, MOST_IMAGES), 8, "frames in a batch")
    add_view_options(group)
    add_cache_option(group)
    add_reading_options(group)


def _add_report_options(group) -> None:
    text = "a sample dataset: loss and hmean on its test frames are measured"
    add_sample_option(group, "--test-folder-sample", text)
    add_format_option(group)
    flag(group, "--chart", "draw the kept channels: channels.png (needs requirements-extra.txt)")
    add_detection_options(group)


def check_line(parser: Parser, args: argparse.Namespace, given: set[str], training_line: list[str]) -> None:
    """Refuse options that are missing, contradict each other or have no effect.

    given: the names of the options on the command line. training_line: what follows a bare `--`.
    """
    actions = [name for name in ACTIONS if name in given]
    if len(actions) > 1:
        parser.error(f"{dashed(actions[0])} and {dashed(actions[1])} exclude each other: give one")
    if args.show_groups:
        _refuse(parser, given, given - {"show_groups", "pretrain_model"}, "has no effect with --show-groups")
        return
    for name in ("pretrain_model", "save_dir"):
        if not getattr(args, name):
            parser.error(f"the following arguments are required: {dashed(name)}")
    _check_action(parser, args, given)
    _check_training_line(parser, args, training_line)
    _check_training_frames(parser, args, given)
    _check_frames_in_use(parser, args, given)


def _check_action(parser: Parser, args: argparse.Namespace, given: set[str]) -> None:
    """Refuse options that have no effect on what is asked for."""
    for action in ("plan", "zeroed", "analyse"):
        if action in given:
            names = ("scope", "round_to", "min_channels", "steps", "prune_remove_artifacts")
            _refuse(parser, given, names, f"has no effect with {dashed(action)}")
    if "target_latency" not in given:
        _refuse(parser, given, ("backend", "int8"), "has an effect with --target-latency only")
    elif not args.backend:
        _refuse(parser, given, ("int8",), "is of an exported network: give --backend onnxruntime or openvino, too")
    elif any(side % SIZE_MULTIPLE for side in args.size):
        parser.error(f"--size {args.size[0]} {args.size[1]}: an exported network reads multiples of {SIZE_MULTIPLE}")
    if args.zeroed:
        names = ("criterion", "reconstruct", "recalibrate", "train_folder_syn", "train_folder_sample", "seed")
        _refuse(parser, given, names, "has no effect with --zeroed, which removes constant channels only")
    if args.analyse:
        _refuse(parser, given, ("chart", "size"), "has no effect with --analyse")


def _check_training_line(parser: Parser, args: argparse.Namespace, line: list[str]) -> None:
    """Refuse a training line that is missing, has no effect, sets what `prune.py` sets, or has an output as teacher."""
    if not line:
        if args.steps > 1:
            parser.error(f"--steps {args.steps} needs the training options after a bare --: -- --train-folder-syn ...")
        return
    if args.steps == 1:
        parser.error("training options after -- have an effect with --steps 2 or more only")
    given = {word.split("=")[0] for word in line}
    for name, reason in _NOT_FOR_STEPS.items():
        if name in given:
            parser.error(f"training options after --: drop {name}; {reason}")
    for step in range(1, args.steps):
        folder = step_folder(args.save_dir, step)
        teacher = parse_training_line([*line, "--save-dir", str(folder)]).options.teacher
        refuse_overlap([folder / "pruned.pt", args.save_dir / "pruned.pt"], [teacher])


def chosen_criterion(args: argparse.Namespace) -> str:
    """The criterion that is given, or the best one for what is."""
    return args.criterion or ("obs" if args.train_folder_syn or args.train_folder_sample else "l1")


def _check_training_frames(parser: Parser, args: argparse.Namespace, given: set[str]) -> None:
    """Refuse options that need training frames, without any; and training frames without a use."""
    criterion = chosen_criterion(args)
    measured = CRITERIA[criterion].needs_frames
    if args.train_folder_syn or args.train_folder_sample:
        if args.recalibrate == 0 and not measured and args.reconstruct == "zero":
            parser.error("--recalibrate 0 --reconstruct zero: training frames have no effect; drop them")
        return
    needs = "needs training frames: --train-folder-syn, --train-folder-sample, or both"
    _refuse(parser, given, ("recalibrate", "batch_size", *VIEW), needs)
    if measured or args.reconstruct == "linear":
        parser.error(f"{f'--criterion {criterion}' if measured else '--reconstruct linear'} {needs}")
    if criterion != "random":
        _refuse(parser, given, ("seed",), "has an effect with training frames or --criterion random only")


def _check_frames_in_use(parser: Parser, args: argparse.Namespace, given: set[str]) -> None:
    """Refuse options about frames where none are read."""
    if args.test_folder_sample:
        return
    _refuse(parser, given, DETECTION, "has no effect without --test-folder-sample")
    if not (args.train_folder_syn or args.train_folder_sample):
        if args.analyse:
            parser.error("--analyse measures on frames: give --train-folder-sample or similar, or --test-folder-sample")
        _refuse(parser, given, ("cache_dir", "max_pixels", "background"), "has no effect without a dataset")


def _refuse(parser: Parser, given: set[str], names: Iterable[str], reason: str) -> None:
    """End with an error if one of the named options is given."""
    if wrong := [name for name in names if name in given]:
        parser.error(f"{dashed(wrong[0])} {reason}")
