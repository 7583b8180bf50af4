"""The distance to the other filters: He et al., "Filter Pruning via Geometric Median", CVPR 2019."""

import torch

from utils.pruning.importance import Evidence, Scores, criterion
from utils.pruning.layer_scores import combine_layers


@criterion("fpgm", "distance of the filter to the convolution's other filters")
def score_distance(evidence: Evidence) -> Scores:
    """The sum of each filter's distances to the convolution's other filters: low where these can replace it."""

    def distances(_layer, filters: torch.Tensor) -> torch.Tensor:
        return torch.cdist(filters, filters, compute_mode="donot_use_mm_for_euclid_dist").sum(1)

    return combine_layers(evidence.state, distances)
