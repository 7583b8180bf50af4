"""Scores of channel groups from scores of single convolutions."""

from collections import Counter
from collections.abc import Callable, Mapping

import torch

from utils.network.channels import LAYERS, ORIGINAL_PLAN, Layer
from utils.pruning.importance import Scores


def combine_layers(state: Mapping[str, torch.Tensor], score: Callable[[Layer, torch.Tensor], torch.Tensor]) -> Scores:
    """The mean of `score` over the convolutions that write each group, so that a residual stream has one score.

    score: from a layer and its filters (channels, weights) float32 to one value for each channel. The values of a layer
    are divided by their mean: this makes convolutions, and groups, comparable.
    """
    scores: dict[str, torch.Tensor | float] = {}
    for layer in LAYERS:
        if layer.writes:
            values = score(layer, state[f"{layer.conv}.weight"].float().flatten(1))
            scores[layer.writes] = scores.get(layer.writes, 0) + values / values.mean().clamp(min=1e-12)
    writers = Counter(layer.writes for layer in LAYERS)
    return {group: torch.as_tensor(scores[group] / writers[group]) for group in ORIGINAL_PLAN}
