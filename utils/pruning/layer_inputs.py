"""The mean and the covariance of each convolution's input: measured on frames, or estimated from the BatchNorms."""

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import torch
from torch import nn

from utils.data.loading import Batch
from utils.maps import normalise
from utils.network.channels import LAYERS, Layer


class InputMoments(NamedTuple):
    """Moments of a layer's input, all its channels concatenated."""

    mean: torch.Tensor
    """(C,) float64."""
    covariance: torch.Tensor | None = None
    """(C, C) float64; None where only the mean is known."""


Inputs = dict[str, InputMoments]
"""By the name of each convolution that reads a channel group."""


@torch.inference_mode()
def measure_inputs(model: nn.Module, batches: Iterable[Batch]) -> Inputs:
    """The moments of each convolution's input over the batches, by the convolution's name."""
    counts: dict[str, int] = {}
    sums: dict[str, torch.Tensor | float] = {}
    products: dict[str, torch.Tensor | float] = {}
    hooks = []
    for layer in LAYERS:
        if layer.reads:

            def accumulate(_conv, inputs, name=layer.conv):
                values = inputs[0].transpose(0, 1).flatten(1)
                counts[name] = counts.get(name, 0) + values.shape[1]
                sums[name] = sums.get(name, 0) + values.sum(1).double()
                products[name] = products.get(name, 0) + (values @ values.T).double()

            hooks.append(model.get_submodule(layer.conv).register_forward_pre_hook(accumulate))
    for batch in batches:
        model(normalise(batch.images))
    for hook in hooks:
        hook.remove()
    means = {name: torch.as_tensor(total / counts[name]) for name, total in sums.items()}
    return {
        name: InputMoments(mean, _clamp_variances(products[name] / counts[name] - torch.outer(mean, mean)))
        for name, mean in means.items()
    }


def _clamp_variances(covariance: torch.Tensor) -> torch.Tensor:
    """The covariance with variances that rounding has made negative set to 0; in place."""
    covariance.diagonal().clamp_(min=0)
    return covariance


def estimate_inputs(state: Mapping[str, torch.Tensor]) -> Inputs:
    """The means of each convolution's input, estimated from the BatchNorms without any frames; no covariances.

    Assumptions: the outputs of a BatchNorm are normal with its shift and scale, the parts of a residual stream are
    independent, max-pooling and up-sampling do not change the mean. The estimate is exact for constant channels.
    """
    streams: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
    inputs = {}
    for layer in LAYERS:
        if layer.reads:
            inputs[layer.conv] = InputMoments(torch.cat([streams[group][0] for group in layer.reads]))
        if not layer.writes:
            continue
        mean, variance = norm_moments(state, layer)
        if layer.writes in streams:  # the block's shortcut, or the stream before the block, is added
            mean, variance = mean + streams[layer.writes][0], variance + streams[layer.writes][1]
        if "downsample" not in layer.conv:
            mean, variance = _rectified(mean, variance)
        streams[layer.writes] = mean, variance
    return inputs


def norm_moments(state: Mapping[str, torch.Tensor], layer: Layer) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and variance (float64) of the output of a layer's BatchNorm: its shift and its squared scale.

    For a filter whose weights are all zero: its constant output and 0.
    """
    scale, shift, mean = (state[f"{layer.norm}.{name}"].double() for name in ("weight", "bias", "running_mean"))
    bias = state[f"{layer.conv}.bias"].double() if f"{layer.conv}.bias" in state else 0
    dead = (state[f"{layer.conv}.weight"].flatten(1) == 0).all(1)
    constant = shift + norm_gains(state, layer) * (bias - mean)
    return torch.where(dead, constant, shift), torch.where(dead, 0, scale**2)


def norm_gains(state: Mapping[str, torch.Tensor], layer: Layer) -> torch.Tensor:
    """(out,) float64: the factor by which a layer's BatchNorm scales its convolution's outputs; 1 without BatchNorm."""
    if not layer.norm:
        return torch.ones(len(state[f"{layer.conv}.weight"]), dtype=torch.float64)
    scale, variance = (state[f"{layer.norm}.{name}"].double() for name in ("weight", "running_var"))
    return scale / (variance + nn.BatchNorm2d(1).eps).sqrt()


def _rectified(mean: torch.Tensor, variance: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and variance of max(x, 0) for normal x."""
    deviation = variance.sqrt()
    ratio = mean / deviation.clamp(min=1e-12)
    below = torch.special.ndtr(ratio)
    density = torch.exp(-(ratio**2) / 2) / math.sqrt(2 * math.pi)
    first = mean * below + deviation * density
    second = (mean**2 + variance) * below + mean * deviation * density
    constant = deviation == 0
    first = torch.where(constant, mean.clamp(min=0), first)
    return first, torch.where(constant, 0, (second - first**2).clamp(min=0))
