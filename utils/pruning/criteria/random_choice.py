"""Random scores, the same for the same seed: a baseline for the other criteria."""

import torch

from utils.pruning.importance import Evidence, Scores, criterion
from utils.pruning.layer_scores import combine_layers


@criterion("random", "random numbers, see --seed")
def score_random(evidence: Evidence) -> Scores:
    """A uniform random number for each filter, by `evidence.seed`."""
    generator = torch.Generator().manual_seed(evidence.seed)
    return combine_layers(evidence.state, lambda _layer, filters: torch.rand(len(filters), generator=generator))
