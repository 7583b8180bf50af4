"""What a run prints and records of itself: the header, and each epoch's line of results.csv."""

from typing import NamedTuple

import torch

from utils.evaluation.validation import Validation
from utils.network.cost import describe_cost
from utils.network.loss_terms import BaseCriterion
from utils.runtime.device import describe_device
from utils.training.run import Run

Row = dict[str, float | str]
"""A line of results.csv by column; "" where nothing is measured."""

_MEASURES = ("precision", "recall", "hmean")


class RunDescription(NamedTuple):
    """What the header says beside what the run itself contains."""

    ngpus: int
    threads: int | None
    """Of --threads."""
    crop: int
    teacher: str | None
    images: int
    """Images that each process draws in an epoch."""
    dataset_images: int
    words: tuple[int, int]
    """Words of the training images that count, and don't-cares."""
    validation: tuple[int, int] | None
    """Images that all processes draw in a validation, and those of its dataset."""


def columns(criterion: BaseCriterion) -> list[str]:
    """The columns of results.csv; those of the loss follow from the criterion's terms."""
    losses = [f"train_{name}" for name in ("loss", *criterion.names, "distillation")]
    return ["epoch", "lr", *losses, "val_loss", *_MEASURES, "skipped", "images_per_second", "seconds"]


def epoch_row(run: Run, validation: Validation | None) -> Row:
    """The line of the epoch that ends: rate, losses, and what a validation measured. Its times are still empty."""
    losses = {f"train_{name}": value for name, value in run.progress.losses().items()}
    if not run.learner.distillation:
        del losses["train_distillation"]
    row: Row = dict.fromkeys(columns(run.learner.criterion), "") | losses
    row |= {"epoch": run.progress.epoch + 1, "lr": run.learner.optimizer.param_groups[0]["lr"]}
    row["skipped"] = run.progress.skipped
    if validation:
        row["val_loss"] = validation.loss
        row |= {name: getattr(validation.evaluation, name) for name in _MEASURES}
    return row


def describe_row(row: Row) -> str:
    """A line of results.csv as it is printed."""
    return "  ".join(f"{name} {value:.4g}" for name, value in row.items() if value != "")


def describe_run(run: Run, about: RunDescription) -> str:
    """The header of a run: device, network, data, step."""
    learner, size, crop = run.learner, run.settings.size, about.crop
    precision = str(learner.amp_dtype or torch.float32).removeprefix("torch.")
    processes = f", {size.processes} processes" if size.processes > 1 else ""
    kind = "of a channel plan" if learner.model.pruned else "original"
    drawn = about.images * size.processes
    device = describe_device(learner.machine.device, about.ngpus, about.threads, run.ranks)
    lines = [
        f"device      {device}{processes}, {precision}",
        f"network     {kind}, {describe_cost(learner.model, crop, crop)}",
        f"training    {drawn} of {about.dataset_images} images an epoch, {crop}x{crop} crops",
        "            of all images {:,} words count, {:,} are don't-care".format(*about.words),
    ]
    if about.validation:
        lines.append("validation  {} of {} images an epoch; best.pt by hmean".format(*about.validation))
    else:
        lines.append("validation  none (no --val): the training loss drives the schedule, and no best.pt is written")
    if learner.distillation:
        how = "channel by channel" if learner.distillation.by_channel else "by attention maps"
        lines.append(f"teacher     {about.teacher}, {describe_cost(learner.distillation.teacher, crop, crop)}")
        lines.append(f"            its features are compared {how}")
    factors = [size.batches, size.batch_size, *([size.processes] if size.processes > 1 else [])]
    product = " x ".join(map(str, factors))
    lines.append(f"step        {size.images} images ({product}), {size.steps(about.images)} steps an epoch")
    progress = run.progress
    if progress.epoch or progress.step:
        done = f"{progress.epoch} epochs and {progress.step} steps"
        lines.append(f"continues   after {done}, to epoch {run.last_epoch}")
    return "\n".join(lines)
