"""How much each channel matters: scores by channel group, higher is more.

A group's score is combined over all convolutions that write it: a channel of a residual stream goes only
as a whole. What a criterion says of one convolution is divided by its mean, so that convolutions, and groups,
are comparable; `taylor` needs no such thing, its unit is the loss.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

import torch
from torch import nn

from utils.channels import LAYERS, ORIGINAL_PLAN
from utils.maps import normalise

Scores = dict[str, torch.Tensor]
"""One score for each channel, by channel group."""

CRITERIA = ("l1", "l2", "bn", "taylor", "fpgm", "random")


def score_weights(state: Mapping[str, torch.Tensor], criterion: str, seed: int = 0) -> Scores:
    """Scores from a network's tensors alone; `criterion`: any but taylor.

    l1, l2: norm of the filter (Li et al., ICLR 2017). bn: BatchNorm's scale (Liu et al., "Network
    Slimming", ICCV 2017). fpgm: the filter's distances to the convolution's others, summed, so that those
    which others can stand in for go (He et al., "Filter Pruning via Geometric Median", CVPR 2019). random:
    the same for a seed.
    """
    generator = torch.Generator().manual_seed(seed)
    scores: Scores = {}
    for layer in LAYERS:
        if not layer.writes:
            continue
        filters = state[f"{layer.conv}.weight"].float().flatten(1)
        if criterion in ("l1", "l2"):
            values = filters.norm(p=int(criterion[1]), dim=1)
        elif criterion == "bn":
            values = state[f"{layer.norm}.weight"].float().abs()
        elif criterion == "fpgm":
            values = torch.cdist(filters, filters, compute_mode="donot_use_mm_for_euclid_dist").sum(1)
        elif criterion == "random":
            values = torch.rand(len(filters), generator=generator)
        else:
            raise ValueError(f"{criterion} is no criterion of weights")
        scores[layer.writes] = scores.get(layer.writes, 0) + values / values.mean().clamp(min=1e-12)
    writers = Counter(layer.writes for layer in LAYERS)
    return {group: scores[group] / writers[group] for group in ORIGINAL_PLAN}


def score_taylor(model: nn.Module, batches: Iterable, loss: Callable) -> Scores:
    """Squared first-order change of the loss when a channel is zeroed, averaged over batches.

    Molchanov et al., "Importance Estimation for Neural Network Pruning", CVPR 2019, at the BatchNorms: to
    zero a channel is to take away its scale and its shift. batches: `datasets.Batch`; loss: of prediction and
    target. The model stays as it is.
    """
    norms = {layer.norm: layer.writes for layer in LAYERS if layer.norm}
    modules = dict(model.named_modules())
    parameters = [parameter for name in norms for parameter in (modules[name].weight, modules[name].bias)]
    totals: Scores = {}
    for batch in batches:
        gradients = torch.autograd.grad(loss(model(normalise(batch.images)), batch.target), parameters)
        changes: Scores = {}
        products = [(parameter * gradient).detach() for parameter, gradient in zip(parameters, gradients, strict=True)]
        for group, scale, shift in zip(norms.values(), products[::2], products[1::2], strict=True):
            changes[group] = changes.get(group, 0) + scale + shift
        totals = {group: totals.get(group, 0) + changes[group].double() ** 2 for group in ORIGINAL_PLAN}
    return totals
