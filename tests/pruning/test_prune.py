"""Pruned = masked: the smaller network's outputs are the original's with those channels zeroed."""

import pytest
import torch
from torch import fx

from model_pruned import FOTSModelPruned
from utils.network.channels import (
    HEADS,
    LAYERS,
    ORIGINAL_PLAN,
    all_channels,
    describe_groups,
    input_slices,
    plan_of,
    select_channels,
    uniform_plan,
)
from utils.pruning.compensation import compensate
from utils.pruning.criteria import CRITERIA, score_channels
from utils.pruning.importance import Evidence
from utils.pruning.layer_inputs import InputMoments, estimate_inputs, norm_gains
from utils.pruning.masked import varying_channels
from utils.pruning.selection import Rules, choose_share


def trained(plan) -> FOTSModelPruned:
    """A network in float64 with BatchNorms as training leaves them."""
    torch.manual_seed(0)
    model = FOTSModelPruned(plan).double()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, 0, 0.3)
            torch.nn.init.normal_(module.get_buffer("running_mean"), 0, 0.3)
            torch.nn.init.uniform_(module.get_buffer("running_var"), 0.5, 2)
    return model.eval()


@pytest.fixture(scope="module")
def model() -> FOTSModelPruned:
    """A quarter of the original's widths."""
    return trained(uniform_plan(0.25))


@pytest.fixture(scope="module")
def narrow() -> FOTSModelPruned:
    return trained(uniform_plan(1 / 16, keep=()))


def images(height=64, width=64) -> torch.Tensor:
    return torch.randn(1, 3, height, width, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


@torch.no_grad()
def masked_outputs(model, kept, pixels) -> list[torch.Tensor]:
    """The outputs of the whole network with the other channels set to zero after each BatchNorm."""
    hooks = []
    for layer in LAYERS:
        if layer.writes:
            mask = torch.zeros(model.plan[layer.writes], 1, 1, dtype=pixels.dtype)
            mask[kept[layer.writes]] = 1
            norm = model.get_submodule(layer.norm)
            hooks.append(norm.register_forward_hook(lambda _m, _i, output, mask=mask: output * mask))
    outputs = model(pixels)
    for hook in hooks:
        hook.remove()
    return outputs


def scores_of(model, criterion: str, state=None, inputs=None) -> dict[str, torch.Tensor]:
    """The scores by a criterion, if asked with other tensors or inputs than the model's own."""
    evidence = Evidence(model, seed=1)
    if state is not None:
        evidence.state = state
    if inputs is not None:
        evidence.inputs = inputs
    return CRITERIA[criterion].score(evidence)


def prune(state, kept) -> FOTSModelPruned:
    pruned = FOTSModelPruned({group: len(channels) for group, channels in kept.items()}).double().eval()
    pruned.load_state_dict(select_channels(state, kept))
    return pruned


def assert_equal(ours, expected, tolerance=1e-9) -> None:
    for values, others in zip(ours, expected, strict=True):
        assert torch.allclose(values, others, atol=tolerance)


def random_channels(plan, generator):
    kept = {}
    for group, width in plan.items():
        count = int(torch.randint(1, width + 1, (), generator=generator))
        kept[group] = torch.randperm(width, generator=generator)[:count].sort().values
    return kept


class Table(fx.Tracer):
    """The network down to its convolutions and BatchNorms."""

    def is_leaf_module(self, module, name) -> bool:
        return isinstance(module, torch.nn.Conv2d | torch.nn.BatchNorm2d | torch.nn.ReLU)


class Streams:
    """Sets of channels that the graph adds to each other."""

    def __init__(self):
        self.leader = {}

    def find(self, channels: str) -> str:
        while self.leader.get(channels, channels) != channels:
            channels = self.leader[channels]
        return channels

    def join(self, one: str, other: str) -> None:
        self.leader[self.find(other)] = self.find(one)


def read_graph(model) -> tuple[dict[str, list[str]], dict[str, str], Streams]:
    """By convolution: what it reads, in order, as the convolutions that write it; its BatchNorm. The streams."""
    layout: dict[fx.Node, list[str]] = {}
    reads, norms, streams = {}, {}, Streams()
    for node in Table().trace(model).nodes:
        inputs = [layout[argument] for argument in node.all_input_nodes if argument in layout]
        module = model.get_submodule(node.target) if node.op == "call_module" else None
        layout[node] = inputs[0] if inputs else []
        if isinstance(module, torch.nn.Conv2d):
            reads[node.target], layout[node] = inputs[0], [node.target]
        elif isinstance(module, torch.nn.BatchNorm2d):
            norms[inputs[0][0]] = node.target
        elif node.op == "call_function" and node.target is torch.cat:
            layout[node] = [channels for argument in node.args[0] for channels in layout[argument]]
        elif len(inputs) == 2 and "add" in str(node.target):
            streams.join(inputs[0][0], inputs[1][0])
    return reads, norms, streams


def test_the_layer_table_equals_the_graph():
    """The writers and readers of each group, and its position in a concatenation, from the network's own graph."""
    reads, norms, streams = read_graph(FOTSModelPruned(uniform_plan(0.1, keep=())))
    groups = {streams.find(layer.conv): layer.writes for layer in LAYERS if layer.writes}
    assert sorted(groups.values()) == sorted(ORIGINAL_PLAN)
    assert set(reads) == {layer.conv for layer in LAYERS}
    for layer in LAYERS:
        assert tuple(groups[streams.find(channels)] for channels in reads[layer.conv]) == layer.reads
        assert groups.get(streams.find(layer.conv)) == layer.writes
        assert norms.get(layer.conv) == layer.norm
    assert {layer.conv for layer in LAYERS if not layer.writes} == {f"{head}.0" for head in HEADS}


def test_each_group_alone_pruned_equals_masked(narrow):
    for group, width in narrow.plan.items():
        kept = {other: torch.arange(channels) for other, channels in narrow.plan.items()}
        kept[group] = torch.arange(1, width, 2)
        assert_equal(prune(narrow.state_dict(), kept)(images()), masked_outputs(narrow, kept, images()))


def test_random_plans_pruned_equal_masked(narrow):
    generator = torch.Generator().manual_seed(0)
    for _ in range(100):
        kept = random_channels(narrow.plan, generator)
        with torch.no_grad():
            assert_equal(prune(narrow.state_dict(), kept)(images(32)), masked_outputs(narrow, kept, images(32)))


@pytest.mark.parametrize("criterion", sorted(name for name in CRITERIA if not CRITERIA[name].needs_frames))
@pytest.mark.parametrize("scope", ["layer", "global"])
def test_every_criterion_keeps_as_many_channels_as_the_rules_say(model, criterion, scope):
    scores = score_channels(Evidence(model, seed=1), criterion)
    assert {group: len(values) for group, values in scores.items()} == model.plan
    kept = choose_share(scores, 0.5, Rules(scope, min_channels=2))
    assert len(kept["remove_artifacts"]) == 64
    assert min(map(len, kept.values())) >= 2
    left = sum(len(channels) for group, channels in kept.items() if group != "remove_artifacts")
    assert left == pytest.approx(0.5 * (sum(model.plan.values()) - 64), abs=len(kept))
    assert_equal(prune(model.state_dict(), kept)(images()), masked_outputs(model, kept, images()))


def test_channels_of_the_lowest_norm_are_removed(model):
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state["center.0.0.weight"][5] = 0
    state["center.0.0.weight"][9] *= 1e-3
    for criterion in ("l1", "l2"):
        kept = choose_share(scores_of(model, criterion, state), 2 / 128, Rules(kept_groups=()))
        assert sorted(set(range(128)) - set(kept["center.0"].tolist())) == [5, 9]
        assert len(kept["remove_artifacts"]) == 64 - 1


def test_with_fpgm_filters_that_others_can_replace_are_removed_first(model):
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    middle = state["center.0.0.weight"].mean(0)
    state["center.0.0.weight"][[3, 70]] = middle
    scores = scores_of(model, "fpgm", state)["center.0"]
    assert set(scores.topk(2, largest=False).indices.tolist()) == {3, 70}


def made_inputs(model) -> dict[str, InputMoments]:
    """Inputs of every layer with strongly correlated channels."""
    generator = torch.Generator().manual_seed(5)
    inputs = {}
    for layer in LAYERS:
        if layer.reads:
            width = sum(model.plan[group] for group in layer.reads)
            mixing = torch.randn(width, width, dtype=torch.float64, generator=generator)
            covariance = mixing @ mixing.T / width + 0.1 * torch.eye(width, dtype=torch.float64)
            inputs[layer.conv] = InputMoments(torch.zeros(width, dtype=torch.float64), covariance)
    return inputs


def lost_share(state, inputs, kept) -> float:
    """The error of the readers' outputs after `compensate`, in units of the variance of the groups that they write."""
    whole = plan_of(state)
    removed = {group: sorted(set(range(width)) - set(kept[group].tolist())) for group, width in whole.items()}
    changed, lost = compensate(state, kept, inputs), 0.0
    for layer in LAYERS:
        if not any(removed[group] for group in layer.reads):
            continue
        places = input_slices(layer, whole)
        gone = [place.start + channel for group, place in places.items() for channel in removed[group]]
        before = state[f"{layer.conv}.weight"].flatten(2) * norm_gains(state, layer).view(-1, 1, 1)
        after = changed[f"{layer.conv}.weight"].flatten(2) * norm_gains(state, layer).view(-1, 1, 1)
        after[:, gone] = 0
        covariance = inputs[layer.conv].covariance
        error, output = (torch.einsum("oct,cd,odt->", w, covariance, w) for w in (after - before, before))
        norms = [other.norm for other in LAYERS if layer.writes and other.writes == layer.writes]
        written = sum(state[f"{norm}.weight"].square().sum() for norm in norms) if norms else output
        lost += (error / written).item()
    return lost


@pytest.mark.parametrize("group", ["encoder2.1.conv1", "encoder2", "decoder2.squeeze", "remove_artifacts"])
def test_with_obs_each_channel_in_turn_is_the_one_that_costs_least(narrow, group):
    """Compared with least squares repeated for every candidate."""
    state, inputs = narrow.state_dict(), made_inputs(narrow)
    scores = scores_of(narrow, "obs", inputs=inputs)[group]
    kept = all_channels(narrow.plan)
    before = 0.0
    for channel in scores.argsort()[:-1].tolist():
        losses = {}
        for candidate in kept[group].tolist():
            left = kept[group][kept[group] != candidate]
            losses[candidate] = lost_share(state, inputs, kept | {group: left})
        assert losses[channel] == pytest.approx(min(losses.values()), rel=0.01)
        assert scores[channel] >= 0.98 * (losses[channel] - before)
        before = losses[channel]
        kept[group] = kept[group][kept[group] != channel]


def test_with_obs_a_multiple_of_another_channel_costs_nothing(narrow):
    inputs = made_inputs(narrow)
    mean, covariance = inputs["center.1.0"]
    twin = torch.eye(len(mean), dtype=torch.float64)
    twin[7] = 0
    twin[7, 3] = -2.0
    inputs["center.1.0"] = InputMoments(mean, twin @ covariance @ twin.T)
    scores = scores_of(narrow, "obs", inputs=inputs)["center.0"]
    assert scores.argmin().item() in (3, 7)
    assert scores.min() < 0.05 * scores.sort().values[1]


def test_with_obs_a_weak_branch_is_removed_first(narrow):
    """All groups ranked together: of the inner channels only the least number is kept."""
    inputs, rules = made_inputs(narrow), Rules("global")
    quiet = {name: tensor.clone() for name, tensor in narrow.state_dict().items()}
    quiet["encoder3.4.bn2.weight"] *= 1e-3
    dead = {name: tensor.clone() for name, tensor in narrow.state_dict().items()}
    for name in ("weight", "bias"):
        dead[f"encoder3.4.bn1.{name}"].zero_()
    mean, covariance = inputs["encoder3.4.conv2"]
    silent = inputs | {"encoder3.4.conv2": InputMoments(0 * mean, 0 * covariance)}
    constant = inputs | {"encoder3.4.conv2": InputMoments(mean + 1, 1e-8 * covariance)}
    for state, moments in ((quiet, inputs), (dead, silent), (dead, constant)):
        scores = scores_of(narrow, "obs", state, moments)
        assert all(values.isfinite().all() for values in scores.values())
        assert len(choose_share(scores, 0.3, rules)["encoder3.4.conv1"]) == max(1, round(0.1 * len(mean)))


def test_a_streams_score_is_of_all_convolutions_that_add_to_it(model):
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state["encoder3.4.conv2.weight"][7] *= 1000
    assert scores_of(model, "l2", state)["encoder3"].argmax() == 7


def test_widths_are_rounded(model):
    scores = scores_of(model, "l1")
    for scope in ("layer", "global"):
        kept = choose_share(scores, 0.6, Rules(scope, (), round_to=8, min_channels=9))
        for group, channels in kept.items():
            width = model.plan[group]
            assert len(channels) == width or (len(channels) % 8 == 0 and len(channels) >= min(16, width))


def test_an_original_becomes_pruned_as_planned():
    """The widths of the earlier code's pruned network come out of --sparsity 0.5."""
    state = {f"{layer.conv}.weight": torch.rand(ORIGINAL_PLAN.get(layer.writes, 1), 1, 1, 1) for layer in LAYERS}
    kept = choose_share(scores_of(torch.nn.Identity(), "l1", state), 0.5, Rules())
    assert {group: len(channels) for group, channels in kept.items()} == uniform_plan(0.5)
    assert plan_of(state) == ORIGINAL_PLAN


def test_groups_are_printed_with_their_positions():
    cells = [cell for row in describe_groups(ORIGINAL_PLAN) for cell in row]
    assert "decoder3.squeeze.0[512:1024]" in cells
    assert "encoder4.2.conv2" in cells


def silence(model, group, channels, shift) -> None:
    """Make the group's channels constant by setting their filters to zero, as masking tools do."""
    for layer in LAYERS:
        if layer.writes == group:
            model.get_submodule(layer.conv).weight.data[channels] = 0
            norm = model.get_submodule(layer.norm)
            norm.running_mean.data[channels] = 0
            if model.get_submodule(layer.conv).bias is not None:
                model.get_submodule(layer.conv).bias.data[channels] = 0
            norm.bias.data[channels] = shift


@torch.no_grad()
def test_masked_channels_that_are_zero_are_exported_exactly():
    model = trained(uniform_plan(1 / 16, keep=()))
    for group in model.plan:
        silence(model, group, torch.arange(0, model.plan[group], 2), -0.2)
    state, kept = varying_channels(model.state_dict())
    assert {group: len(channels) for group, channels in kept.items()} == {
        group: max(width // 2, 1) for group, width in model.plan.items()
    }
    pruned = prune(compensate(state, kept, estimate_inputs(state)), kept)
    assert_equal(pruned(images(96, 64)), model(images(96, 64)))


@torch.no_grad()
@pytest.mark.parametrize("group", ["remove_artifacts", "decoder1.squeeze", "encoder1.1.conv1", "encoder1"])
def test_constant_channels_are_folded_exactly_in_the_interior(group):
    """Compared before the layers whose outputs depend on the border."""
    model = trained(uniform_plan(1 / 16, keep=()))
    silence(model, group, torch.tensor([0, 2]), 0.7)
    state, kept = varying_channels(model.state_dict())
    assert kept[group].tolist() == [1, 3]

    def centre_of_maps(network) -> torch.Tensor:
        pixels, maps = images(320, 320), []
        name = "encoder2" if group.startswith("encoder") else "confidence"
        hook = network.get_submodule(name).register_forward_hook(lambda _m, _i, output: maps.append(output))
        network(pixels)
        hook.remove()
        middle = maps[0].shape[2] // 2
        return maps[0][:, :, middle - 1 : middle + 1, middle - 1 : middle + 1]

    expected = centre_of_maps(model)
    compensated = prune(compensate(state, kept, estimate_inputs(state)), kept)
    assert torch.allclose(centre_of_maps(compensated), expected, atol=1e-9)
    assert not torch.allclose(centre_of_maps(prune(state, kept)), expected, atol=1e-4)


@torch.no_grad()
def test_channels_that_are_not_constant_are_kept():
    model = trained(uniform_plan(1 / 16, keep=()))
    silence(model, "encoder2", torch.tensor([0]), 0)
    model.get_submodule("encoder2.2.conv2").weight.data[0, 0, 1, 1] = 1e-6
    _, kept = varying_channels(model.state_dict())
    assert {group: len(channels) for group, channels in kept.items()} == model.plan


@torch.no_grad()
def test_least_squares_is_exact_for_linear_combinations(narrow):
    """A removed channel that is a linear combination of kept ones costs nothing."""
    state = {name: tensor.clone() for name, tensor in narrow.state_dict().items()}
    kept = all_channels(narrow.plan)
    kept["remove_artifacts"] = torch.tensor([0, 1])
    mixing = torch.tensor([[0.5, -1.0], [2.0, 0.3]], dtype=torch.float64)
    few = torch.randn(2, 5000, dtype=torch.float64)
    values = torch.cat([few, mixing @ few + 4])
    moments = InputMoments(values.mean(1), torch.cov(values))
    inputs = estimate_inputs(state) | {f"{head}.0": moments for head in HEADS}
    changed = select_channels(compensate(state, kept, inputs), kept)
    for head in HEADS:
        before = state[f"{head}.0.weight"][:, :, 0, 0] @ values + state[f"{head}.0.bias"][:, None]
        after = changed[f"{head}.0.weight"][:, :, 0, 0] @ few + changed[f"{head}.0.bias"][:, None]
        assert torch.allclose(before, after, atol=0.02)
        assert torch.nn.functional.mse_loss(after, before) < 1e-3 * before.var()


@torch.no_grad()
def test_means_are_known_from_batch_norms_alone(model):
    """On normal inputs, as the estimate assumes: BatchNorm's shift and scale of noise, then ReLU."""
    state = model.state_dict()
    estimate = estimate_inputs(state)["center.1.0"].mean
    shift, scale = state["center.0.1.bias"], state["center.0.1.weight"]
    draws = torch.relu(shift + scale * torch.randn(200_000, len(shift), dtype=torch.float64))
    assert torch.allclose(estimate, draws.mean(0), atol=0.02)
