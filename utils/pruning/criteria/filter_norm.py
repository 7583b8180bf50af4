"""The norm of a channel's filters: Li et al., "Pruning Filters for Efficient ConvNets", ICLR 2017."""

from utils.pruning.importance import Evidence, Scores, criterion
from utils.pruning.layer_scores import combine_layers


@criterion("l1", "L1 norm of the filter")
def score_l1(evidence: Evidence) -> Scores:
    """The L1 norm of each filter."""
    return combine_layers(evidence.state, lambda _layer, filters: filters.norm(p=1, dim=1))


@criterion("l2", "L2 norm of the filter")
def score_l2(evidence: Evidence) -> Scores:
    """The L2 norm of each filter."""
    return combine_layers(evidence.state, lambda _layer, filters: filters.norm(p=2, dim=1))
