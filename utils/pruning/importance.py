"""How much each channel matters: scores by channel group, higher is more.

A group's score is combined over all convolutions that write it: a channel of a residual stream goes only
as a whole. What a criterion says of one convolution is divided by its mean, so that convolutions, and groups,
are comparable; `taylor` and `obs` need no such thing, their units are the loss and a share of what is read.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

import torch
from torch import nn

from utils.maps import normalise
from utils.network.channels import LAYERS, ORIGINAL_PLAN, Layer, input_slices, plan_of
from utils.pruning.compensation import Inputs, invert, norm_gains

Scores = dict[str, torch.Tensor]
"""One score for each channel, by channel group."""

CRITERIA = ("l1", "l2", "bn", "taylor", "obs", "fpgm", "random")

MEASURED = ("taylor", "obs")
"""Those that need training frames."""

CONSTANT = 1e-6
"""Share of a layer's outputs' mean square below which their variance is rounding."""


def score_weights(state: Mapping[str, torch.Tensor], criterion: str, seed: int = 0) -> Scores:
    """Scores from a network's tensors alone; `criterion`: any that is not MEASURED.

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
    zero a channel is to take away its scale and its shift. batches: `utils.data.loading.Batch`; loss: of prediction and
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


def score_obs(state: Mapping[str, torch.Tensor], inputs: Inputs) -> Scores:
    """What the layers that read a channel lose with it, although the channels that are left make up for it.

    From each group channels go one by one, each time the one that costs least: what least squares
    (`utils.pruning.compensation.compensate`) do not give back of the readers' outputs, each as a share of the variance
    of the group that the reader writes. A channel's score is what its going costs.
    "Optimal Brain Surgeon" (Hassibi and Stork, NIPS 1992), layer by layer (Dong et al., NIPS 2017) and for
    whole channels (Kurtic et al., "ZipLM", NeurIPS 2023). inputs: from `utils.pruning.compensation.measure_inputs`.
    """
    readers: dict[str, list] = {group: [] for group in ORIGINAL_PLAN}
    widths = plan_of(state)
    for layer in LAYERS:
        if not layer.reads:
            continue
        moments, taken = inputs[layer.conv], _taken(state, layer)
        varying = (taken * moments.covariance).sum()
        whole = varying + moments.mean @ taken @ moments.mean
        if varying <= CONSTANT * whole:  # the layer's output is the same everywhere: rounding errors are no loss
            taken.zero_()
        else:
            taken /= _written(state, layer) or varying
        inverse = invert(moments.covariance)
        for group, own in input_slices(layer, widths).items():
            readers[group].append((taken[own, own].clone(), inverse[own, own].clone()))
    return {group: _costs_of_going(readers[group]) for group in ORIGINAL_PLAN}


def _taken(state: Mapping[str, torch.Tensor], layer: Layer) -> torch.Tensor:
    """(C, C) float64: the products of what a layer's weights take from its inputs, summed over its outputs."""
    weight = state[f"{layer.conv}.weight"].double().flatten(2) * norm_gains(state, layer).view(-1, 1, 1)
    weight = weight.transpose(0, 1).flatten(1)
    return weight @ weight.T


def _written(state: Mapping[str, torch.Tensor], layer: Layer) -> float:
    """The variance of the group that a layer writes, by its BatchNorms, summed over channels; 0 for a head."""
    norms = [other.norm for other in LAYERS if layer.writes and other.writes == layer.writes]
    return float(sum(state[f"{norm}.weight"].double().square().sum() for norm in norms))


def _costs_of_going(readers: list[tuple[torch.Tensor, torch.Tensor]]) -> torch.Tensor:
    """One group's scores. readers: what each takes and its inputs' inverse covariance, both (C, C); used up."""
    width = len(readers[0][0])
    scores = torch.zeros(width, dtype=torch.float64)
    gone = torch.zeros(width, dtype=torch.bool)
    highest = 0.0
    for _ in range(width):
        costs = sum(taken.diagonal() / inverse.diagonal() for taken, inverse in readers).masked_fill(gone, torch.inf)
        cost, channel = (value.item() for value in costs.min(0))
        # what goes later never counts less, and a little more where it would count the same
        highest = max(cost, highest * (1 + 1e-9), 1e-30)
        scores[channel] = highest
        gone[channel] = True
        for taken, inverse in readers:
            # how the others tell of it, which goes into their weights
            told = inverse[channel] / inverse[channel, channel]
            before = taken[channel] - told * (taken[channel, channel] / 2)
            taken.addr_(told, before, alpha=-1).addr_(before, told, alpha=-1)
            inverse.addr_(told, inverse[channel].clone(), alpha=-1)
            inverse[channel, channel] = 1.0
    return scores
