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
        averages: list[torch.Tensor] = []
        values: list[torch.Tensor] = []
        for average, value in zip(_tensors(self.module), _tensors(model), strict=True):
            if self.n_averaged and average.is_floating_point():
                averages.append(average)
                values.append(value)
            else:
                average.copy_(value)
        if averages:
            torch._foreach_lerp_(averages, values, 1 - self.decay)
        self.n_averaged += 1


def _tensors(model: nn.Module) -> list[torch.Tensor]:
    return [*(parameter.detach() for parameter in model.parameters()), *model.buffers()]
