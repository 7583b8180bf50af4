"""Keeping what the network learned: the layers that read a removed channel get what it told them otherwise.

A removed channel is replaced by c + A x, with x the kept channels that the layer reads at the same place. Convolutions
are linear: A goes into the weights of the kept channels, c into the layer's bias or, where it has none, into the
running mean of its BatchNorm. With A = 0 and c the channel's mean, a constant is folded into the next bias, which
is exact for a channel that is constant, but for the border, where the convolution's padding is zero. With A and c
by least squares, what the kept channels tell of the removed one is kept, too (as in He et al., "Channel
Pruning for Accelerating Very Deep Neural Networks", ICCV 2017, here without looking at neighbouring places).
"""

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import torch
from torch import nn

from utils.maps import normalise
from utils.network.channels import LAYERS, Layer, kept_inputs, plan_of

RIDGE = 1e-3
"""Share of the inputs' mean variance that is added to their covariance's diagonal."""


class InputMoments(NamedTuple):
    """What is known of a layer's input, all its channels concatenated."""

    mean: torch.Tensor
    """(C,) float64."""
    covariance: torch.Tensor | None = None
    """(C, C) float64; None where only the mean is known."""


Inputs = dict[str, InputMoments]
"""Of each convolution that reads others, by its name."""


@torch.inference_mode()
def measure_inputs(model: nn.Module, batches: Iterable) -> Inputs:
    """The moments of each convolution's input over batches (`utils.data.loading.Batch`), by the convolution's name."""
    counts, sums, products, hooks = {}, {}, {}, []
    for layer in LAYERS:
        if layer.reads:

            def note(_conv, inputs, name=layer.conv):
                values = inputs[0].transpose(0, 1).flatten(1)
                counts[name] = counts.get(name, 0) + values.shape[1]
                sums[name] = sums.get(name, 0) + values.sum(1).double()
                products[name] = products.get(name, 0) + (values @ values.T).double()

            hooks.append(model.get_submodule(layer.conv).register_forward_pre_hook(note))
    for batch in batches:
        model(normalise(batch.images))
    for hook in hooks:
        hook.remove()
    means = {name: total / counts[name] for name, total in sums.items()}
    return {
        name: InputMoments(mean, _not_negative(products[name] / counts[name] - torch.outer(mean, mean)))
        for name, mean in means.items()
    }


def _not_negative(covariance: torch.Tensor) -> torch.Tensor:
    """With variances that rounding has made negative set to 0."""
    covariance.diagonal().clamp_(min=0)
    return covariance


def estimate_inputs(state: Mapping[str, torch.Tensor]) -> Inputs:
    """The same without data, from the BatchNorms: means only.

    A BatchNorm's outputs are taken to be normal with its shift and scale, the parts of a residual stream to be
    independent; max-pooling and up-sampling to change no mean. Exact for channels that are constant.
    """
    streams: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
    inputs = {}
    for layer in LAYERS:
        if layer.reads:
            inputs[layer.conv] = InputMoments(torch.cat([streams[group][0] for group in layer.reads]))
        if not layer.writes:
            continue
        mean, variance = norm_moments(state, layer)
        if layer.writes in streams:  # the block's shortcut, or the stream as it is, is added
            mean, variance = mean + streams[layer.writes][0], variance + streams[layer.writes][1]
        if "downsample" not in layer.conv:
            mean, variance = _rectified(mean, variance)
        streams[layer.writes] = mean, variance
    return inputs


def norm_moments(state: Mapping[str, torch.Tensor], layer: Layer) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and variance (float64) of a layer's BatchNorm's output: its shift and squared scale.

    Of a filter that is zero throughout, which always gives the same: that value and 0.
    """
    scale, shift, mean = (state[f"{layer.norm}.{name}"].double() for name in ("weight", "bias", "running_mean"))
    bias = state[f"{layer.conv}.bias"].double() if f"{layer.conv}.bias" in state else 0
    dead = (state[f"{layer.conv}.weight"].flatten(1) == 0).all(1)
    constant = shift + norm_gains(state, layer) * (bias - mean)
    return torch.where(dead, constant, shift), torch.where(dead, 0, scale**2)


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


def compensate(
    state: Mapping[str, torch.Tensor], kept: Mapping[str, torch.Tensor], inputs: Inputs
) -> dict[str, torch.Tensor]:
    """The tensors, of the same shapes, whose layers do without the channels that are not kept.

    `utils.network.channels.select_channels` then takes these away. With covariances in `inputs`, by least squares; else
    each channel is replaced by its mean.
    """
    state, widths = dict(state), plan_of(state)
    for layer in LAYERS:
        if not layer.reads:
            continue
        moments, name = inputs[layer.conv], f"{layer.conv}.weight"
        keep = kept_inputs(layer, widths, kept)
        removed = torch.ones(len(moments.mean), dtype=torch.bool).index_fill_(0, keep, False).nonzero()[:, 0]
        if not len(removed):
            continue
        weight = state[name].double().clone()
        shift = moments.mean[removed]
        if moments.covariance is not None:
            mixing = _regression(moments.covariance, keep, removed)
            shift = shift - mixing @ moments.mean[keep]
            weight[:, keep] += torch.einsum("orhw,rk->okhw", weight[:, removed], mixing)
        change = weight[:, removed].sum((2, 3)) @ shift
        state[name] = weight.to(state[name].dtype)
        place, sign = (f"{layer.conv}.bias", 1) if f"{layer.conv}.bias" in state else (f"{layer.norm}.running_mean", -1)
        state[place] = (state[place].double() + sign * change).to(state[place].dtype)
    return state


def _regression(covariance: torch.Tensor, keep: torch.Tensor, removed: torch.Tensor) -> torch.Tensor:
    """(removed, kept): the least-squares prediction of the removed channels' deviations from the kept ones'."""
    return torch.linalg.solve(_with_ridge(covariance[keep][:, keep]), covariance[keep][:, removed]).T


def invert(covariance: torch.Tensor) -> torch.Tensor:
    """The inverse that least squares here go by."""
    return torch.linalg.inv(_with_ridge(covariance))


def _with_ridge(covariance: torch.Tensor) -> torch.Tensor:
    ridge = (RIDGE * covariance.diagonal().mean()).clamp(min=1e-12)
    return covariance + ridge * torch.eye(len(covariance), dtype=covariance.dtype)


def norm_gains(state: Mapping[str, torch.Tensor], layer: Layer) -> torch.Tensor:
    """(out,) float64: what a layer's BatchNorm multiplies its convolution's outputs by; 1 where it has none."""
    if not layer.norm:
        return torch.ones(len(state[f"{layer.conv}.weight"]), dtype=torch.float64)
    scale, variance = (state[f"{layer.norm}.{name}"].double() for name in ("weight", "running_var"))
    return scale / (variance + nn.BatchNorm2d(1).eps).sqrt()


@torch.no_grad()
def recalibrate(model: nn.Module, batches: Iterable) -> None:
    """BatchNorms' running statistics anew, as means over the batches (`utils.data.loading.Batch`); in place.

    "Precise BN" of Wu and Johnson, "Rethinking 'Batch' in BatchNorm", 2021.
    """
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean of all batches
    model.train()
    for batch in batches:
        model(normalise(batch.images))
    model.eval()
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
