"""What a run trains with: the network, the objects that change it, and the machine that it is on."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch import nn

from utils.network.base import TextNetwork
from utils.network.loss_terms import BaseCriterion
from utils.runtime.device import Machine
from utils.training.average import WeightAverage
from utils.training.distillation import Distillation
from utils.training.schedule import Schedule


@dataclass
class Learner:
    """A network in training. Its parts hold all tensors of a run that change from step to step."""

    model: TextNetwork
    """The plain network, whose tensors are saved."""
    forward: Callable
    """The network as a step calls it: plain, compiled, or `DistributedDataParallel`."""
    criterion: BaseCriterion
    optimizer: torch.optim.Optimizer
    schedule: Schedule
    scaler: torch.amp.GradScaler
    machine: Machine
    amp_dtype: torch.dtype | None = None
    """Precision of the forward pass; None for float32."""
    ema: WeightAverage | None = None
    """The exponential moving average of the weights."""
    distillation: Distillation | None = None
    freeze_bn: bool = False
    """BatchNorms keep their statistics, scales and shifts."""
    sync_bn: bool = False
    """BatchNorms compute their statistics over all processes, which wait for each other in each forward pass."""

    @property
    def measured(self) -> TextNetwork:
        """The network that is validated and saved as best.pt: the average, if there is one."""
        return cast(TextNetwork, self.ema.module) if self.ema else self.model

    def autocast(self) -> contextlib.AbstractContextManager:
        """The context of a forward pass in this precision."""
        return torch.autocast(self.machine.device.type, self.amp_dtype, enabled=self.amp_dtype is not None)

    def train_mode(self) -> None:
        """Put the network into training mode, except for BatchNorms that are frozen."""
        set_train_mode(self.model, self.freeze_bn)


def set_train_mode(model: nn.Module, freeze_bn: bool) -> None:
    """Put a network into training mode; with freeze_bn, BatchNorms keep their statistics, scales and shifts."""
    model.train()
    for module in model.modules() if freeze_bn else ():
        if isinstance(module, nn.BatchNorm2d | nn.SyncBatchNorm):
            module.eval()
            module.requires_grad_(False)
