"""One optimizer step: forward, loss, backward, update.

A step whose loss is not finite leaves the weights, the statistics and the optimizer's state as they were. Nothing here
waits for the GPU.
"""

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from utils.data.loading import Batch
from utils.maps import Prediction, normalise
from utils.network.loss_terms import Counts, LossSums
from utils.training.learner import Learner

_SMALLEST_INPUT = 96
"""Side of the blank image that a process without images passes through its network."""


class StepSize(NamedTuple):
    """How many images make one step."""

    batch_size: int
    """Images in a batch of one process."""
    batches: int = 1
    """Batches of one process whose gradients are accumulated."""
    processes: int = 1

    @property
    def images_per_process(self) -> int:
        return self.batch_size * self.batches

    @property
    def images(self) -> int:
        return self.images_per_process * self.processes

    def steps(self, images_per_process: int) -> int:
        """Steps in which each process trains on this many images; the last one may be smaller."""
        return math.ceil(images_per_process / self.images_per_process)


@dataclass(frozen=True)
class StepSettings:
    """What is the same in all steps of a run."""

    size: StepSize
    clip_norm: float = math.inf
    """Largest norm of all gradients together."""
    sparsity_weight: float = 0.0
    """Weight of the L1 norm of the BatchNorms' scales ("Learning Efficient Convolutional Networks through Network
    Slimming", Liu et al., ICCV 2017). The reported loss does not contain it."""
    seed: int = 0


class StepTotals(NamedTuple):
    """A step's cells and images over all batches of all processes, so that gradients equal one large batch's."""

    counts: Counts
    """The cells that the loss chooses."""
    images: float


class StepOutcome(NamedTuple):
    """The result of a step, on the device. All values are 0 where the step was skipped."""

    finite: torch.Tensor
    """Whether loss and gradients were finite: whether the step was taken."""
    sums: list[LossSums]
    """Of each batch, float64."""
    distilled: torch.Tensor | float
    """Sum of the distillation loss over the images."""
    images: int


class TrainingStep:
    """Takes optimizer steps. Each part is a method, so that a benchmark can time or replace it."""

    def __init__(self, learner: Learner, settings: StepSettings):
        self.learner, self.settings = learner, settings

    def take(self, batches: Sequence[Batch], totals: StepTotals) -> StepOutcome:
        """One step on this process's batches (of a loader); their gradients are accumulated."""
        learner, statistics = self.learner, self.copy_statistics()
        sums: list[LossSums] = []
        loss_value = distilled = torch.zeros((), device=learner.machine.device)
        for number, batch in enumerate(batches):
            is_last = number == len(batches) - 1
            with self.synchronised(is_last), learner.autocast():
                inputs, prediction = self.predict(batch)
                loss, batch_sums, batch_distilled = self.compute_loss(batch, inputs, prediction, totals)
            sums.append(batch_sums)
            loss = loss * learner.machine.ranks.world  # DistributedDataParallel divides by it
            if is_last and self.settings.sparsity_weight:
                scales = sum(scale.abs().sum() for scale in norm_scales(learner.model))
                loss = loss + self.settings.sparsity_weight * scales
            self.backward(loss)
            loss_value, distilled = loss_value + loss.detach(), distilled + batch_distilled
        if not batches:
            self.join_others()
        finite = self.update(loss_value)
        for buffers, old in statistics:
            kept = torch.where(finite, torch.cat(buffers), old) if batches else old
            torch._foreach_copy_(buffers, kept.split([len(buffer) for buffer in buffers]))
        if learner.ema:
            learner.ema.update_parameters(learner.model)

        def masked(value: torch.Tensor) -> torch.Tensor:
            return torch.where(finite, value, 0).double()

        images = sum(len(batch.images) for batch in batches)
        return StepOutcome(finite, [each.map(masked) for each in sums], masked(distilled), images)

    def copy_statistics(self) -> list[tuple[list[torch.Tensor], torch.Tensor]]:
        """The BatchNorms' statistics before the step, which a skipped step restores; none if they are frozen.

        For each data type the buffers, and a copy of all their values in one tensor: a few operations for all of them.
        """
        by_type: dict[torch.dtype, list[torch.Tensor]] = {}
        for buffer in () if self.learner.freeze_bn else self.learner.model.buffers():
            by_type.setdefault(buffer.dtype, []).append(buffer.view(-1))
        return [(buffers, torch.cat(buffers)) for buffers in by_type.values()]

    def synchronised(self, is_last: bool) -> contextlib.AbstractContextManager:
        """The context of a forward pass; gradients are summed over the processes with the last batch only."""
        waits = self.learner.machine.ranks.world > 1 and not is_last
        if waits:
            return self.learner.forward.no_sync()  # type: ignore[attr-defined]  # of DistributedDataParallel
        return contextlib.nullcontext()

    def predict(self, batch: Batch) -> tuple[torch.Tensor, Prediction]:
        """A batch's images (N, 3, H, W) on the device, and the network's maps of them."""
        inputs = normalise(batch.images.to(self.learner.machine.device, non_blocking=True))
        return inputs, self.learner.forward(inputs)

    def compute_loss(
        self, batch: Batch, inputs: torch.Tensor, prediction: Prediction, totals: StepTotals
    ) -> tuple[torch.Tensor, LossSums, torch.Tensor | float]:
        """A batch's part of the step's loss; its sums, without gradients; its distillation losses, summed."""
        learner = self.learner
        sums = learner.criterion(prediction, batch.target.to(learner.machine.device))
        loss = sums.over(totals.counts)
        sums = sums.map(torch.Tensor.detach)
        if not learner.distillation:
            return loss, sums, 0.0
        distilled = learner.distillation.losses(inputs, prediction).sum()
        return loss + distilled / totals.images, sums, distilled.detach()

    def backward(self, loss: torch.Tensor) -> None:
        self.learner.scaler.scale(loss).backward()

    def join_others(self) -> None:
        """Give the other processes, which wait for them, gradients of zero: no image could be read here."""
        blank = torch.zeros(1, 3, _SMALLEST_INPUT, _SMALLEST_INPUT, device=self.learner.machine.device)
        (sum(values.sum() for values in self.learner.forward(blank)) * 0).backward()

    def update(self, loss: torch.Tensor) -> torch.Tensor:
        """Apply the gradients, unless they are not finite. Returns whether they were finite: a scalar tensor.

        With fp16, gradients may overflow: then the scaler skips the update and lowers its scale, and only the loss
        decides what is returned.
        """
        learner = self.learner
        learner.scaler.unscale_(learner.optimizer)
        parameters = [parameter for parameter in learner.model.parameters() if parameter.grad is not None]
        finite = torch.isfinite(nn.utils.clip_grad_norm_(parameters, self.settings.clip_norm))
        if learner.scaler.is_enabled():
            finite = torch.isfinite(loss)
        else:
            learner.optimizer.found_inf = (~finite).float()  # type: ignore[attr-defined]  # read by fused Adam
        learner.scaler.step(learner.optimizer)
        learner.scaler.update()
        learner.optimizer.zero_grad()
        learner.schedule.after_step()
        return finite


def seed_step(*place: int) -> None:
    """Seed PyTorch for a step from its place in the run, so that a resumed run draws the same numbers."""
    torch.manual_seed(int(np.random.SeedSequence(place).generate_state(1, np.uint64)[0]) >> 1)


def norm_scales(model: nn.Module) -> Iterator[nn.Parameter]:
    """The BatchNorms' scales; each weights a channel in the layers that follow."""
    return (module.weight for module in model.modules() if isinstance(module, nn.BatchNorm2d | nn.SyncBatchNorm))
