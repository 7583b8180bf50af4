"""Networks whose channels are masked but not removed: full size, with filters whose weights are all zero."""

from collections.abc import Mapping

import torch

from utils.network.channels import LAYERS, kept_inputs, plan_of
from utils.pruning.layer_inputs import norm_moments

State = dict[str, torch.Tensor]


def varying_channels(state: Mapping[str, torch.Tensor]) -> tuple[State, State]:
    """(tensors, sorted indices of the channels that vary over the picture, by group).

    A channel is constant if each convolution that writes it has a constant output for it: the filter's weights are
    zero, except those for channels that are always zero, or the BatchNorm's scale is zero. Each group keeps at least
    one channel. In the returned tensors all weights of such filters are zero, so that
    `utils.pruning.layer_inputs.estimate_inputs` knows their values. The removal of a constant channel is exact where
    its value is 0. Another value is folded into the next biases, which is exact except at the border of the picture.
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
    """Per group, bool: the constant channels that are 0 after ReLU, because no constant output is above 0."""
    zero = {group: ~alive for group, alive in varies.items()}
    for layer in LAYERS:
        if layer.writes:
            zero[layer.writes] &= norm_moments(state, layer)[0] <= 0
    return zero
