"""Networks whose channels were masked, not yet removed: full size, with filters that are zero throughout."""

from collections.abc import Mapping

import torch

from utils.network.channels import LAYERS, kept_inputs, plan_of
from utils.pruning.compensation import norm_moments

State = dict[str, torch.Tensor]


def varying_channels(state: Mapping[str, torch.Tensor]) -> tuple[State, State]:
    """(tensors, sorted indices of the channels that say anything, by group).

    A channel says nothing if every convolution that writes it gives it a value that is the same everywhere: the
    filter is zero, but for its taps on channels that are zero themselves, or the BatchNorm's scale is. Each
    group keeps one channel at least. In the tensors returned such filters are zero throughout, so that
    `utils.pruning.compensation.estimate_inputs` knows their values: removing these channels is exact everywhere where
    the value is 0 and, folded into the next biases, exact but for the network's border where it is not.
    """
    state, widths = dict(state), plan_of(state)
    zero = {group: torch.zeros(width, dtype=torch.bool) for group, width in widths.items()}
    while True:
        varies = {group: torch.zeros(width, dtype=torch.bool) for group, width in widths.items()}
        for layer in LAYERS:
            if not layer.writes:
                continue
            name = f"{layer.conv}.weight"
            alive = {group: (~zero[group]).nonzero()[:, 0] for group in layer.reads}
            taps = state[name][:, kept_inputs(layer, widths, alive)].flatten(1)
            dead = (taps == 0).all(1) | (state[f"{layer.norm}.weight"] == 0)
            state[name] = torch.where(dead[:, None, None, None], 0, state[name])
            varies[layer.writes] |= ~dead
        now_zero = _always_zero(state, varies)
        if all(torch.equal(now_zero[group], zero[group]) for group in zero):
            break
        zero = now_zero
    kept = {group: alive.nonzero()[:, 0] if alive.any() else torch.tensor([0]) for group, alive in varies.items()}
    return state, kept


def _always_zero(state: Mapping[str, torch.Tensor], varies: State) -> State:
    """The channels that are 0 wherever they are read: no convolution that writes them gives more than 0."""
    zero = {group: ~alive for group, alive in varies.items()}
    for layer in LAYERS:
        if layer.writes:
            zero[layer.writes] &= norm_moments(state, layer)[0] <= 0  # of which ReLU makes 0
    return zero
