"""Checkpoints of this project and of the earlier code, loaded with weights_only; damaged ones are refused."""

import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
import torchvision

from model import FOTSModel
from model_pruned import FOTSModelPruned
from tests.conftest import ROOT
from tools.publish import publish
from utils.checkpoint import load_model, restore_optimizer, save_checkpoint, write_atomically
from utils.errors import UserError
from utils.network.channels import ORIGINAL_PLAN, uniform_plan

IMAGE = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def outputs(model) -> torch.Tensor:
    with torch.no_grad():
        return torch.cat([values.flatten() for values in model.eval()(IMAGE)])


def earlier_state(model: FOTSModel, prefix: str = "") -> dict:
    """The state dict of the earlier code's module: `resnet` with all its parts, and these parts once more."""
    own = model.state_dict()
    state = {}
    for name, tensor in own.items():
        if name.startswith("conv1.0."):
            state[name.replace("conv1.0.", "resnet.conv1.")] = tensor
        elif name.startswith("conv1.1."):
            state[name.replace("conv1.1.", "resnet.bn1.")] = tensor
        elif name.startswith("encoder"):
            state[f"resnet.layer{name.removeprefix('encoder')}"] = tensor
    width = model.plan["encoder4"]
    state |= {"resnet.fc.weight": torch.zeros(1000, width), "resnet.fc.bias": torch.zeros(1000)}
    return {f"{prefix}{name}": tensor for name, tensor in (state | own).items()}


@pytest.fixture(scope="module")
def original() -> FOTSModel:
    torch.manual_seed(1)
    return FOTSModel()


@pytest.fixture(scope="module")
def half() -> FOTSModelPruned:
    torch.manual_seed(2)
    return FOTSModelPruned(uniform_plan(0.5))


def test_a_checkpoint_loads_with_weights_only(tmp_path, half):
    save_checkpoint(tmp_path / "a.pt", half, epoch=3, best_score=0.5, metrics={"hmean": 0.5})
    contents = torch.load(tmp_path / "a.pt", weights_only=True)
    assert contents["plan"] == half.plan
    model, others = load_model(tmp_path / "a.pt")
    assert isinstance(model, FOTSModelPruned)
    assert not model.training
    assert torch.equal(outputs(model), outputs(half))
    assert (others["epoch"], others["best_score"]) == (3, 0.5)


def test_a_pruned_networks_origin_is_kept(tmp_path, half, original):
    model = FOTSModelPruned(half.plan)
    kept = {group: torch.arange(ORIGINAL_PLAN[group])[-width:] for group, width in half.plan.items()}
    model.origin = original.origin.after(kept)
    save_checkpoint(tmp_path / "a.pt", model)
    origin = load_model(tmp_path / "a.pt")[0].origin
    assert origin.within(original.origin)["encoder2"].tolist() == list(range(64, 128))
    contents = torch.load(tmp_path / "a.pt", weights_only=True)
    right = contents["origin"]
    square = kept | {"encoder2": kept["encoder2"][:, None]}
    for broken in (
        right | {"kept": kept | {"encoder2": kept["encoder3"]}},
        right | {"kept": square},
        {"kept": kept},
        5,
    ):
        torch.save(contents | {"origin": broken}, tmp_path / "b.pt")
        with pytest.raises(UserError, match="origin does not fit"):
            load_model(tmp_path / "b.pt")


def test_a_file_without_an_origin_is_a_network_of_its_own(tmp_path, half):
    other = FOTSModelPruned(half.plan)
    other.conv1[1].running_var += 0.01
    networks = []
    for name, model in (("a", half), ("b", half), ("c", other)):
        torch.save(model.state_dict(), tmp_path / f"{name}.pt")
        networks.append(load_model(tmp_path / f"{name}.pt")[0])
    publish(tmp_path / "a.pt", tmp_path / "d.pt", score_threshold=0.9)
    first, same, different = networks
    for model in (same, load_model(tmp_path / "d.pt")[0]):
        assert model.origin.within(first.origin)["encoder1"].tolist() == list(range(32))
    assert different.origin.within(first.origin) is None


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("bare", [True, False])
@pytest.mark.parametrize("which", ["original", "half"])
def test_the_earlier_codes_files(tmp_path, request, prefix, bare, which):
    model = request.getfixturevalue(which)
    state = earlier_state(model, prefix)
    assert len(state) == 489
    assert len({tensor.data_ptr() for tensor in state.values() if tensor.dim()}) <= 273
    contents = state if bare else {"model_state_dict": state, "epoch": 7, "best_score": 0.9}
    torch.save(contents, tmp_path / "earlier.pt")
    loaded, others = load_model(tmp_path / "earlier.pt")
    assert loaded.plan == model.plan
    assert type(loaded) is type(model)
    assert torch.equal(outputs(loaded), outputs(model))
    assert others.get("epoch") == (None if bare else 7)


def test_a_file_with_the_resnet_names_alone(tmp_path, half):
    state = {name: tensor for name, tensor in earlier_state(half).items() if not name.startswith(("conv1", "encoder"))}
    torch.save(state, tmp_path / "a.pt")
    assert torch.equal(outputs(load_model(tmp_path / "a.pt")[0]), outputs(half))


def test_the_earlier_codes_optimizer_is_remapped(half):
    """144 parameters there, of which the classifier's two, 108 and 109, never got a gradient."""
    ours = list(half.parameters())
    theirs = [*ours[:108], torch.nn.Parameter(torch.zeros(9, 9)), torch.nn.Parameter(torch.zeros(9)), *ours[108:]]
    source = torch.optim.Adam(theirs, lr=0.02)
    for number, parameter in enumerate(ours):
        parameter.grad = torch.full_like(parameter, float(number))
    source.step()
    state = source.state_dict()
    assert len(state["state"]) == 142
    assert len(state["param_groups"][0]["params"]) == 144
    optimizer = torch.optim.Adam(half.parameters(), lr=0.001)
    assert restore_optimizer(optimizer, state) is None
    for number, parameter in enumerate(half.parameters()):
        assert optimizer.state[parameter]["exp_avg"].flatten()[0] == pytest.approx(0.1 * number)
    assert optimizer.param_groups[0]["lr"] == 0.02
    for parameter in half.parameters():
        parameter.grad = None


def test_an_optimizers_state_is_laid_out_as_its_network():
    """prune.py's moments are contiguous; fused Adam steps through the memory of a channels_last network."""
    steps = []
    for fused, memory_format in ((False, torch.contiguous_format), (True, torch.channels_last)):
        torch.manual_seed(0)
        layer = torch.nn.Conv2d(16, 8, 3)
        moments = {
            "exp_avg": torch.randn(8, 16, 3, 3),
            "exp_avg_sq": torch.rand(8, 16, 3, 3),
            "step": torch.tensor(9.0),
        }
        biases = {"exp_avg": torch.zeros(8), "exp_avg_sq": torch.ones(8), "step": torch.tensor(9.0)}
        layer.to(memory_format=memory_format)
        optimizer = torch.optim.Adam(layer.parameters(), 0.1, fused=fused)
        groups = [group | {"params": [0, 1]} for group in optimizer.state_dict()["param_groups"]]
        assert restore_optimizer(optimizer, {"state": {0: moments, 1: biases}, "param_groups": groups}) is None
        before = layer.weight.detach().clone()
        layer(torch.ones(1, 16, 4, 4)).sum().backward()
        optimizer.step()
        steps.append(layer.weight.detach() - before)
    assert steps[0].abs().max() > 0.01
    assert torch.allclose(*steps, atol=1e-6)


def test_an_optimizer_of_another_network_is_dropped_with_its_reason(half, small_plan):
    small = FOTSModelPruned(small_plan)
    for parameter in small.parameters():
        parameter.grad = torch.zeros_like(parameter)
    source = torch.optim.Adam(small.parameters())
    source.step()
    assert "shape" in restore_optimizer(torch.optim.Adam(half.parameters()), source.state_dict())


class Malicious:
    def __reduce__(self):
        return os.system, ("touch /tmp/should-not-exist",)


def damaged_files(folder):
    torch.save(torchvision.models.resnet18(weights=None).state_dict(), folder / "another.pt")
    torch.save([1, 2], folder / "list.pt")
    torch.save({"format": 99, "model": {}}, folder / "newer.pt")
    torch.save({"model": {"a": 3}}, folder / "numbers.pt")
    (folder / "empty.pt").write_bytes(b"")
    (folder / "noise.pt").write_bytes(np.random.default_rng(0).bytes(5000))
    (folder / "cut.pt").write_bytes((folder / "another.pt").read_bytes()[:100_000])
    torch.save({"model": Malicious()}, folder / "malicious.pt")
    with open(folder / "pickle.pt", "wb") as file:
        pickle.dump(Malicious(), file)
    return [*sorted(folder.iterdir()), folder / "missing.pt"]


def test_damaged_and_foreign_files_are_refused_in_one_line(tmp_path):
    for path in damaged_files(tmp_path):
        with pytest.raises(UserError) as error:
            load_model(path)
        assert str(path) in str(error.value), path
        assert "\n" not in str(error.value), path
        assert len(str(error.value)) < 500
    assert not os.path.exists("/tmp/should-not-exist")


def test_a_network_with_inconsistent_widths_is_refused(tmp_path, half):
    state = dict(half.state_dict())
    state["encoder2.1.conv2.weight"] = state["encoder2.1.conv2.weight"][:-3]
    torch.save(state, tmp_path / "odd.pt")
    with pytest.raises(UserError, match=r"odd.pt"):
        load_model(tmp_path / "odd.pt")


def test_full_disk_leaves_the_old_file(tmp_path):
    """A real small file system, where one may be mounted; else a limit on the file's size."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"cannot mount a tmpfs here: {mounted.stderr.decode().strip()}")
    try:
        write_atomically(disk / "a.pt", {"a": torch.ones(1000)})
        before = (disk / "a.pt").read_bytes()
        with pytest.raises(UserError, match=r"a\.pt: could not be written.* 3\.8 MiB, 2\.\d more than are free"):
            write_atomically(disk / "a.pt", {"a": torch.ones(1_000_000)})
        assert (disk / "a.pt").read_bytes() == before
        assert [path.name for path in disk.iterdir()] == ["a.pt"]
    finally:
        subprocess.run(["umount", disk], check=True)


def test_loading_needs_nothing_imported_before(small_checkpoint):
    code = f"from utils.checkpoint import load_model; print(type(load_model({str(small_checkpoint)!r})[0]).__name__)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "FOTSModelPruned"


def test_half_precision_weights_are_read(tmp_path, half):
    torch.save(
        {name: t.half() if t.is_floating_point() else t for name, t in half.state_dict().items()}, tmp_path / "h.pt"
    )
    model, _ = load_model(tmp_path / "h.pt")
    assert next(model.parameters()).dtype == torch.float32
    assert model.plan != ORIGINAL_PLAN


def test_published_weights(small_checkpoint, tmp_path, run_script, refuses):
    """Half the size, read as any other checkpoint, nearly the same maps."""
    run_script("-m", "tools.publish", small_checkpoint, tmp_path / "weights" / "small.pt")
    published = tmp_path / "weights" / "small.pt"
    assert published.stat().st_size < 0.75 * small_checkpoint.stat().st_size
    (model, _), (ours, _) = load_model(small_checkpoint), load_model(published)
    assert next(ours.parameters()).dtype == torch.float32
    images = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for before, after in zip(model(images), ours(images), strict=True):
            assert (before - after).abs().max() < 0.01 * before.abs().max()
    run_script("-m", "tools.publish", small_checkpoint, published, "--score-threshold", 0.8)
    with torch.no_grad():
        moved = load_model(published)[0](images).confidence
    assert torch.allclose(moved, ours(images).confidence - torch.tensor(0.8).logit(), atol=1e-5)
    refuses("-m", "tools.publish", tmp_path / "no.pt", published, parts=["no.pt: there is no such file"])
