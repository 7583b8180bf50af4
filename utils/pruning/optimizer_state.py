"""An optimizer's state for the channels that a pruned network keeps."""

from collections.abc import Mapping

import torch
from torch import nn

from utils.checkpoint import match_parameters
from utils.network.channels import take, tensor_indices


def select_optimizer(
    state: Mapping, model: nn.Module, kept: Mapping[str, torch.Tensor]
) -> tuple[dict | None, str | None]:
    """(the state for the kept channels, None), or (None, why it cannot be had).

    state: of the optimizer of `model`, the network before pruning, ours or the earlier code's. The learning rates
    are left out: fine-tuning starts with those of its own line.
    """
    named = [list(model.named_parameters())]
    if isinstance(state, Mapping) and len(state.get("param_groups", ())) == 2:  # --decay-weights-only
        weights = [(name, parameter) for name, parameter in named[0] if parameter.dim() > 1]
        others = [(name, parameter) for name, parameter in named[0] if parameter.dim() <= 1]
        named = [weights, others]
    moments, reason = match_parameters(state, [[parameter for _, parameter in group] for group in named])
    if reason:
        return None, reason
    indices = tensor_indices(model.plan, kept)
    names = [name for group in named for name, _ in group]
    selected = {}
    for number, values in moments.items():
        selected[number] = {
            key: take(value, indices[names[number]]) if torch.is_tensor(value) and value.dim() else value
            for key, value in values.items()
        }
    groups, start = [], 0
    for old, group in zip(state["param_groups"], named, strict=True):
        options = {key: value for key, value in old.items() if key not in ("lr", "initial_lr")}
        groups.append(options | {"params": list(range(start, start + len(group)))})
        start += len(group)
    return {"state": selected, "param_groups": groups}, None
