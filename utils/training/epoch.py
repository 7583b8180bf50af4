"""One epoch of training, from wherever in it a run stands; everything that changes on the way.

Nothing here waits for the GPU: the loss is read back about once a second, when it is shown.
"""

import contextlib
import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader
from tqdm import tqdm

from utils.data.problems import Problems
from utils.errors import UserError
from utils.maps import normalise
from utils.network.loss_terms import BaseCriterion, LossSums, count_names
from utils.runtime.distributed import Ranks
from utils.runtime.signals import StopRequest
from utils.training.distillation import Distillation
from utils.training.run_folder import append_row
from utils.training.schedule import Schedule

MOST_SKIPPED_IN_A_ROW = 5
_LOOK_SECONDS = 1.0
_STEPS_TO_ESTIMATE = 10


@dataclass
class Training:
    """A run's network, what moves it, and how far it has come."""

    model: nn.Module
    """The bare network, whose tensors go into checkpoints."""
    forward: Callable
    """The network as it is called: bare, compiled, or DistributedDataParallel."""
    optimizer: torch.optim.Optimizer
    schedule: Schedule
    scaler: torch.amp.GradScaler
    ema: AveragedModel | None
    device: torch.device
    ranks: Ranks
    criterion: BaseCriterion
    amp_dtype: torch.dtype | None = None
    clip_norm: float = float("inf")
    distillation: Distillation | None = None
    sparsity_weight: float = 0.0
    """Of the L1 norm of the BatchNorms' scales ("Learning Efficient Convolutional Networks through Network
    Slimming", Liu et al., ICCV 2017), which is no part of the loss that is told."""
    seed: int = 0
    epoch: int = 0
    """Whole epochs done."""
    best_score: float = -1.0
    step: int = 0
    """Steps done of the epoch under way."""
    images: int = 0
    """Images seen in it, and below: their loss sums, what could not be read, the batches skipped."""
    totals: LossSums = field(init=False)
    distilled: torch.Tensor | float = 0.0
    problems: Problems = field(default_factory=Problems)
    skipped: int = 0
    skipped_in_a_row: int = 0
    progress: dict = field(default_factory=dict)
    """Where the epoch stands, for a checkpoint; see `gather_progress`."""
    estimated: bool = False
    """An epoch's time has been told."""

    def __post_init__(self) -> None:
        self.totals = self.criterion.zeros()

    def autocast(self) -> contextlib.AbstractContextManager:
        return torch.autocast(self.device.type, self.amp_dtype, enabled=self.amp_dtype is not None)

    def gather_progress(self) -> None:
        """Note how the epoch under way goes, on all processes together; each has to call it."""
        *totals, distilled, images = self.ranks.sum([*self.totals.tolist(), float(self.distilled), self.images])
        self.progress = {"images": int(images), "totals": totals, "distilled": distilled, "skipped": self.skipped,
                         "world": self.ranks.world}  # fmt: skip

    def restore_progress(self, step: int, progress: dict) -> None:
        """Raises `UserError` in mid-epoch with another number of processes, which would see other images."""
        if step and progress["world"] != self.ranks.world:
            raise UserError(
                f"the run was stopped in mid-epoch with {progress['world']} processes, not {self.ranks.world}; "
                f"give --ngpus {progress['world']}"
            )
        self.step, self.skipped, self.progress = step, progress["skipped"], progress
        if self.ranks.is_first:
            self.images, self.totals = progress["images"], self.criterion.of(progress["totals"])
            self.distilled = progress["distilled"]

    def begin_epoch(self) -> None:
        self.step = self.images = self.skipped = 0
        self.totals, self.distilled, self.problems = self.criterion.zeros(), 0.0, Problems()
        self.gather_progress()

    def parts(self) -> dict[str, float]:
        """The epoch's loss so far, on all processes as of `gather_progress`, and its parts, by name."""
        parts = self.criterion.of(self.progress["totals"]).parts()
        if self.distillation:
            parts["distillation"] = self.progress["distilled"] / max(self.progress["images"], 1)
        return parts


def train_one_epoch(
    training: Training,
    loader: DataLoader,
    batches_per_step: int,
    stop: StopRequest,
    save: Callable[[], None],
    save_seconds: float,
    skipped_file: Path,
) -> bool:
    """Go on with the epoch to its end; False if a stop was asked for (on any process) before that.

    The loader's sampler stands at `training.step`. save is called every
    `save_seconds`. Batches whose gradients are not finite change nothing and are listed in `skipped_file`.
    """
    ranks, names = training.ranks, count_names(training.criterion.terms)
    done = training.step * batches_per_step * loader.batch_size * ranks.world
    whole = done + len(loader.sampler) * ranks.world
    looks, start, first_step, seen = _Looks(training, skipped_file), time.perf_counter(), training.step, 0
    looked = saved = start
    bar = tqdm(total=whole, initial=done, desc=f"epoch {training.epoch + 1}", unit="img", leave=False,
               disable=None if ranks.is_first else True)  # fmt: skip
    with bar:
        for batches in _groups(loader, batches_per_step, training.problems):
            counted = [training.criterion.counts(batch.target) for batch in batches]
            counts = [sum(values[name] for values in counted) for name in names]
            save_is_due = ranks.is_first and time.perf_counter() - saved > save_seconds
            here = [*map(float, counts), sum(len(batch.images) for batch in batches), stop.requested, save_is_due]
            *counts, images, stops, saves = ranks.sum(here)
            if batches or ranks.world > 1:
                looks.add(_learn(training, batches, dict(zip(names, counts, strict=True)), images), batches)
            training.step += 1
            seen += images
            bar.update(images)
            now = time.perf_counter()
            if stops or saves:
                looks.look()
                training.gather_progress()
            if stops:
                return False
            if save_is_due:
                save()
                saved = time.perf_counter()
            if now - looked > _LOOK_SECONDS:
                looked = now
                looks.look()
                shown = {name: f"{value:.3f}" for name, value in training.totals.parts().items()}
                bar.set_postfix(shown | {"img/s": f"{seen / (now - start):.1f}"})
            if training.step - first_step == _STEPS_TO_ESTIMATE and not training.estimated:
                training.estimated = True
                minutes = (now - start) / max(seen, 1) * whole / 60
                ranks.print(
                    f"time        about {minutes:.1f} minutes an epoch, by its first {_STEPS_TO_ESTIMATE} steps"
                )
    looks.look()
    training.gather_progress()
    return True


def _learn(training: Training, batches: list, counts: dict[str, float], images: float) -> torch.Tensor:
    """One optimizer step on some batches. Returns, on the device, whether loss and gradients were finite.

    counts, images: the cells that the loss chooses in all batches of all processes together, and their images,
    so that the gradients are those of one large batch. Random numbers belong to the step's place in the run: one
    that is resumed draws the same.
    """
    place = [training.seed, training.epoch, training.step, training.ranks.rank]
    torch.manual_seed(int(np.random.SeedSequence(place).generate_state(1, np.uint64)[0] >> 1))
    before = [buffer.clone() for buffer in training.model.buffers()]
    sums, whole_loss, distilled, distillation = [], 0.0, 0.0, training.distillation
    for number, batch in enumerate(batches):
        is_last = number == len(batches) - 1
        waits = not is_last and training.ranks.world > 1
        with training.forward.no_sync() if waits else contextlib.nullcontext(), training.autocast():
            inputs = normalise(batch.images.to(training.device, non_blocking=True))
            prediction = training.forward(inputs)
            sums.append(training.criterion(prediction, batch.target.to(training.device)))
            loss = sums[-1].over(counts)
            if distillation:
                apart = distillation.losses(inputs, prediction).sum()
                loss, distilled = loss + apart / images, distilled + apart.detach()
        loss = loss * training.ranks.world  # which DistributedDataParallel divides by
        if is_last and training.sparsity_weight:
            loss = loss + training.sparsity_weight * sum(scale.abs().sum() for scale in norm_scales(training.model))
        training.scaler.scale(loss).backward()
        training.images += len(batch.images)
        whole_loss += loss.detach()
    if not batches:  # nothing could be read here; the other processes wait for this one's gradients
        nothing = torch.zeros(1, 3, 96, 96, device=training.device)
        (sum(values.sum() for values in training.forward(nothing)) * 0).backward()

    training.scaler.unscale_(training.optimizer)
    parameters = [parameter for parameter in training.model.parameters() if parameter.grad is not None]
    norm = nn.utils.clip_grad_norm_(parameters, training.clip_norm)
    finite = torch.isfinite(norm)
    if (
        training.scaler.is_enabled()
    ):  # gradients beyond fp16's range are its own affair: it undoes the step, scales less
        finite = torch.isfinite(torch.as_tensor(whole_loss))
    else:
        training.optimizer.found_inf = (~finite).float()
    training.scaler.step(training.optimizer)
    training.scaler.update()
    training.optimizer.zero_grad()
    training.schedule.after_step()
    for buffer, old in zip(training.model.buffers(), before, strict=True):
        buffer.copy_(torch.where(finite, buffer, old) if batches else old)
    if training.ema:
        training.ema.update_parameters(training.model)
    for each in sums:
        training.totals += each.of(
            each.terms, [torch.where(finite, value.detach(), 0).double() for value in each.values()]
        )
    if distillation:
        training.distilled = training.distilled + torch.where(finite, distilled, 0).double()
    return finite


def norm_scales(model: nn.Module) -> Iterator[nn.Parameter]:
    """The BatchNorms' scales, each a channel's weight in what follows."""
    return (module.weight for module in model.modules() if isinstance(module, nn.BatchNorm2d | nn.SyncBatchNorm))


class _Looks:
    """Steps whose outcome has not been read back from the device yet."""

    def __init__(self, training: Training, file: Path):
        self.training, self.file, self.waiting = training, file, []

    def add(self, finite: torch.Tensor, batches: list) -> None:
        images = [(frame.dataset_index, frame.path) for batch in batches for frame in batch.frames]
        self.waiting.append((finite, self.training.step + 1, images))

    def look(self) -> None:
        """Read them back; list those that were skipped; end the run after several in a row."""
        training, waiting, self.waiting = self.training, self.waiting, []
        for finite, step, images in waiting:
            if finite.item():
                training.skipped_in_a_row = 0
                continue
            training.skipped += 1
            training.skipped_in_a_row += 1
            for index, path in images:
                append_row(self.file, {"epoch": training.epoch + 1, "step": step, "index": index, "image": path})
        if training.skipped_in_a_row >= MOST_SKIPPED_IN_A_ROW:
            last = self.file.parent / "last.pt"
            good = f"the last good checkpoint is {last}: go on from it" if last.exists() else "try again"
            raise UserError(
                f"the loss was not finite {training.skipped_in_a_row} steps in a row (images: {self.file}); {good} "
                "with a smaller --lr"
            )


def _groups(loader: DataLoader, count: int, problems: Problems) -> Iterator[list]:
    """The loader's batches, `count` at a time, the last ones too; what could not be read goes to problems."""
    batches = iter(loader)
    while items := list(itertools.islice(batches, count)):
        for item in items:
            problems.update(item if isinstance(item, Problems) else item.problems)
        yield [item for item in items if not isinstance(item, Problems)]
