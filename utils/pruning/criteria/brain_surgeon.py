"""The error that the readers of a channel keep although the other channels compensate for it.

"Optimal Brain Surgeon" (Hassibi and Stork, NIPS 1992), layer by layer (Dong et al., NIPS 2017) and for whole channels
(Kurtic et al., "ZipLM", NeurIPS 2023).
"""

from collections.abc import Mapping

import torch

from utils.network.channels import LAYERS, ORIGINAL_PLAN, Layer, input_slices, plan_of
from utils.pruning.compensation import invert
from utils.pruning.importance import Evidence, Scores, criterion
from utils.pruning.layer_inputs import norm_gains

CONSTANT = 1e-6
"""Share of a layer's outputs' mean square below which their variance is taken for a rounding error."""


@criterion("obs", "error that remains in the layers that read the channel after least squares", needs_frames=True)
def score_remaining_error(evidence: Evidence) -> Scores:
    """The error of removing each channel when the channels of a group are removed one by one.

    Each time the channel of the least error is removed: the part of the readers' outputs that least squares
    (`utils.pruning.compensation.compensate`) do not recover, divided by the variance of the group that the reader
    writes. The unit is the same for all groups, so scores are not normalised.
    """
    state = evidence.state
    readers: dict[str, list] = {group: [] for group in ORIGINAL_PLAN}
    widths = plan_of(state)
    for layer in LAYERS:
        if not layer.reads:
            continue
        moments, products = evidence.inputs[layer.conv], _weight_products(state, layer)
        if moments.covariance is None:
            raise ValueError(f"{layer.conv}: the covariance of its input is not known")
        varying = (products * moments.covariance).sum()
        mean_square = varying + moments.mean @ products @ moments.mean
        if varying <= CONSTANT * mean_square:  # a constant output: its rounding errors are not an error
            products.zero_()
        else:
            products /= _written_variance(state, layer) or varying
        inverse = invert(moments.covariance)
        for group, own in input_slices(layer, widths).items():
            readers[group].append((products[own, own].clone(), inverse[own, own].clone()))
    return {group: _removal_errors(readers[group]) for group in ORIGINAL_PLAN}


def _weight_products(state: Mapping[str, torch.Tensor], layer: Layer) -> torch.Tensor:
    """(C, C) float64: the scalar products of a layer's weights for its inputs, summed over outputs and positions."""
    weight = state[f"{layer.conv}.weight"].double().flatten(2) * norm_gains(state, layer).view(-1, 1, 1)
    weight = weight.transpose(0, 1).flatten(1)
    return weight @ weight.T


def _written_variance(state: Mapping[str, torch.Tensor], layer: Layer) -> float:
    """The variance of the group that a layer writes, from its BatchNorms, summed over channels; 0 for a head."""
    norms = [other.norm for other in LAYERS if layer.writes and other.writes == layer.writes]
    return float(sum(state[f"{norm}.weight"].double().square().sum() for norm in norms))


def _removal_errors(readers: list[tuple[torch.Tensor, torch.Tensor]]) -> torch.Tensor:
    """One group's scores. readers: weight products and inverse input covariance of each, (C, C); changed in place."""
    width = len(readers[0][0])
    scores = torch.zeros(width, dtype=torch.float64)
    removed = torch.zeros(width, dtype=torch.bool)
    highest = 0.0
    for _ in range(width):
        ratios = [products.diagonal() / inverse.diagonal() for products, inverse in readers]
        errors = torch.as_tensor(sum(ratios)).masked_fill(removed, torch.inf)
        error, channel = errors.min(0).values.item(), int(errors.min(0).indices)
        # a channel that is removed later always gets a higher score, a little higher where the errors are equal
        highest = max(error, highest * (1 + 1e-9), 1e-30)
        scores[channel] = highest
        removed[channel] = True
        for products, inverse in readers:
            # the removed channel as a linear combination of the others, which is added to their weights
            combination = inverse[channel] / inverse[channel, channel]
            change = products[channel] - combination * (products[channel, channel] / 2)
            products.addr_(combination, change, alpha=-1).addr_(change, combination, alpha=-1)
            inverse.addr_(combination, inverse[channel].clone(), alpha=-1)
            inverse[channel, channel] = 1.0
    return scores
