"""Pruning from Python: `utils.pruning.prune_network`, targets, a criterion of one's own, recalibration."""

import pytest
import torch

from datasets import EpochSampler, SampleDataset, make_loader
from loss import Criterion
from model import FOTSModel
from model_pruned import FOTSModelPruned
from utils.data.augmentation import TrainTransform
from utils.data.loading import Batch
from utils.errors import UserError
from utils.network.channels import LAYERS, ORIGINAL_PLAN, uniform_plan
from utils.network.cost import PlanCosts
from utils.pruning import (
    CRITERIA,
    Evidence,
    LatencyTarget,
    MacsTarget,
    Method,
    OutOfReach,
    ParametersTarget,
    PlanTarget,
    Rules,
    Sparsity,
    build_pruning,
    criterion,
    prune,
    prune_network,
    recalibrate_if_better,
    remove_masked_channels,
)
from utils.pruning.recalibration import mean_loss


@pytest.fixture
def model(small_plan) -> FOTSModelPruned:
    torch.manual_seed(0)
    return FOTSModelPruned(small_plan).eval()


@pytest.fixture(scope="module")
def batches(rendered) -> list[Batch]:
    dataset = SampleDataset(rendered / "frames", transform=TrainTransform(short_side=96, crop=96))
    return list(make_loader(dataset, EpochSampler(dataset), 3, 0))


def images() -> torch.Tensor:
    return torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", sorted(CRITERIA))
def test_a_network_is_pruned_and_left_as_it_is(model, batches, name, training):
    model.train(training).requires_grad_(training)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    random_state = torch.get_rng_state()
    pruned = prune_network(model, 0.5, name, batches, loss=Criterion())
    assert torch.equal(torch.get_rng_state(), random_state)
    assert pruned is not model
    assert not pruned.training
    assert pruned.plan == {
        group: width if group == "remove_artifacts" else width // 2 for group, width in model.plan.items()
    }
    assert pruned.origin.within(model.origin)["encoder1"].tolist() == pruned.origin.kept["encoder1"].tolist()
    assert pruned(images()).confidence.shape == (1, 1, 16, 24)
    assert model.training == training
    assert all(parameter.requires_grad == training for parameter in model.parameters())
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_the_original_is_pruned_without_data():
    """The defaults remove half of the channels; what is kept comes from the original."""
    torch.manual_seed(0)
    original = FOTSModel()
    pruned = prune_network(original)
    assert pruned.plan == uniform_plan(0.5)
    assert pruned.pruned
    kept = pruned.origin.kept
    assert torch.equal(pruned.conv1[0].weight, original.conv1[0].weight[kept["encoder1"]])
    again = prune_network(pruned, sparsity=0.25)
    assert again.origin.within(pruned.origin)["encoder4"].shape == (192,)


def test_repeated_prunings_are_equal(model, batches):
    first, second = (prune_network(model, 0.5, "taylor", batches, loss=Criterion()) for _ in range(2))
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(first.parameters(), second.parameters(), strict=True))


def test_targets_and_rules(model):
    costs = PlanCosts(FOTSModel(), 64, 64)
    rules = Rules("global", kept_groups=())
    narrow = prune_network(model, target=MacsTarget(0.0015, size=(64, 64)), rules=rules)
    assert 0.0012 < costs.macs(narrow.plan) / costs.macs(ORIGINAL_PLAN) <= 0.0015
    small = prune_network(model, target=ParametersTarget(0.0015), rules=rules)
    assert 0.0012 < costs.parameters(small.plan) / costs.parameters(ORIGINAL_PLAN) <= 0.0015
    plan = model.plan | {"encoder2": 3}
    assert prune_network(model, target=PlanTarget(plan)).plan == plan
    lines: list[str] = []
    fast_enough = LatencyTarget(1e6, size=(64, 64), threads=1, report=lines.append)
    threads = torch.get_num_threads()
    assert prune_network(model, target=fast_enough).plan == model.plan
    assert torch.get_num_threads() == threads
    assert len(lines) == 3
    rounded = prune_network(model, 0.75, rules=Rules(round_to=4, min_channels=6))
    assert {rounded.plan["encoder4"], rounded.plan["encoder1"]} == {8, 4}


def test_steps_reach_the_target_together(model):
    for target in (Sparsity(0.75), ParametersTarget(0.001)):
        network = model
        for step in (1, 2):
            method = Method(rules=Rules(kept_groups=()))
            network = prune(Evidence(network), target.at_step(step, 2), method).network
            if isinstance(target, Sparsity):
                assert network.plan["encoder4"] == 32 // 2**step
    assert PlanCosts(FOTSModel(), 64, 64).parameters(network.plan) <= 0.001 * 36_259_526


def test_masked_channels_are_removed(model):
    with torch.no_grad():
        model.center[0][0].weight[::2] = 0
        model.center[0][0].bias[::2] = 0
    pruning = remove_masked_channels(model)
    assert pruning.network.plan == model.plan | {"center.0": model.plan["center.0"] // 2}
    assert pruning.kept["center.0"].tolist() == list(range(1, model.plan["center.0"], 2))


@pytest.mark.parametrize("replacement", ["zero", "mean", "linear"])
def test_replacements_change_the_layers_that_read_removed_channels(model, batches, replacement):
    """Zero changes nothing, means change biases, linear combinations change weights, too."""
    pruning = prune(Evidence(model, batches), Sparsity(0.25), Method(replacement=replacement))
    kept, ours, theirs = pruning.kept, pruning.network.center[1][0], model.center[1][0]
    weight = theirs.weight[kept["center.1"]][:, kept["center.0"]]
    assert torch.equal(ours.weight, weight) == (replacement != "linear")
    assert torch.equal(ours.bias, theirs.bias[kept["center.1"]]) == (replacement == "zero")
    again = build_pruning(Evidence(model, batches), kept, replacement).network
    assert all(torch.equal(*pair) for pair in zip(pruning.network.parameters(), again.parameters(), strict=True))


def test_a_criterion_is_one_registered_function(model, batches):
    """As described in utils.pruning.criteria: its name works wherever a criterion is named."""

    @criterion("last", "channels at the end", needs_frames=True)
    def score_position(evidence: Evidence):
        assert len(evidence.batches) == len(batches)
        return {group: torch.arange(width).float() for group, width in evidence.model.plan.items()}

    try:
        pruned = prune_network(model, 0.5, "last", batches)
        half = model.plan["encoder3"] // 2
        assert pruned.origin.kept["encoder3"].tolist() == list(range(half, 2 * half))
        with pytest.raises(UserError, match=r"'last'.*training frames"):
            prune_network(model, 0.5, "last")
        with pytest.raises(ValueError, match="'last' is registered already"):
            criterion("last", "")(score_position)
    finally:
        del CRITERIA["last"]


def test_criteria_are_found_in_their_folder():
    assert {"l1", "l2", "bn", "taylor", "obs", "fpgm", "random"} <= set(CRITERIA)
    assert sorted(name for name, entry in CRITERIA.items() if entry.needs_frames) == ["obs", "taylor"]
    assert all(entry.summary for entry in CRITERIA.values())


def test_batch_norm_statistics_are_reestimated_where_that_helps(model, batches):
    for layer in LAYERS:
        if layer.norm:
            model.get_submodule(layer.norm).running_var.fill_(1e4)
    spoiled = mean_loss(model, batches, Criterion())
    result = recalibrate_if_better(model, batches, Criterion())
    assert result == (spoiled, mean_loss(model, batches, Criterion()))
    assert result.accepted
    assert result.after < spoiled
    model.confidence[0].bias.data += 1  # another network with the same statistics
    before = {name: value.clone() for name, value in model.state_dict().items()}
    recalibrate_if_better(model, batches, Criterion())
    assert all(torch.allclose(value, before[name], atol=1e-5) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("options", "error", "parts"),
    [
        ({"criterion": "l3"}, UserError, "'l3'.*l1"),
        ({"criterion": "taylor"}, UserError, "'taylor'.*training frames"),
        ({"sparsity": 1.5}, UserError, "sparsity 1.5"),
        ({"replacement": "linear"}, UserError, "'linear'.*training frames"),
        ({"replacement": "median"}, UserError, "'median'.*mean"),
        ({"target": MacsTarget(1e-6)}, OutOfReach, "out of reach"),
        ({"scope": "global"}, TypeError, "scope"),
    ],
)
def test_impossible_requests_are_refused(model, options, error, parts):
    with pytest.raises(error, match=parts):
        prune_network(model, **options)


def test_taylor_without_a_loss_is_refused(model, batches):
    with pytest.raises(UserError, match=r"'taylor'.*loss"):
        prune_network(model, 0.5, "taylor", batches)
