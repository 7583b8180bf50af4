"""Checkpoints with weights that no network can use are refused, and the tensor is named."""

import os
import zipfile

import pytest
import torch

from model import FOTSModel
from model_pruned import FOTSModelPruned
from utils.checkpoint import load_model
from utils.errors import UserError

NAME = "encoder2.0.conv1.weight"


@pytest.fixture
def state(small_plan) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return FOTSModelPruned(small_plan).state_dict()


def refusal(path, contents) -> str:
    torch.save(contents, path)
    with pytest.raises(UserError) as error:
        load_model(path)
    assert str(error.value).startswith(f"{path}: no checkpoint of this network (")
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e300])
def test_values_that_are_not_finite(tmp_path, state, value):
    state[NAME] = state[NAME].double()
    state[NAME][0, 0, 0, 1:3] = value
    assert f"{NAME} has 2 values that are NaN, infinite or too large" in refusal(tmp_path / "a.pt", state)


@pytest.mark.parametrize("dtype", [torch.int64, torch.int8, torch.bool, torch.complex64])
def test_weights_that_are_no_floating_point_numbers(tmp_path, state, dtype):
    state[NAME] = state[NAME].to(dtype)
    assert f"{NAME} has the type {dtype}; expected floating-point numbers" in refusal(tmp_path / "a.pt", state)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_all_floating_point_types_are_read(tmp_path, state, dtype):
    torch.save(
        {name: value.to(dtype) if value.is_floating_point() else value for name, value in state.items()},
        tmp_path / "a.pt",
    )
    model, _ = load_model(tmp_path / "a.pt")
    assert model.state_dict()[NAME].dtype == torch.float32
    assert torch.equal(model.state_dict()[NAME], state[NAME].to(dtype).float())


def test_wrong_shapes_are_named(tmp_path, state):
    for changed in (state[NAME][:, :-1], state[NAME][0], torch.zeros(1).expand(1 << 20, 1 << 20)):
        message = refusal(tmp_path / "a.pt", state | {NAME: changed})
        assert str(tuple(changed.shape)) in message or "encoder2.0.conv1" in message
        assert len(message) < 400
    bias = state | {"confidence.0.bias": torch.zeros(3)}
    assert "confidence.0.bias has shape (3,); expected (1,)" in refusal(tmp_path / "a.pt", bias)


def test_what_is_no_tensor_with_values(tmp_path, state):
    sparse = state | {"confidence.0.weight": state["confidence.0.weight"].to_sparse()}
    assert "confidence.0.weight is a sparse tensor" in refusal(tmp_path / "a.pt", sparse)
    assert "confidence.0.weight is a list" in refusal(tmp_path / "a.pt", state | {"confidence.0.weight": [1.0]})
    negative = state | {"conv1.1.running_var": -state["conv1.1.running_var"]}
    assert "conv1.1.running_var has" in refusal(tmp_path / "a.pt", negative)


def test_backbone_weights(tmp_path, state):
    for contents in ({"state_dict": 3}, {3: 4}, {}):
        torch.save(contents, tmp_path / "r.pt")
        with pytest.raises(UserError, match=r"r\.pt: no ResNet-34 weights"):
            FOTSModel(backbone_weights=str(tmp_path / "r.pt"))
    own = {name: value for name, value in FOTSModel().state_dict().items() if name.startswith(("conv1.", "encoder"))}
    own[NAME] = own[NAME] * float("nan")
    torch.save(own, tmp_path / "r.pt")
    with pytest.raises(UserError, match=rf"r\.pt: no ResNet-34 weights \({NAME} has \d+ values that are NaN"):
        FOTSModel(backbone_weights=str(tmp_path / "r.pt"))


def test_files_that_are_no_checkpoints(tmp_path, small_checkpoint):
    path = tmp_path / "a.pt"
    for content, part in (
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"<!doctype html>", "an HTML page"),
        (b"", "the file is empty"),
    ):
        path.write_bytes(content)
        with pytest.raises(UserError, match=rf"a\.pt: .*{part}"):
            load_model(path)
    os.mkfifo(tmp_path / "pipe.pt")
    with pytest.raises(UserError, match=r"pipe\.pt: a pipe, not a regular file"):
        load_model(tmp_path / "pipe.pt")
    with zipfile.ZipFile(small_checkpoint) as whole, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in whole.namelist():
            packed.writestr(name, whole.read(name))
    with pytest.raises(UserError, match=r"a\.pt: a compressed archive"):
        load_model(path)
