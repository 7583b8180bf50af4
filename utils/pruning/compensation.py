"""Compensation: the layers that read a removed channel are changed so that their outputs change as little as possible.

A removed channel is replaced by c + A x, with x the kept channels that the layer reads at the same position.
Convolutions are linear: A is added to the weights of the kept channels, c to the layer's bias or, where it has none, to
the running mean of its BatchNorm. With A = 0 and c the channel's mean, a constant is folded into the next bias. This is
exact for a constant channel, except at the border, where the convolution's padding is zero. With A and c from least
squares, a removed channel is replaced by a linear combination of the kept ones (as in He et al., "Channel Pruning for
Accelerating Very Deep Neural Networks", ICCV 2017, but without the neighbouring positions).
"""

from collections.abc import Mapping

import torch

from utils.network.channels import LAYERS, kept_inputs, plan_of
from utils.pruning.layer_inputs import InputMoments, Inputs

REPLACEMENTS = ("zero", "mean", "linear")
"""What replaces a removed channel: nothing, its mean, a linear combination of the kept channels."""

RIDGE = 1e-3
"""Share of the inputs' mean variance that is added to their covariance's diagonal."""


def compensate(
    state: Mapping[str, torch.Tensor], kept: Mapping[str, torch.Tensor], inputs: Inputs
) -> dict[str, torch.Tensor]:
    """The tensors, of the same shapes, with the removed channels replaced in the layers that read them.

    `utils.network.channels.select_channels` then removes these channels. Where `inputs` has covariances, a channel is
    replaced by a linear combination of the kept ones, elsewhere by its mean.
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
        has_bias = f"{layer.conv}.bias" in state
        changed, sign = (f"{layer.conv}.bias", 1) if has_bias else (f"{layer.norm}.running_mean", -1)
        state[changed] = (state[changed].double() + sign * change).to(state[changed].dtype)
    return state


def means_only(inputs: Inputs) -> Inputs:
    """The same inputs without covariances: with them, `compensate` replaces a channel by its mean."""
    return {name: InputMoments(moments.mean) for name, moments in inputs.items()}


def _regression(covariance: torch.Tensor, keep: torch.Tensor, removed: torch.Tensor) -> torch.Tensor:
    """(removed, kept): the least-squares prediction of the removed channels' deviations from the kept ones'."""
    return torch.linalg.solve(_with_ridge(covariance[keep][:, keep]), covariance[keep][:, removed]).T


def invert(covariance: torch.Tensor) -> torch.Tensor:
    """The inverse covariance, with the same ridge as the least squares of `compensate`."""
    return torch.linalg.inv(_with_ridge(covariance))


def _with_ridge(covariance: torch.Tensor) -> torch.Tensor:
    ridge = (RIDGE * covariance.diagonal().mean()).clamp(min=1e-12)
    return covariance + ridge * torch.eye(len(covariance), dtype=covariance.dtype)
