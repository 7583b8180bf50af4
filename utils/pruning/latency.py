"""The search for the widest network that takes no longer than asked for."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from utils.pruning.importance import Scores
from utils.pruning.selection import Cost, Kept, OutOfReach, Rules, choose_share, choose_within, plan_of_kept

TRIES = 6
"""The most networks between the narrowest and the widest that are measured."""

CLOSE = 0.93
"""Share of the allowed time at which a network is close enough to it."""


@dataclass(frozen=True)
class Clocks:
    """Two functions from a channel plan to a time: a fast estimate, in any unit, and a slow measurement."""

    estimate: Cost
    measure: Cost


class _Trial(NamedTuple):
    kept: Kept
    estimated: float
    measured: float


def choose_by_latency(scores: Scores, rules: Rules, clocks: Clocks, budget: Callable[[float], float]) -> Kept:
    """The channels to keep so that the measured time is within a budget, and close to it.

    The narrowest and the widest network are measured first, then networks between one that is fast enough and one that
    is not: the time between them is interpolated by the estimate. budget: from the time of the widest network to the
    time allowed, in the unit of `clocks.measure`. Raises `OutOfReach` if the narrowest network takes longer.
    """

    def measure(kept: Kept) -> _Trial:
        plan = plan_of_kept(kept)
        return _Trial(kept, clocks.estimate(plan), clocks.measure(plan))

    narrow, wide = (measure(choose_share(scores, share, rules)) for share in (1.0, 0.0))
    allowed = budget(wide.measured)
    if narrow.measured > allowed:
        raise OutOfReach(f"takes {narrow.measured:.3g} ms")
    if wide.measured <= allowed:
        return wide.kept
    for _ in range(TRIES):
        fraction = ((1 + CLOSE) / 2 * allowed - narrow.measured) / (wide.measured - narrow.measured)
        estimated = narrow.estimated + min(max(fraction, 0.05), 0.95) * (wide.estimated - narrow.estimated)
        kept = choose_within(scores, clocks.estimate, estimated, rules)
        if plan_of_kept(kept) in (plan_of_kept(narrow.kept), plan_of_kept(wide.kept)):
            break
        trial = measure(kept)
        narrow, wide = (trial, wide) if trial.measured <= allowed else (narrow, trial)
        if narrow.measured >= CLOSE * allowed:
            break
    return narrow.kept
