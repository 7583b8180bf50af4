"""Pruned = masked: the smaller network's outputs are the original's with those channels zeroed."""

import json

import pytest
import torch

from model_pruned import FOTSModelPruned
from prune import shrink
from utils.channels import LAYERS, ORIGINAL_PLAN, plan_of, select_channels, uniform_plan
from utils.checkpoint import load_model, save_checkpoint
from utils.compensation import compensate, estimate_inputs
from utils.cost import PlanCosts
from utils.importance import CRITERIA, score_weights
from utils.maps import normalise
from utils.selection import Rules, choose_share


@pytest.fixture(scope="module")
def model() -> FOTSModelPruned:
    """A quarter of the original's widths, with BatchNorms as training leaves them, in float64."""
    torch.manual_seed(0)
    model = FOTSModelPruned(uniform_plan(0.25)).double()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, 0, 0.3)
            torch.nn.init.normal_(module.running_mean, 0, 0.3)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
    return model.eval()


def masked_outputs(model, kept, images) -> list[torch.Tensor]:
    """The whole network with the other channels set to zero behind each BatchNorm."""
    modules, hooks = dict(model.named_modules()), []
    for layer in LAYERS:
        if layer.writes:
            mask = torch.zeros(modules[layer.conv].out_channels, 1, 1, dtype=images.dtype)
            mask[kept[layer.writes]] = 1
            hooks.append(modules[layer.norm].register_forward_hook(lambda _m, _i, output, mask=mask: output * mask))
    with torch.no_grad():
        outputs = model(images)
    for hook in hooks:
        hook.remove()
    return outputs


def pruned_outputs(model, kept, images):
    pruned = FOTSModelPruned({group: len(channels) for group, channels in kept.items()}).double().eval()
    pruned.load_state_dict(select_channels(model.state_dict(), kept))
    with torch.no_grad():
        return pruned(images)


@pytest.mark.parametrize("sparsity", [0.25, 0.5, 0.9])
@pytest.mark.parametrize("whole", [(), ("remove_artifacts",)])
def test_l1_pruned_equals_masked(model, sparsity, whole):
    kept = choose_share(score_weights(model.state_dict(), "l1"), sparsity, Rules(whole=whole))
    images = torch.randn(2, 3, 96, 64, dtype=torch.float64)
    for ours, expected in zip(pruned_outputs(model, kept, images), masked_outputs(model, kept, images), strict=True):
        assert torch.allclose(ours, expected, atol=1e-9)
        assert expected.std() > 0


@pytest.mark.parametrize("seed", range(100))
def test_any_choice_of_channels_equals_masked(model, seed):
    generator = torch.Generator().manual_seed(seed)
    kept = {}
    for group, width in model.plan.items():
        count = int(torch.randint(1, width + 1, (), generator=generator))
        kept[group] = torch.randperm(width, generator=generator)[:count].sort().values
    images = torch.randn(1, 3, 64, 64, dtype=torch.float64, generator=generator)
    for ours, expected in zip(pruned_outputs(model, kept, images), masked_outputs(model, kept, images), strict=True):
        assert torch.allclose(ours, expected, atol=1e-9)


def test_channels_of_least_l1_norm_go(model):
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state["center.0.0.weight"][5] = 0
    state["center.0.0.weight"][9] *= 1e-3
    kept = choose_share(score_weights(state, "l1"), 2 / 128, Rules())
    assert sorted(set(range(128)) - set(kept["center.0"].tolist())) == [5, 9]
    assert len(kept["remove_artifacts"]) == 64 - 1


@pytest.mark.parametrize("criterion", [name for name in CRITERIA if name != "taylor"])
@pytest.mark.parametrize("scope", ["layer", "global"])
def test_criteria_and_scopes(model, criterion, scope):
    rules = Rules(scope, ("remove_artifacts",), round_to=4, least=4)
    kept = choose_share(score_weights(model.state_dict(), criterion), 0.5, rules)
    widths = {group: len(channels) for group, channels in kept.items()}
    assert widths["remove_artifacts"] == 64
    assert all(width % 4 == 0 and width >= 4 for width in widths.values())
    left = sum(widths.values()) / sum(model.plan.values())
    assert 0.4 < left < 0.65


def test_constant_channels_are_folded(model):
    """Channels whose filters are zero give a constant; without them, the interior stays as it was."""
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    dead = {"center.0": [3, 7], "decoder3.squeeze": [0, 5], "encoder2.1.conv1": [1]}
    for group, channels in dead.items():
        layer = next(layer for layer in LAYERS if layer.writes == group)
        state[f"{layer.conv}.weight"][channels] = 0
        state[f"{layer.norm}.bias"][channels] = 4
    zeroed = FOTSModelPruned(model.plan).double().eval()
    zeroed.load_state_dict(state)
    kept = {group: torch.tensor([c for c in range(width) if c not in dead.get(group, ())])
            for group, width in model.plan.items()}  # fmt: skip
    images = torch.randn(1, 3, 768, 768, dtype=torch.float64)
    with torch.no_grad():
        expected = zeroed(images)
    plain = pruned_outputs(zeroed, kept, images)
    folded = FOTSModelPruned({group: len(channels) for group, channels in kept.items()}).double().eval()
    folded.load_state_dict(select_channels(compensate(state, kept, estimate_inputs(state)), kept))
    with torch.no_grad():
        ours = folded(images)
    middle = (..., slice(90, 102), slice(90, 102))
    for our, plain_one, true in zip(ours, plain, expected, strict=True):
        assert (our - true)[middle].abs().max() < 0.1 * (plain_one - true)[middle].abs().max()


def test_frames_keep_more_than_means(rendered, model):
    from prune import parse_args, read_batches

    line = ["--pretrain-model", "x", "--save-dir", "y", "--train-folder-sample", str(rendered / "frames")]
    batches = read_batches(parse_args([*line, "--recalibrate", "6", "--short-side", "128", "--crop", "96"]))
    network = FOTSModelPruned(model.plan).eval()
    network.load_state_dict(model.state_dict())
    kept = choose_share(score_weights(model.state_dict(), "l1"), 0.25, Rules(whole=("remove_artifacts",)))
    images = normalise(batches[0].images)
    with torch.no_grad():
        true = network(images)
        apart = [
            (shrink(network, kept, part)(images).confidence - true.confidence).square().mean() for part in ([], batches)
        ]
    assert apart[1] < apart[0]


def test_targets_of_the_script(tmp_path, run_script, refuses, rendered):
    torch.manual_seed(0)
    save_checkpoint(tmp_path / "half.pt", FOTSModelPruned(uniform_plan(0.25)))
    line = ("prune.py", "--pretrain-model", tmp_path / "half.pt", "--save-dir", tmp_path / "a", "--size", 64, 64)
    run_script(*line, "--target-macs", 0.02, "--scope", "global", "--criterion", "taylor", "--round-to", 4,
               "--train-folder-sample", rendered / "frames", "--short-side", 128, "--crop", 96,
               "--recalibrate", 8)  # fmt: skip
    pruned, _ = load_model(tmp_path / "a" / "pruned.pt")
    costs = PlanCosts(pruned, 64, 64)
    assert costs.macs(pruned.plan) <= 0.02 * costs.macs(ORIGINAL_PLAN)
    assert json.loads((tmp_path / "a" / "plan.json").read_text()) == pruned.plan
    run_script(*line[:4], tmp_path / "b", "--plan", tmp_path / "a" / "plan.json")
    assert load_model(tmp_path / "b" / "pruned.pt")[0].plan == pruned.plan
    assert "decoder1.squeeze.0" in run_script("prune.py", "--show-groups").stdout
    refuses(*line, "--sparsity", 0.5, "--target-macs", 0.5, parts=["--sparsity and --target-macs", "drop one"])
    refuses(*line, "--target-macs", 1e-5, parts=["--target-macs 1e-05: out of reach"])
    refuses(*line, "--recalibrate", 8, parts=["--train-folder-syn or --train-folder-sample"])
    refuses(*line, "--train-folder-sample", rendered / "frames", parts=["no effect without --recalibrate"])


def test_script_prunes_a_checkpoint_and_again(tmp_path, run_script, refuses):
    torch.manual_seed(0)
    save_checkpoint(tmp_path / "half.pt", FOTSModelPruned(uniform_plan(0.125)))
    first = run_script("prune.py", "--pretrain-model", tmp_path / "half.pt", "--save-dir", tmp_path / "a")
    assert "in all" in first.stdout
    once, contents = load_model(tmp_path / "a" / "pruned.pt")
    assert once.plan["encoder3"] == 16
    assert once.plan["remove_artifacts"] == 64
    assert contents["epoch"] == 0
    assert json.dumps(contents["arguments"])
    line = ("prune.py", "--pretrain-model", tmp_path / "a" / "pruned.pt", "--save-dir", tmp_path / "b")
    run_script(*line, "--sparsity", "0.25", "--prune-remove-artifacts")
    twice, _ = load_model(tmp_path / "b" / "pruned.pt")
    assert twice.plan["encoder3"] == 12
    assert twice.plan["remove_artifacts"] == 48
    refuses(*line, "--sparsity", "1", parts=["--sparsity", "0.999"])
    refuses(*line, "--sparsity", "half", parts=["'half'"])


def test_an_original_becomes_pruned_as_planned():
    """The widths of the earlier code's pruned network come out of --sparsity 0.5."""
    state = {f"{layer.conv}.weight": torch.rand(*_shape(layer)) for layer in LAYERS}
    kept = choose_share(score_weights(state, "l1"), 0.5, Rules(whole=("remove_artifacts",)))
    assert {group: len(channels) for group, channels in kept.items()} == uniform_plan(0.5)
    assert plan_of(state) == ORIGINAL_PLAN


def _shape(layer):
    return ORIGINAL_PLAN.get(layer.writes, 1), 1, 1, 1
