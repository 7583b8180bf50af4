"""Train the FOTS text detector on SynthText, on annotated frames, or on both; fine-tune a pruned one.

    python3 train_sample.py --train-folder-syn SYN --train-folder-sample SAMPLE --batch-size 64 \\
        --batches-before-train 2 --ngpus 1 --save-dir OUT --epoch 30 --val
    python3 train_sample.py --save-dir OUT --resume
    python3 train_sample.py ... --auto-resume                 # one line for a scheduler: starts, or resumes
    python3 train_sample.py ... --pretrain-model OUT/last.pt --continue-training
    python3 train_sample.py ... --pretrain-model PRUNED/pruned.pt --continue-training --prune
    python3 train_sample.py ... --pretrain-model OUT/best.pt --val --rejector     # docs/rejector.md
    torchrun --nnodes 2 --nproc-per-node 4 ... train_sample.py ...

Writes to --save-dir: last.pt (each epoch, and every --save-every minutes), epoch_N.pt, best.pt (best validation
hmean, with --val), results.csv. After SIGTERM, SIGHUP, SIGUSR1 or Ctrl-C it finishes the step, saves and exits with
code 75; --resume continues from there with the same numbers as a run that was never stopped.
"""

import utils.runtime.openmp_training  # noqa: F401  # isort: skip  (PyTorch reads it when it is loaded)
import argparse
import contextlib
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch.utils.data import DataLoader

from datasets import EpochSampler, make_loader, open_dataset, require_words
from loss import Criterion
from model import FOTSModel
from model_pruned import FOTSModelPruned
from rejector import train_rejector
from utils.checkpoint import check_pruned, load_model
from utils.data.augmentation import WholeFrame
from utils.data.frames import FrameDataset
from utils.errors import UserError, run_script
from utils.evaluation.validation import Validation, ValidationSettings, validate
from utils.network.base import TextNetwork
from utils.network.channels import read_plan, uniform_plan
from utils.network.rejector import note_left_out
from utils.options import training as training_options
from utils.options.parser import Parser
from utils.options.reading import read_options
from utils.options.sample import sample_folders
from utils.options.training import CommandLine, last_checkpoint
from utils.options.view import thresholds, train_transform
from utils.runtime.device import Machine, choose_device, count_workers, use_deterministic_algorithms
from utils.runtime.distributed import Ranks, launch
from utils.runtime.memory import keep_freed_memory
from utils.runtime.signals import StopRequest
from utils.training.build import build_learner
from utils.training.ending import resumable, stoppable_start
from utils.training.epoch import epoch_sampler, train_one_epoch
from utils.training.epoch_end import finish_epoch
from utils.training.log import EpochLog
from utils.training.progress import Progress
from utils.training.resume import RunComplete, continue_from, read_interrupted, refuse_complete, restore_run
from utils.training.run import Run
from utils.training.run_folder import RESULTS, locked, set_aside
from utils.training.saving import Saver
from utils.training.summary import RunDescription, describe_run, epoch_row
from utils.training.tensorboard import open_board


class Start(NamedTuple):
    """What a run starts with."""

    options: argparse.Namespace
    model: TextNetwork
    contents: dict
    """The other contents of the network's checkpoint; {} for a new network."""


class Loaders(NamedTuple):
    train: DataLoader
    validation: DataLoader | None

    @property
    def samplers(self) -> list[EpochSampler]:
        return [epoch_sampler(loader) for loader in self if loader]


def build_parser() -> Parser:
    return training_options.build_parser(__doc__)


def parse_args(arguments: Sequence[str] | None = None) -> CommandLine:
    return training_options.parse_args(arguments, __doc__)


def main(line: CommandLine, ranks: Ranks) -> None:
    folder = line.options.save_dir
    lock = locked(folder) if ranks.is_first else contextlib.nullcontext()
    with StopRequest(at_once=True) as stop, lock:
        with stoppable_start(ranks):
            start = choose_start(line, ranks)
            options = start.options
            machine = prepare_machine(options, ranks)
            loaders = build_loaders(options, machine)
            if options.rejector:
                train_rejector(*start, machine, [sampler.dataset for sampler in loaders.samplers])
                return
            if left_out := note_left_out(start.contents):
                ranks.print(left_out)
            run = build_run(start, machine, loaders)
            if options.resume:
                restore_run(run, start.contents, folder)
            elif options.continue_training:
                given = {name: getattr(options, name) for name in line.given}
                continue_from(run, start.contents, Path(options.pretrain_model), given)
            if ranks.is_first and not options.resume:
                set_aside(folder, continued=options.pretrain_model if options.continue_training else None)
            ranks.print(describe_run(run, describe_data(options, loaders)))
            stop.at_once = False
        with resumable(run, folder, training_options.resume_line(options)):
            run_epochs(run, loaders, options, stop)


def run_epochs(run: Run, loaders: Loaders, options: argparse.Namespace, stop: StopRequest) -> None:
    """Train, validate, finish, epoch by epoch, until a stop is requested."""
    arguments = {**vars(options), "last_epoch": run.last_epoch}
    saver = Saver(options.save_dir, arguments, options.save_epoch_every, 60 * options.save_every)
    words, board = thresholds(options), None
    if options.tensorboard and run.ranks.is_first:
        board = open_board(options.save_dir / "tensorboard", loaders.samplers[-1].dataset, words)
    log = EpochLog(options.save_dir, board)
    while run.progress.epoch < run.last_epoch:
        start = time.perf_counter()
        images_per_second = train(run, loaders.train, saver, stop)
        validation = None
        if loaders.validation:
            if run.ranks.is_first:
                saver.save(run)  # a validation that is stopped costs no training
            validation = validate_run(run, loaders.validation, ValidationSettings(words, ranks=run.ranks), stop)
        row = epoch_row(run, validation) | {"images_per_second": images_per_second}
        row["seconds"] = time.perf_counter() - start
        finish_epoch(run, saver, log, row, validation)
    written = [name for name in ("last.pt", "best.pt", "ema.pt", RESULTS) if (options.save_dir / name).exists()]
    run.ranks.print(f"{options.save_dir}: {', '.join(written)}")


def train(run: Run, loader: DataLoader, saver: Saver, stop: StopRequest) -> float:
    """Train to the end of the current epoch. Returns the images per second of all processes."""
    progress, images_before, start = run.progress, run.progress.images, time.perf_counter()
    epoch_sampler(loader).set_epoch(progress.epoch + 1, progress.step * run.settings.size.images_per_process)
    run.learner.train_mode()
    train_one_epoch(run, loader, saver, stop)
    seconds = time.perf_counter() - start
    if not progress.gathered["images"]:
        raise UserError(f"none of the images could be read:\n{progress.problems}")
    (images,) = run.ranks.sum([progress.images - images_before])
    return images / seconds


def validate_run(run: Run, loader: DataLoader, settings: ValidationSettings, stop: StopRequest) -> Validation:
    """Validate the network, or its average: the same network in all processes, each on its part of the frames."""
    epoch = run.progress.epoch + 1
    epoch_sampler(loader).set_epoch(epoch)
    torch.manual_seed(run.settings.seed + epoch)
    network = run.learner.measured
    run.ranks.broadcast(network.buffers())
    return validate(network, loader, run.learner.criterion, settings, stop)


def choose_start(line: CommandLine, ranks: Ranks) -> Start:
    """The interrupted run in --save-dir, or a new one. With --auto-resume, a complete run ends with exit code 0."""
    options = line.options
    if not options.resume and not (options.auto_resume and last_checkpoint(options).exists()):
        return begin(options)
    try:
        return resume(line)
    except RunComplete as error:
        if options.resume:
            raise
        ranks.print(error)
        sys.exit(0)


def resume(line: CommandLine) -> Start:
    """The interrupted run in --save-dir, with its options."""
    model, contents = read_interrupted(line.options.save_dir)
    options = training_options.resumed_options(line, contents["arguments"])
    refuse_complete(contents, options.save_dir)
    return Start(options, model, contents)


def begin(options: argparse.Namespace) -> Start:
    """A new run, with a new network or with a checkpoint's."""
    torch.manual_seed(options.seed)
    if options.width or options.plan:
        plan = read_plan(options.plan) if options.plan else uniform_plan(options.width)
        return Start(options, FOTSModelPruned(plan), {})
    if not options.pretrain_model:
        return Start(options, FOTSModel(options.backbone_weights or "imagenet"), {})
    model, contents = load_model(options.pretrain_model)
    check_pruned(options.pretrain_model, model, options.prune)
    return Start(options, model, contents)


def prepare_machine(options: argparse.Namespace, ranks: Ranks) -> Machine:
    device = choose_device(options.ngpus, ranks, options.threads)
    if device.type == "cpu":
        keep_freed_memory()
    if options.deterministic:
        use_deterministic_algorithms()
    return Machine(device, ranks)


def build_loaders(options: argparse.Namespace, machine: Machine) -> Loaders:
    """Training batches and, with --val, those for validation."""
    synthtext, samples, formats = options.train_folder_syn, options.train_folder_sample, options.format
    reading = {"cache_dir": options.cache_dir, **read_options(options)._asdict()}
    chosen = {"transform": train_transform(options), "draw": options.syn_train_size, **reading}
    train_set = open_dataset(synthtext, sample_folders(samples, formats, options.sample_ratio), True, **chosen)
    train_loader = build_loader(options, machine, train_set, "training")
    if not options.val:
        return Loaders(train_loader, None)
    chosen = {"transform": WholeFrame(options.val_short_side), "draw": options.syn_val_size, **reading}
    validation_set = open_dataset(synthtext, sample_folders(samples, formats), False, **chosen)
    return Loaders(train_loader, build_loader(options, machine, validation_set, "validation"))


def build_loader(options: argparse.Namespace, machine: Machine, dataset: FrameDataset, purpose: str) -> DataLoader:
    if dataset.problems:
        machine.ranks.print(f"{purpose} data, left out or repaired:\n{dataset.problems}")
    require_words(dataset, purpose)
    rank, world = machine.ranks.rank, machine.ranks.world
    sampler = EpochSampler(dataset, options.seed, rank=rank, world=world, even=purpose == "training")
    return make_loader(dataset, sampler, options.batch_size, count_workers(options.num_workers, machine))


def build_run(start: Start, machine: Machine, loaders: Loaders) -> Run:
    """The run before its first step."""
    options, criterion = start.options, Criterion(classification_weight=start.options.classification_weight)
    settings = training_options.step_settings(options, machine.ranks.world)
    total_steps = options.epoch * settings.size.steps(len(loaders.samplers[0]))
    learner = build_learner(start.model, criterion, training_options.learner_settings(options), machine, total_steps)
    return Run(learner, settings, Progress(criterion), options.epoch)


def describe_data(options: argparse.Namespace, loaders: Loaders) -> RunDescription:
    train_sampler, *others = loaders.samplers
    drawn = next(((len(sampler) * sampler.world, len(sampler.dataset)) for sampler in others), None)
    images = len(train_sampler), len(train_sampler.dataset), train_sampler.dataset.count_words()
    return RunDescription(options.ngpus, options.threads, options.crop, options.teacher, *images, drawn)


if __name__ == "__main__":
    run_script(lambda: launch(main, line := parse_args(), line.options.ngpus))
