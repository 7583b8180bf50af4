"""An optimizer's groups of parameters, in the order in which its state numbers them."""

from torch import nn


def named_groups(model: nn.Module, decay_weights_only: bool) -> list[list[tuple[str, nn.Parameter]]]:
    """Names and parameters by group: one group of all, or with `decay_weights_only` the weights, then the others.

    The others are biases and BatchNorms' scales and shifts: vectors, which get no weight decay.
    """
    named = list(model.named_parameters())
    if not decay_weights_only:
        return [named]
    weights = [(name, parameter) for name, parameter in named if parameter.dim() > 1]
    return [weights, [(name, parameter) for name, parameter in named if parameter.dim() <= 1]]


def optimizer_groups(model: nn.Module, decay_weights_only: bool) -> list[dict]:
    """The groups as `torch.optim` optimizers take them; the second one has a weight decay of 0."""
    groups = [[parameter for _, parameter in group] for group in named_groups(model, decay_weights_only)]
    return [{"params": groups[0]}, *({"params": group, "weight_decay": 0.0} for group in groups[1:])]
