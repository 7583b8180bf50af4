"""The exponential moving average of a network's weights."""

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel


class WeightAverage(AveragedModel):
    """The average over the steps, as a network of its own, `module`; BatchNorm statistics are averaged, too.

    decay: the share of the average that a step keeps. The same numbers as `get_ema_multi_avg_fn(decay)`, which copies
    the number of steps to the GPU in each step and waits for it.
    """

    def __init__(self, model: nn.Module, decay: float):
        super().__init__(model, use_buffers=True)
        self.decay = decay

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        pairs = list(zip(_tensors(self.module), _tensors(model), strict=True))
        floats = [(mine, new) for mine, new in pairs if mine.is_floating_point()] if self.n_averaged else []
        if floats:
            mine, new = zip(*floats, strict=True)
            torch._foreach_lerp_(mine, new, 1 - self.decay)
        for mine, new in pairs:
            if not self.n_averaged or not mine.is_floating_point():
                mine.copy_(new, non_blocking=True)
        self.n_averaged += 1


def _tensors(model: nn.Module) -> list[torch.Tensor]:
    return [*(parameter.detach() for parameter in model.parameters()), *model.buffers()]
