"""Pruned = masked: the smaller network's outputs are the original's with those channels zeroed."""

import json

import pytest
import torch

from model_pruned import FOTSModelPruned
from prune import choose_channels
from utils.channels import LAYERS, ORIGINAL_PLAN, plan_of, select_channels, uniform_plan
from utils.checkpoint import load_model, save_checkpoint


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
    kept = choose_channels(model.state_dict(), sparsity, whole)
    images = torch.randn(2, 3, 96, 64, dtype=torch.float64)
    for ours, expected in zip(pruned_outputs(model, kept, images), masked_outputs(model, kept, images), strict=True):
        assert torch.allclose(ours, expected, atol=1e-9)
        assert expected.std() > 0


@pytest.mark.parametrize("seed", range(12))
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
    kept = choose_channels(state, 2 / 128)
    assert sorted(set(range(128)) - set(kept["center.0"].tolist())) == [5, 9]
    assert len(kept["remove_artifacts"]) == 64 - 1


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
    kept = choose_channels(state, 0.5, ("remove_artifacts",))
    assert {group: len(channels) for group, channels in kept.items()} == uniform_plan(0.5)
    assert plan_of(state) == ORIGINAL_PLAN


def _shape(layer):
    return ORIGINAL_PLAN.get(layer.writes, 1), 1, 1, 1
