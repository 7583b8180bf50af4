"""Targets: how much of a network is removed.

A target chooses the channels to keep from their scores. `at_step` is the target of one of several prunings that
together reach it, each keeping the same share.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import torch

from utils.errors import UserError
from utils.network.base import TextNetwork
from utils.network.channels import ORIGINAL_PLAN
from utils.network.cost import PlanCosts, limit_threads, milliseconds_per_frame
from utils.network.layer_times import LayerTimes
from utils.pruning.importance import Scores
from utils.pruning.latency import Clocks, choose_by_latency
from utils.pruning.selection import Cost, Kept, Rules, choose_plan, choose_share, choose_within

SIZE = (288, 512)
"""Height and width of the input that MACs and times are counted for."""


class PruningTarget(Protocol):
    """The interface of the targets below."""

    def choose(self, model: TextNetwork, scores: Scores, rules: Rules) -> Kept:
        """The channels of the model to keep. Raises `OutOfReach` if no network within the rules is small enough."""

    def at_step(self, step: int, steps: int) -> "PruningTarget":
        """The target of pruning number `step`, from 1, of `steps`."""


@dataclass(frozen=True)
class Sparsity:
    """Removes a share of the present channels."""

    share: float
    steps: int = 1

    def __post_init__(self):
        if not 0 <= self.share <= 1:
            raise UserError(f"sparsity {self.share}: expected a share from 0 to 1")

    def choose(self, model: TextNetwork, scores: Scores, rules: Rules) -> Kept:
        """See `PruningTarget`."""
        return choose_share(scores, 1 - (1 - self.share) ** (1 / self.steps), rules)

    def at_step(self, step: int, steps: int) -> "Sparsity":
        """The same share in each step."""
        return replace(self, steps=steps)


@dataclass(frozen=True, kw_only=True)
class _RemainingSteps:
    """A target that depends on the present network and on the number of prunings that are left, this one included."""

    left: int = 1

    def at_step(self, step: int, steps: int):
        """The same target with `steps` - `step` + 1 prunings left."""
        return replace(self, left=steps - step + 1)

    def budget(self, present: float, final: float) -> float:
        """What this pruning keeps of a present cost when all that are left reach the final one."""
        return present * (final / present) ** (1 / self.left)


@dataclass(frozen=True)
class MacsTarget(_RemainingSteps):
    """Keeps at most a share of the *original* network's MACs. size: height and width of the input."""

    share: float
    size: tuple[int, int] = SIZE

    def choose(self, model: TextNetwork, scores: Scores, rules: Rules) -> Kept:
        """See `PruningTarget`."""
        cost = PlanCosts(model, *self.size).macs
        return choose_within(scores, cost, self.budget(cost(model.plan), self.share * cost(ORIGINAL_PLAN)), rules)


@dataclass(frozen=True)
class ParametersTarget(_RemainingSteps):
    """Keeps at most a share of the *original* network's parameters."""

    share: float

    def choose(self, model: TextNetwork, scores: Scores, rules: Rules) -> Kept:
        """See `PruningTarget`."""
        cost = PlanCosts(model, *SIZE).parameters
        return choose_within(scores, cost, self.budget(cost(model.plan), self.share * cost(ORIGINAL_PLAN)), rules)


@dataclass(frozen=True)
class LatencyTarget(_RemainingSteps):
    """Takes at most some milliseconds for one image on this machine's CPU, measured.

    size: height and width of the input. threads: None for as many as PyTorch uses. report: is called with a line of
    text for each measurement. clock: measures a network's milliseconds at this size, such as
    `utils.deploy.exported_latency.ExportedClock`; None: as PyTorch runs it.
    """

    milliseconds: float
    size: tuple[int, int] = SIZE
    threads: int | None = None
    report: Callable[[str], object] | None = None
    clock: Callable[[TextNetwork], float] | None = None

    def choose(self, model: TextNetwork, scores: Scores, rules: Rules) -> Kept:
        """See `PruningTarget`."""

        def measure(plan: Mapping[str, int]) -> float:
            network = model.with_plan(plan).eval()
            milliseconds = self.clock(network) if self.clock else milliseconds_per_frame(network, *self.size)
            self._report(f"  {sum(plan.values()):,} channels: {milliseconds:.1f} ms")
            return milliseconds

        with limit_threads(self.threads):
            if self.clock:
                self._report(f"measuring with {self.clock}")
                estimate: Cost = PlanCosts(model, *self.size).macs
            else:
                self._report(f"measuring the layers, {torch.get_num_threads()} threads")
                estimate = LayerTimes(model, *self.size).milliseconds
            clocks = Clocks(estimate, measure)
            return choose_by_latency(scores, rules, clocks, lambda widest: self.budget(widest, self.milliseconds))

    def _report(self, line: str) -> None:
        if self.report:
            self.report(line)


@dataclass(frozen=True)
class PlanTarget:
    """Keeps as many channels of each group as a channel plan has."""

    plan: Mapping[str, int]

    def choose(self, model: TextNetwork, scores: Scores, rules: Rules) -> Kept:
        """See `PruningTarget`; the rules do not apply. Raises `UserError` for a plan that is wider than the model."""
        return choose_plan(scores, self.plan)

    def at_step(self, step: int, steps: int) -> "PlanTarget":
        """The same plan in each step."""
        return self
