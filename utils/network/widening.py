"""A wider network that computes the same as a trained one, to start from (Net2Net: Chen et al., ICLR 2016).

Each added channel is a copy of one of its group. In the layers that read the group, the weights of a channel are
divided among its copies, in random proportions for each filter, so that copies learn different things.
"""

from collections.abc import Mapping

import torch

from utils.errors import UserError
from utils.network.base import TextNetwork
from utils.network.channels import LAYERS, check_plan, kept_inputs, plan_of, select_channels

UNEVENNESS = 0.5
"""Largest relative difference between a copy's part of a weight and an equal part, before they are normalised."""


def widen(model: TextNetwork, plan: Mapping[str, int], seed: int = 0) -> TextNetwork:
    """The network of this channel plan, in eval mode on the CPU, with the model's outputs; the model is not changed.

    seed: of the choice of the copied channels and of the proportions. Raises `UserError` if a group would be narrower.
    """
    random = torch.Generator().manual_seed(seed)
    state = {name: tensor.detach().cpu() for name, tensor in model.state_dict().items()}
    widths, plan = plan_of(state), check_plan(plan)
    sources = {}
    for group, width in widths.items():
        if plan[group] < width:
            raise UserError(f"channel plan: {group} has {plan[group]} channels, fewer than the {width} of the network")
        rounds = [torch.randperm(width, generator=random) for _ in range(plan[group] // width)]
        sources[group] = torch.cat([torch.arange(width), *rounds])[: plan[group]]
    wide = select_channels(state, sources)
    for layer in LAYERS:
        if layer.reads:
            name = f"{layer.conv}.weight"
            parts = 1 + UNEVENNESS * (2 * torch.rand(wide[name].shape[:2], generator=random) - 1)
            copied = kept_inputs(layer, widths, sources)
            sums = torch.zeros(len(parts), state[name].shape[1]).index_add_(1, copied, parts)
            wide[name] *= (parts / sums[:, copied])[:, :, None, None]
    network = model.with_plan(plan)
    network.load_state_dict(wide)
    return network.eval()
