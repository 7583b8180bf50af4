"""From scores to the channels that stay: by share, by cost, or by a plan."""

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import torch

from utils.errors import UserError
from utils.pruning.importance import Scores

Kept = dict[str, torch.Tensor]
"""Sorted indices of the channels that stay, by channel group."""

FLOOR = 0.1
"""Share of each group that stays when channels of all groups are ranked together."""

_BISECTIONS = 24


@dataclass(frozen=True)
class Rules:
    """What holds whatever the share of channels removed.

    scope: "layer", the same share of each group; "global", the least scores of all groups. whole: groups that
    stay as they are. round_to: widths are multiples of it, where the group has as many. least: channels that each
    group keeps at least, where it has as many.
    """

    scope: str = "layer"
    whole: Collection[str] = ()
    round_to: int = 1
    least: int = 1


def choose_share(scores: Scores, sparsity: float, rules: Rules) -> Kept:
    """Remove this share of the channels: of each group, or of all those that may go."""
    if rules.scope == "layer":
        counts = {group: len(values) * (1 - sparsity) for group, values in scores.items()}
    else:
        counts = _global_counts(scores, sparsity, rules)
    return choose_plan(scores, {group: _width(scores, group, count, rules) for group, count in counts.items()})


def choose_within(
    scores: Scores, cost: Callable[[Mapping[str, int]], float], target: float, rules: Rules, what: str
) -> Kept:
    """The least share removed, by bisection, that brings cost(channel plan) to the target or below.

    Raises `UserError` if nothing does. what: the option and its value, for the message.
    """
    low, high = 0.0, 1.0
    best = choose_share(scores, high, rules)
    if (least := cost(plan_of_kept(best))) > target:
        raise UserError(f"{what}: out of reach, the narrowest network costs {least:.4g} of the same unit; "
                        "give more, or a lower --min-channels or --round-to")  # fmt: skip
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        kept = choose_share(scores, middle, rules)
        if cost(plan_of_kept(kept)) <= target:
            best, high = kept, middle
        else:
            low = middle
    return best


def choose_plan(scores: Scores, plan: Mapping[str, int]) -> Kept:
    """The best channels in the plan's numbers. Raises `UserError` for a group that has fewer."""
    for group, values in scores.items():
        if plan[group] > len(values):
            raise UserError(f"channel plan: {group} keeps {plan[group]} channels, the network has {len(values)} there")
    return {group: values.topk(plan[group]).indices.sort().values for group, values in scores.items()}


def plan_of_kept(kept: Kept) -> dict[str, int]:
    """How many channels of each group stay."""
    return {group: len(channels) for group, channels in kept.items()}


def _global_counts(scores: Scores, sparsity: float, rules: Rules) -> dict[str, int]:
    """How many channels of each group are not among the least of all; the best FLOOR of each group are."""
    ranked = {}
    for group, values in scores.items():
        safe = len(values) if group in rules.whole else max(rules.least, round(len(values) * FLOOR))
        ranked[group] = values.double().sort(descending=True).values.clone()
        ranked[group][:safe] = torch.inf
    pool = torch.cat(list(ranked.values())).sort().values
    free = int(pool.isfinite().sum())
    removable = sum(len(values) for group, values in scores.items() if group not in rules.whole)
    removed = min(round(removable * sparsity), free)
    if not removed:
        return {group: len(values) for group, values in scores.items()}
    return {group: int((values > pool[removed - 1]).sum()) for group, values in ranked.items()}


def _width(scores: Scores, group: str, count: float, rules: Rules) -> int:
    width = len(scores[group])
    if group in rules.whole:
        return width
    least = math.ceil(max(rules.least, 1) / rules.round_to)
    return min(width, max(round(count / rules.round_to), least) * rules.round_to)
