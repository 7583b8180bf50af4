"""The search of --target-latency, with a clock that counts."""

import pytest

from model import FOTSModel
from model_pruned import FOTSModelPruned
from utils.network.channels import uniform_plan
from utils.network.cost import PlanCosts
from utils.pruning.criteria import score_channels
from utils.pruning.importance import Evidence
from utils.pruning.latency import TRIES, Clocks, choose_by_latency
from utils.pruning.selection import OutOfReach, Rules, plan_of_kept


class CountingClock:
    """Counts MACs and a time that no width changes; the whole network takes 100. The estimate counts parameters."""

    def __init__(self, overhead: float):
        self.model = FOTSModelPruned(uniform_plan(0.25))
        self.costs, self.overhead = PlanCosts(FOTSModel(), 64, 64), overhead
        self.measured: list[dict[str, int]] = []

    def time(self, plan) -> float:
        return 100 * (self.overhead + (1 - self.overhead) * self.costs.macs(plan) / self.costs.macs(self.model.plan))

    def measure(self, plan) -> float:
        self.measured.append(plan)
        return self.time(plan)

    def search(self, target: float, rules: Rules) -> dict[str, int]:
        clocks = Clocks(self.costs.parameters, self.measure)
        scores = score_channels(Evidence(self.model), "l1")
        return plan_of_kept(choose_by_latency(scores, rules, clocks, lambda _widest: target))


@pytest.mark.parametrize(
    ("overhead", "target", "round_to"), [(0, 20, 1), (0.3, 33, 1), (0.5, 52, 1), (0.5, 95, 1), (0.3, 60, 8)]
)
def test_a_target_in_milliseconds_is_met(overhead, target, round_to):
    clock = CountingClock(overhead)
    plan = clock.search(target, Rules(kept_groups=(), round_to=round_to))
    assert (0.9 if round_to == 1 else 0.6) * target < clock.time(plan) <= target
    assert plan in clock.measured
    assert len(clock.measured) <= 2 + TRIES


def test_a_network_that_is_fast_enough_keeps_its_channels():
    clock = CountingClock(0.3)
    assert clock.search(101, Rules(kept_groups=())) == clock.model.plan
    assert len(clock.measured) == 2


def test_a_time_below_the_narrowest_networks_is_out_of_reach():
    with pytest.raises(OutOfReach, match=r"out of reach, the narrowest network takes 30"):
        CountingClock(0.3).search(29, Rules(kept_groups=()))


def test_the_budget_is_asked_for_with_the_widest_networks_time():
    clock = CountingClock(0)
    scores = score_channels(Evidence(clock.model), "l1")
    kept = choose_by_latency(scores, Rules(), Clocks(clock.costs.macs, clock.measure), lambda widest: widest / 2)
    assert 45 < clock.time(plan_of_kept(kept)) <= 50
