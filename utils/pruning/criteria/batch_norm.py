"""The scale of a channel's BatchNorms: Liu et al., "Network Slimming", ICCV 2017."""

from utils.pruning.importance import Evidence, Scores, criterion
from utils.pruning.layer_scores import combine_layers


@criterion("bn", "scale of the BatchNorm")
def score_scale(evidence: Evidence) -> Scores:
    """The absolute value of each channel's BatchNorm scale."""
    state = evidence.state
    return combine_layers(state, lambda layer, _filters: state[f"{layer.norm}.weight"].float().abs())
