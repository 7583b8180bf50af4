"""What a run trains with, built from its options: precision, optimizer, schedule, average, teacher, processes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from utils.checkpoint import load_model
from utils.errors import UserError
from utils.network.base import TextNetwork
from utils.network.loss_terms import BaseCriterion
from utils.network.parameter_groups import optimizer_groups
from utils.runtime.device import Machine, cpu_multiplies_bf16
from utils.training.average import WeightAverage
from utils.training.distillation import Distillation
from utils.training.learner import Learner, set_train_mode
from utils.training.schedule import Schedule

_LEAST_WIDTH_IN_CHANNELS_LAST = 16
"""Well above the widths at which it fails; see `choose_memory_format`."""


@dataclass(frozen=True)
class LearnerSettings:
    """The options of a run that decide what is built; named as on the command line."""

    lr: float = 1e-3
    weight_decay: float = 1e-5
    decay_weights_only: bool = False
    schedule: str = "plateau"
    patience: int = 3
    warmup_steps: int = 200
    ema: float | None = None
    """Decay of the averaged weights; None for no average."""
    teacher: str | None = None
    """Checkpoint of the network to learn from."""
    freeze_bn: bool = False
    sync_bn: bool = False
    compile: bool = False
    amp: str | None = None
    """Precision, see `choose_precision`."""


def build_learner(
    model: TextNetwork, criterion: BaseCriterion, settings: LearnerSettings, machine: Machine, total_steps: int
) -> Learner:
    """The network on its device, in training mode, with all that changes it. total_steps: of the run, for a cosine."""
    device = machine.device
    move_to_device(model, device)
    if settings.sync_bn:
        model = cast(TextNetwork, nn.SyncBatchNorm.convert_sync_batchnorm(model))
    set_train_mode(model, settings.freeze_bn)
    ema = None
    if settings.ema:
        ema = WeightAverage(model, settings.ema)
    amp_dtype = choose_precision(settings.amp, device)
    groups = optimizer_groups(model, settings.decay_weights_only)
    optimizer = torch.optim.Adam(groups, settings.lr, weight_decay=settings.weight_decay, fused=True)
    return Learner(
        model,
        build_forward(model, machine, settings.compile),
        criterion,
        optimizer,
        Schedule(optimizer, settings.schedule, settings.patience, settings.warmup_steps, total_steps),
        torch.amp.GradScaler(device.type, enabled=amp_dtype == torch.float16),
        machine,
        amp_dtype,
        ema=ema,
        distillation=build_distillation(settings.teacher, model, device) if settings.teacher else None,
        freeze_bn=settings.freeze_bn,
        sync_bn=settings.sync_bn,
    )


def build_forward(model: nn.Module, machine: Machine, compiled: bool) -> Callable:
    """The network as a step calls it: across processes and compiled, as far as asked for."""
    forward: nn.Module = model
    if machine.ranks.world > 1:
        forward = DistributedDataParallel(model, [machine.device] if machine.device.type == "cuda" else None)
    return torch.compile(forward) if compiled else forward


def build_distillation(teacher_path: str, student: TextNetwork, device: torch.device) -> Distillation:
    """The distillation of a checkpoint's network into the student, on the device."""
    teacher, _ = load_model(teacher_path)
    move_to_device(teacher, device)
    return Distillation(teacher, student)


def move_to_device(model: TextNetwork, device: torch.device) -> None:
    """Move a network to a device, in the memory format that is best there."""
    model.to(device).to(memory_format=choose_memory_format(device, model))


def choose_memory_format(device: torch.device, model: TextNetwork) -> torch.memory_format:
    """channels_last, in which convolutions are faster; contiguous on the CPU for very narrow networks.

    There PyTorch 2.14's backward pass of 1x1 convolutions with stride 2 and 4 to 8 channels damages the heap on some
    CPUs when its inputs are channels_last.
    """
    too_narrow = device.type == "cpu" and min(model.plan.values()) < _LEAST_WIDTH_IN_CHANNELS_LAST
    return torch.contiguous_format if too_narrow else torch.channels_last


def choose_precision(asked: str | None, device: torch.device) -> torch.dtype | None:
    """The precision of the forward pass, None for float32.

    asked: off, bf16, fp16, or None: bf16 on a GPU that has it and on a CPU with instructions for it.
    """
    if asked is None:
        has_it = torch.cuda.get_device_capability(device) >= (8, 0) if device.type == "cuda" else cpu_multiplies_bf16()
        asked = "bf16" if has_it else "off"
    if asked == "fp16" and device.type == "cpu":
        raise UserError("--amp fp16: needs a GPU; give --amp off or bf16")
    return {"off": None, "bf16": torch.bfloat16, "fp16": torch.float16}[asked]
