"""An optimizer's state for the channels that a pruned network keeps."""

from collections.abc import Mapping

import torch

from utils.checkpoint import match_parameters
from utils.network.base import TextNetwork
from utils.network.channels import take, tensor_indices
from utils.network.parameter_groups import named_groups


def select_optimizer(
    state: Mapping, model: TextNetwork, kept: Mapping[str, torch.Tensor]
) -> tuple[dict | None, str | None]:
    """(the optimizer's state for the kept channels, None), or (None, the reason why it does not fit the network).

    state: of the optimizer of `model`, the network before pruning, ours or the earlier code's. The result has no
    learning rates: fine-tuning starts with those of its own options.
    """
    two_groups = isinstance(state, Mapping) and len(state.get("param_groups", ())) == 2
    groups = named_groups(model, decay_weights_only=two_groups)
    moments, reason = match_parameters(state, [[parameter for _, parameter in group] for group in groups])
    if reason:
        return None, reason
    indices = tensor_indices(model.plan, kept)
    names = [name for group in groups for name, _ in group]
    selected = {}
    for number, values in moments.items():
        selected[number] = {
            key: take(value, indices[names[number]]) if torch.is_tensor(value) and value.dim() else value
            for key, value in values.items()
        }
    options, start = [], 0
    for old, group in zip(state["param_groups"], groups, strict=True):
        own = {key: value for key, value in old.items() if key not in ("lr", "initial_lr")}
        options.append(own | {"params": list(range(start, start + len(group)))})
        start += len(group)
    return {"state": selected, "param_groups": options}, None
