"""What a command line of `prune.py` asks for, as objects."""

import argparse
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from utils.data.augmentation import TrainTransform
from utils.data.image_types import DEFAULT_READING, ReadOptions
from utils.data.layouts import SampleFolder
from utils.decode import Thresholds
from utils.deploy.engines import EngineSettings
from utils.deploy.exported_latency import ExportedClock
from utils.network.channels import read_plan
from utils.options.parser import Parser, dashed
from utils.options.pruning import ACTIONS, FRAMES, SPARSITY, check_line, chosen_criterion
from utils.options.reading import read_options
from utils.options.sample import sample_folders
from utils.options.view import thresholds, train_transform
from utils.pruning.gradual import step_folder
from utils.pruning.network_pruning import Method
from utils.pruning.selection import Rules
from utils.pruning.targets import LatencyTarget, MacsTarget, ParametersTarget, PlanTarget, PruningTarget, Sparsity
from utils.runtime.files import refuse_overlap


@dataclass(frozen=True)
class TrainingFrames:
    """The training frames to measure on."""

    folders: tuple[str | None, str | list[SampleFolder] | None]
    """SynthText's and the sample dataset's."""
    transform: TrainTransform
    count: int
    batch_size: int
    cache_dir: str | None = None
    seed: int = 0
    reading: ReadOptions = DEFAULT_READING


@dataclass(frozen=True)
class AccuracySettings:
    """The test frames, and how accuracy is measured on them."""

    folder: str | list[SampleFolder]
    short_side: int
    thresholds: Thresholds
    cache_dir: str | None = None
    reading: ReadOptions = DEFAULT_READING


@dataclass(frozen=True)
class Request:
    """A checked command line of `prune.py`."""

    action: str
    """The option of `ACTIONS` that it gives, or "sparsity"."""
    checkpoint: str
    folder: Path
    target: PruningTarget | None
    """None with --zeroed, --analyse and --show-groups."""
    method: Method
    frames: TrainingFrames | None
    accuracy: AccuracySettings | None
    recalibrates: bool
    """Whether BatchNorm statistics are re-estimated."""
    training_line: list[str]
    """The options of the trainings between the steps."""
    arguments: dict[str, Any]
    """All values of the command line, by name."""

    @property
    def threads(self) -> int | None:
        """Of --threads."""
        return self.arguments["threads"]

    @property
    def steps(self) -> int:
        """The number of prunings."""
        return self.arguments["steps"]

    @property
    def seed(self) -> int:
        """Of the draw of training frames and of criteria that draw at random."""
        return self.arguments["seed"]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the input that MACs and times are counted for."""
        height, width = self.arguments["size"]
        return height, width

    @property
    def asked(self) -> str:
        """The option that says how much to remove, with its value."""
        value = self.target.share if isinstance(self.target, Sparsity) else self.arguments[self.action]
        return dashed(self.action) + ("" if value is True else f" {value}")


def parse_request(parser: Parser, arguments: Sequence[str]) -> Request:
    """The checked command line. The options after a bare `--` are for the trainings between the steps."""
    split = arguments.index("--") if "--" in arguments else len(arguments)
    line, training_line = arguments[:split], list(arguments[split + 1 :])
    args, given = parser.parse_args(line), parser.given(line)
    check_line(parser, args, given, training_line)
    if args.save_dir:
        samples = *sample_folders(args.train_folder_sample), *sample_folders(args.test_folder_sample)
        folders = args.train_folder_syn, *(folder.path for folder in samples)
        refuse_overlap([args.save_dir], folders, inside=False)
        written = [args.save_dir / "plan.json", args.save_dir / "pruned.pt"]
        written += [step_folder(args.save_dir, step) / "pruned.pt" for step in range(1, args.steps)]
        refuse_overlap(written, [args.pretrain_model, args.plan])
    return build_request(args, given, training_line)


def build_request(args: argparse.Namespace, given: set[str], training_line: list[str]) -> Request:
    """The objects that a checked command line asks for. Raises `UserError` for a channel plan that cannot be read."""
    action = next((name for name in ACTIONS if name in given), "sparsity")
    frames = None
    if args.train_folder_syn or args.train_folder_sample:
        frames = training_frames(args, args.recalibrate or FRAMES)
    kept_groups = () if args.prune_remove_artifacts else ("remove_artifacts",)
    rules = Rules(args.scope, kept_groups, args.round_to, args.min_channels)
    return Request(
        action=action,
        checkpoint=args.pretrain_model,
        folder=args.save_dir,
        target=_target(action, args),
        method=Method(chosen_criterion(args), rules, args.reconstruct),
        frames=frames,
        accuracy=_accuracy_settings(args),
        recalibrates=bool(frames) and args.recalibrate != 0 and action != "analyse",
        training_line=training_line,
        arguments=vars(args) | {"criterion": chosen_criterion(args), "given": sorted(given), "training": training_line},
    )


def training_frames(args: argparse.Namespace, count: int) -> TrainingFrames:
    """The training frames that the options about folders, view and batches ask for."""
    folders = args.train_folder_syn, sample_folders(args.train_folder_sample, args.format)
    transform, reading = train_transform(args), read_options(args)
    return TrainingFrames(folders, transform, count, args.batch_size, args.cache_dir, args.seed, reading)


def _accuracy_settings(args: argparse.Namespace) -> AccuracySettings | None:
    if not args.test_folder_sample:
        return None
    folder, side = sample_folders(args.test_folder_sample, args.format), args.val_short_side
    return AccuracySettings(folder, side, thresholds(args), args.cache_dir, read_options(args))


def _target(action: str, args: argparse.Namespace) -> PruningTarget | None:
    """The target that the option `action` asks for; None if it is no target."""
    size = tuple(args.size)
    if action == "sparsity":
        return Sparsity(SPARSITY if args.sparsity is None else args.sparsity)
    if action == "target_macs":
        return MacsTarget(args.target_macs, size)
    if action == "target_params":
        return ParametersTarget(args.target_params)
    if action == "target_latency":
        clock = (
            ExportedClock(EngineSettings(args.backend, args.threads), args.size, args.int8) if args.backend else None
        )
        return LatencyTarget(args.target_latency, size, args.threads, functools.partial(print, flush=True), clock=clock)
    return PlanTarget(read_plan(args.plan)) if action == "plan" else None
