"""The choice of the channels to keep, from their scores: by share, by cost, or by a channel plan."""

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import torch

from utils.errors import UserError
from utils.pruning.importance import Scores

Kept = dict[str, torch.Tensor]
"""Sorted indices of the channels to keep, by channel group."""

Cost = Callable[[Mapping[str, int]], float]
"""From a channel plan to a cost that does not increase when channels are removed."""

FLOOR = 0.1
"""Share of each group that is kept when channels of all groups are ranked together."""

_BISECTIONS = 24


class OutOfReach(UserError):
    """No network within the rules is as small, or as fast, as asked for. cost: of the narrowest one, in words."""

    def __init__(self, cost: str):
        cure = "ask for more, or lower min-channels or round-to"
        super().__init__(f"out of reach, the narrowest network {cost}; {cure}")


@dataclass(frozen=True)
class Rules:
    """Constraints at any sparsity.

    scope: "layer" removes the same share of each group, "global" the channels of the lowest scores of all groups.
    kept_groups: groups of which no channel is removed. round_to: widths are multiples of it, min_channels: the least
    number of channels of a group; both where the group has as many.
    """

    scope: str = "layer"
    kept_groups: Collection[str] = ("remove_artifacts",)
    round_to: int = 1
    min_channels: int = 1

    def __post_init__(self):
        if self.scope not in ("layer", "global"):
            raise UserError(f"scope {self.scope!r}: unknown; expected 'layer' or 'global'")


DEFAULT_RULES = Rules()


def choose_share(scores: Scores, sparsity: float, rules: Rules) -> Kept:
    """The channels to keep when this share is removed: of each group, or of the channels of all groups together."""
    counts: Mapping[str, float]
    if rules.scope == "layer":
        counts = {group: len(values) * (1 - sparsity) for group, values in scores.items()}
    else:
        counts = _global_counts(scores, sparsity, rules)
    return choose_plan(scores, {group: _width(scores, group, count, rules) for group, count in counts.items()})


def choose_within(scores: Scores, cost: Cost, budget: float, rules: Rules) -> Kept:
    """The channels to keep when the smallest share is removed that brings the cost to the budget or below.

    The share is found by bisection. Raises `OutOfReach` if the narrowest network costs more.
    """
    low, high = 0.0, 1.0
    best = choose_share(scores, high, rules)
    if (least := cost(plan_of_kept(best))) > budget:
        raise OutOfReach(f"costs {least:.4g} of the same unit")
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        kept = choose_share(scores, middle, rules)
        if cost(plan_of_kept(kept)) <= budget:
            best, high = kept, middle
        else:
            low = middle
    return best


def choose_plan(scores: Scores, plan: Mapping[str, int]) -> Kept:
    """The channels of the highest scores, as many as the plan has. Raises `UserError` for a group that has fewer."""
    for group, values in scores.items():
        if plan[group] > len(values):
            raise UserError(f"channel plan: {group} keeps {plan[group]} channels, the network has {len(values)} there")
    return {group: values.topk(plan[group]).indices.sort().values for group, values in scores.items()}


def plan_of_kept(kept: Mapping[str, torch.Tensor]) -> dict[str, int]:
    """The channel plan of the network that keeps these channels."""
    return {group: len(channels) for group, channels in kept.items()}


def _global_counts(scores: Scores, sparsity: float, rules: Rules) -> dict[str, int]:
    """The channels of each group that are kept when all groups are ranked together; at least a share of FLOOR."""
    ranked = {}
    for group, values in scores.items():
        safe = len(values) if group in rules.kept_groups else max(rules.min_channels, round(len(values) * FLOOR))
        ranked[group] = values.double().sort(descending=True).values.clone()
        ranked[group][:safe] = torch.inf
    pool = torch.cat(list(ranked.values())).sort().values
    free = int(pool.isfinite().sum())
    removable = sum(len(values) for group, values in scores.items() if group not in rules.kept_groups)
    removed = min(round(removable * sparsity), free)
    if not removed:
        return {group: len(values) for group, values in scores.items()}
    return {group: int((values > pool[removed - 1]).sum()) for group, values in ranked.items()}


def _width(scores: Scores, group: str, count: float, rules: Rules) -> int:
    width = len(scores[group])
    if group in rules.kept_groups:
        return width
    least = math.ceil(max(rules.min_channels, 1) / rules.round_to)
    return min(width, max(round(count / rules.round_to), least) * rules.round_to)
