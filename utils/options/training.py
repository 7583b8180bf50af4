"""The command line of `train_sample.py`: its options, their checks, and the settings made of them."""

import argparse
import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from utils.errors import UserError
from utils.options.machine import MOST_IMAGES, add_cache_option, add_machine_options
from utils.options.parser import Parser, dashed, flag, nonempty_path, nonempty_text, number, option, whole_number
from utils.options.reading import add_reading_options
from utils.options.rejector import add_rejector_options, check_rejector, rejector_folders
from utils.options.sample import add_format_option, add_ratio_option, add_sample_option, sample_folders
from utils.options.view import DETECTION, add_detection_options, add_view_options
from utils.runtime.files import refuse_overlap
from utils.training.build import LearnerSettings
from utils.training.run_folder import refuse_run_file
from utils.training.step import StepSettings, StepSize

PATIENCE, WARMUP_STEPS = LearnerSettings.patience, LearnerSettings.warmup_steps

KEPT_ON_RESUME = ("save_dir", "resume", "auto_resume", "ngpus", "num_workers", "threads")
"""Options that --resume takes from its own command line; all others come from the run that it resumes."""

NEEDS = (
    ("syn_train_size", "train_folder_syn"),
    ("syn_val_size", "train_folder_syn"),
    ("syn_val_size", "val"),
    ("sample_ratio", "train_folder_sample"),
    ("format", "train_folder_sample"),
    *((name, "val") for name in DETECTION),
)
"""Options that have no effect without another one."""


class CommandLine(NamedTuple):
    """A parsed command line."""

    options: argparse.Namespace
    given: frozenset[str]
    """The names in `options` of those that the command line gives."""


def build_parser(description: str | None = None) -> Parser:
    """The parser of a training command line."""
    parser = Parser(description)
    data = parser.add_argument_group("data")
    add_data_options(data)
    add_cache_option(data)
    add_reading_options(data)
    view = parser.add_argument_group("network input and detections (pixels, degrees)")
    add_view_options(view)
    add_detection_options(view)
    add_network_options(parser.add_argument_group("network"))
    add_rejector_options(parser.add_argument_group("rejector"))
    learning = parser.add_argument_group("learning")
    add_step_options(learning)
    add_schedule_options(learning)
    add_regularisation_options(learning)
    run = parser.add_argument_group("run")
    add_run_options(run)
    add_machine_options(run)
    return parser


def add_data_options(group) -> None:
    """Add the options of the training and validation data."""
    option(group, "--train-folder-syn DIR", nonempty_text, None, "SynthText: the folder of gt.mat")
    add_sample_option(group, "--train-folder-sample", "annotated frames, in one of the formats of docs/data.md")
    add_format_option(group)
    text = "SynthText images drawn for an epoch (default 15000)"
    option(group, "--syn-train-size N", whole_number(1), None, text)
    text = "SynthText images drawn for a validation (default 3500)"
    option(group, "--syn-val-size N", whole_number(1), None, text)
    add_ratio_option(group)


def add_network_options(group) -> None:
    """Add the options of the network that a run starts with."""
    text = "initial weights of a new network's encoder (default imagenet)"
    option(group, "--backbone-weights imagenet|none|PATH", nonempty_text, None, text)
    text = "start with a new network of this share of the original's widths"
    option(group, "--width SHARE", number(0.01, 1), None, text)
    text = "start with a new network of this channel plan (JSON, as written by prune.py)"
    option(group, "--plan FILE", nonempty_text, None, text)
    option(group, "--pretrain-model CKPT", nonempty_text, None, "start with the network of this checkpoint")
    flag(group, "--continue-training", "also continue with its optimizer, schedule, best score and epoch count")
    flag(group, "--prune", "the checkpoint is of a pruned network")
    flag(group, "--freeze-bn", "BatchNorms keep their statistics, scales and shifts")
    flag(group, "--sync-bn", "BatchNorms use the statistics of all processes together")


def add_step_options(group) -> None:
    """Add the options of steps and epochs."""
    option(group, "--epoch/--epochs N", whole_number(1), 30, "epochs of this run")
    option(group, "--batch-size N", whole_number(1, MOST_IMAGES), 16, "images in a batch, for each process")
    text = "batches whose gradients are accumulated for one step"
    option(group, "--batches-before-train N", whole_number(1), 2, text)
    option(group, "--lr RATE", number(0), 1e-3, "Adam's learning rate")
    option(group, "--weight-decay W", number(0), 1e-5, "Adam's weight decay")
    flag(group, "--decay-weights-only", "no weight decay on biases and BatchNorms")
    text = "weight of the classification loss; the box's is 1"
    option(group, "--classification-weight W", number(0.001, 1000), 1.0, text)
    text = "largest norm of all gradients together (default: no limit)"
    option(group, "--clip-grad NORM", number(1e-9), None, text)
    option(group, "--seed N", whole_number(0), 0, "seed of the draws, the augmentation and the initial weights")


def add_schedule_options(group) -> None:
    """Add the options of the learning rate's schedule."""
    choices = ("plateau", "cosine")
    option(group, "--schedule", str, "plateau", "schedule of the learning rate", choices=choices)
    text = f"plateau: epochs without a lower loss before the rate is halved (default {PATIENCE})"
    option(group, "--patience N", whole_number(0), None, text)
    text = f"cosine: steps in which the rate rises from zero (default {WARMUP_STEPS})"
    option(group, "--warmup-steps N", whole_number(0), None, text)


def add_regularisation_options(group) -> None:
    """Add the options of averaged weights, distillation and sparsity."""
    text = "keep a moving average of the weights, ema.pt; validation and best.pt use it"
    option(group, "--ema DECAY", number(0, 1), None, text)
    text = "distillation: also learn to reproduce the maps and features of this trained network"
    option(group, "--teacher CKPT", nonempty_text, None, text)
    text = "weight of the L1 norm of the BatchNorms' scales, which prepares unimportant channels for pruning"
    option(group, "--sparsity-lambda W", number(0), 0.0, text)


def add_run_options(group) -> None:
    """Add the options of files, precision and reproducibility."""
    option(group, "--save-dir DIR", nonempty_path, None, "folder for the files of the run", required=True)
    flag(group, "--resume", "continue the interrupted run in --save-dir with its options")
    flag(group, "--auto-resume", "resume if --save-dir holds an interrupted run, else start; for schedulers")
    flag(group, "--val", "validate after each epoch, on SynthText's last 20 %% and the test frames")
    option(group, "--save-every MINUTES", number(0), 15.0, "time between checkpoints within an epoch")
    option(group, "--save-epoch-every N", whole_number(0), 1, "keep an epoch_N.pt every N epochs; 0: keep none")
    text, choices = "precision of the network (default: bf16 if the hardware has it)", ("off", "bf16", "fp16")
    option(group, "--amp", str, None, text, choices=choices)
    flag(group, "--tensorboard", "write scalars and pictures of a few validation frames to --save-dir/tensorboard")
    flag(group, "--compile", "compile the network: a slow start, then faster steps")
    flag(group, "--deterministic", "the same numbers in every run, also on a GPU, where it is slower")


def parse_args(arguments: Sequence[str] | None = None, description: str | None = None) -> CommandLine:
    """A checked command line; ends the process with one line of error and code 2 if it is wrong."""
    parser = build_parser(description)
    line = CommandLine(parser.parse_args(arguments), frozenset(parser.given(arguments)))
    if line.options.resume:
        check_resume(parser, line)
        return line
    check_required(parser, line.options)
    check_values(parser, line.options)
    check_network(parser, line)
    check_effects(parser, line)
    check_rejector(parser, line.options, line.given)
    samples = [folder.path for folder in sample_folders(line.options.train_folder_sample)]
    folders = line.options.train_folder_syn, *samples, *rejector_folders(line.options)
    refuse_overlap([line.options.save_dir], folders, inside=False)
    check_teacher(line.options)
    return line


def check_resume(parser: Parser, line: CommandLine) -> None:
    """Refuse options that a resumed run would ignore."""
    if ignored := sorted(line.given - set(KEPT_ON_RESUME)):
        parser.error(f"--resume continues with the run's own options: drop {', '.join(map(dashed, ignored))}")


def check_required(parser: Parser, options: argparse.Namespace) -> None:
    """Refuse a command line without data, or with options of a checkpoint but without one."""
    if not (options.train_folder_syn or options.train_folder_sample):
        parser.error("nothing to train on: give --train-folder-syn, --train-folder-sample, or both")
    try:
        sample_folders(options.train_folder_sample, options.format, options.sample_ratio)
    except UserError as error:
        parser.error(str(error))
    for name in ("continue_training", "prune"):
        if getattr(options, name) and not options.pretrain_model:
            parser.error(f"{dashed(name)} needs --pretrain-model: the checkpoint that it refers to")


def check_values(parser: Parser, options: argparse.Namespace) -> None:
    """Refuse values that are impossible here."""
    if options.sync_bn and (options.freeze_bn or (options.ngpus < 2 and "RANK" not in os.environ)):
        parser.error("--sync-bn is for several processes (--ngpus N), and BatchNorms that are not frozen")
    if options.sync_bn and not torch.cuda.is_available():
        parser.error("--sync-bn needs GPUs; this machine has none")
    if options.ema is not None and not 0 < options.ema < 1:
        parser.error(f"argument --ema: {options.ema}; expected a number between 0 and 1, such as 0.999")
    if options.sparsity_lambda and options.freeze_bn:
        parser.error("--sparsity-lambda changes the BatchNorms' scales, which --freeze-bn keeps as they are; drop one")


def check_network(parser: Parser, line: CommandLine) -> None:
    """Refuse options of a new network that contradict each other or a checkpoint."""
    options, widths = line.options, line.given & {"width", "plan"}
    if options.backbone_weights and options.pretrain_model:
        parser.error("--backbone-weights has no effect with --pretrain-model, which holds all weights; drop one")
    for name in sorted(widths, reverse=True):
        if options.pretrain_model:
            parser.error(f"{dashed(name)} is for a new network: --pretrain-model has its own widths; drop one")
        if options.backbone_weights not in (None, "none"):
            weights = f"--backbone-weights {options.backbone_weights}"
            parser.error(f"{weights} fits the original's widths only; drop {dashed(name)}")
    if len(widths) == 2:
        parser.error("--width and --plan both set the network's widths; drop one")
    last = last_checkpoint(options).resolve()
    if options.auto_resume and options.pretrain_model and Path(options.pretrain_model).resolve() == last:
        name = f"--pretrain-model {options.pretrain_model}"
        parser.error(f"{name}: --auto-resume resumes this run itself; to continue it, give another --save-dir")


def check_effects(parser: Parser, line: CommandLine) -> None:
    """Refuse options that have no effect without another one."""
    options = line.options
    for name, kind in (("patience", "plateau"), ("warmup_steps", "cosine")):
        if name in line.given and options.schedule != kind:
            parser.error(f"{dashed(name)} has no effect with --schedule {options.schedule}; it is for {kind}")
    for name, other in NEEDS:
        if name in line.given and not getattr(options, other):
            parser.error(f"{dashed(name)} has no effect without {dashed(other)}")


def check_teacher(options: argparse.Namespace) -> None:
    """Raise `UserError` for a teacher that the run would replace: resumed, it would be its own teacher."""
    if options.teacher:
        refuse_run_file(options.save_dir, options.teacher, "--teacher")


def resumed_options(line: CommandLine, saved: dict) -> argparse.Namespace:
    """The options of an interrupted run, from its checkpoint, with those that a resumed run takes from its own line.

    Raises `UserError` if a line with --auto-resume gives an option another value than the run has, and for a teacher
    that the run has replaced.
    """
    own = vars(line.options)
    options = own | saved | {name: own[name] for name in KEPT_ON_RESUME} | {"resume": True}
    for name in sorted(line.given - set(KEPT_ON_RESUME)):
        if _plain(own[name]) != _plain(options[name]):
            raise UserError(
                f"{last_checkpoint(line.options)}: its run has {dashed(name)} {options[name]}, this line "
                f"{own[name]}; give the same, or another --save-dir"
            )
    resumed = argparse.Namespace(**options)
    check_teacher(resumed)
    return resumed


def _plain(value: object) -> object:
    """A value as it is in a checkpoint's arguments."""
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return str(value) if isinstance(value, Path) else value


def resume_line(options: argparse.Namespace) -> str:
    """The command that resumes a run."""
    start = ["torchrun", "..."] if "TORCHELASTIC_RUN_ID" in os.environ else ["python3"]
    words = [*start, "train_sample.py", "--save-dir", str(options.save_dir), "--resume"]
    words += [] if options.ngpus == 1 else ["--ngpus", str(options.ngpus)]
    words += [] if options.num_workers is None else ["--num-workers", str(options.num_workers)]
    words += [] if options.threads is None else ["--threads", str(options.threads)]
    return shlex.join(words)


def learner_settings(options: argparse.Namespace) -> LearnerSettings:
    """The settings of what a run trains with: of the same names as the options."""
    chosen = {name: getattr(options, name) for name in LearnerSettings.__dataclass_fields__}
    return LearnerSettings(**{name: value for name, value in chosen.items() if value is not None})


def step_settings(options: argparse.Namespace, processes: int) -> StepSettings:
    """The settings of a run's steps."""
    size = StepSize(options.batch_size, options.batches_before_train, processes)
    clip_norm = StepSettings.clip_norm if options.clip_grad is None else options.clip_grad
    return StepSettings(size, clip_norm, options.sparsity_lambda, options.seed)


def last_checkpoint(options: argparse.Namespace) -> Path:
    """The last.pt of the run's folder."""
    return options.save_dir / "last.pt"
