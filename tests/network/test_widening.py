import pytest
import torch

from tools.publish import publish
from utils.checkpoint import load_model
from utils.errors import UserError
from utils.network.channels import ORIGINAL_PLAN, uniform_plan
from utils.network.widening import widen

IMAGE = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("width", [0.12, 0.3])
def test_same_outputs(small_checkpoint, width):
    """Also where a channel gets several copies, and for residual streams and concatenated inputs."""
    narrow = load_model(small_checkpoint)[0].double()
    wide = widen(narrow.float(), uniform_plan(width)).double()
    assert wide.plan == uniform_plan(width)
    with torch.no_grad():
        for before, after in zip(narrow.double()(IMAGE), wide(IMAGE), strict=True):
            assert torch.allclose(after, before, rtol=1e-5, atol=1e-5)


def test_copies_learn_different_things(small_checkpoint):
    """Equal proportions would give copies equal gradients for ever."""
    wide = widen(load_model(small_checkpoint)[0], uniform_plan(0.3)).train()
    sum(values.square().mean() for values in wide(IMAGE.float())).backward()
    gradients = wide.get_parameter("encoder2.0.conv1.weight").grad.flatten(1)
    distances = torch.cdist(gradients, gradients) + torch.eye(len(gradients)) * 1e9
    assert distances.min() > 0


def test_command(small_checkpoint, tmp_path, run_script, refuses):
    line = ("-m", "tools.widen", small_checkpoint, tmp_path / "new" / "wide.pt")
    assert "parameters" in run_script(*line, "--width", 0.2).stdout
    publish(tmp_path / "new" / "wide.pt", tmp_path / "published.pt")
    assert load_model(tmp_path / "published.pt")[0].plan == uniform_plan(0.2)
    refuses(*line, "--width", 0.01, parts=["fewer than"])
    refuses("-m", "tools.widen", small_checkpoint, small_checkpoint, "--width", 0.2, parts=["it is an input"])


def test_narrower_plans_are_refused(small_checkpoint):
    narrow = load_model(small_checkpoint)[0]
    with pytest.raises(UserError, match="conv1 has 1 channels, fewer than"):
        widen(narrow, {**ORIGINAL_PLAN, "encoder2.0.conv1": 1})
