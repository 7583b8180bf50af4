import pytest
import torch

from model_pruned import FOTSModelPruned
from utils.channels import uniform_plan
from utils.distillation import FEATURES, Distillation, attention_loss, map_losses
from utils.maps import Prediction


def network(seed: int, share: float) -> FOTSModelPruned:
    torch.manual_seed(seed)
    return FOTSModelPruned(uniform_plan(share, keep=()))


def pictures() -> torch.Tensor:
    return torch.randn(2, 3, 96, 128, generator=torch.Generator().manual_seed(0))


def test_nothing_is_lost_where_they_agree():
    student = network(0, 1 / 16).eval()
    teacher = network(0, 1 / 16)
    losses = Distillation(teacher, student).losses(pictures(), student(pictures()))
    assert losses.shape == (2,)
    assert losses.detach().abs().max() < 1e-5


def test_learning_from_a_wider_network_brings_them_together():
    teacher, student = network(0, 1 / 8), network(1, 1 / 16)
    distillation = Distillation(teacher, student)
    optimizer, history = torch.optim.Adam(student.parameters(), 1e-2), []
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    for _ in range(40):
        loss = distillation.losses(pictures(), student(pictures())).mean()
        history.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert history[-1] < 0.6 * history[0]
    assert not teacher.training
    assert all(torch.equal(before[name], tensor) for name, tensor in teacher.state_dict().items())
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_every_decoder_is_taught():
    teacher, student = network(0, 1 / 8), network(1, 1 / 16)
    distillation = Distillation(teacher, student)
    distillation.losses(pictures(), student(pictures())).sum().backward()
    for name in FEATURES:
        weights = next(student.get_submodule(name).parameters())
        assert weights.grad.abs().sum() > 0, name


def test_attention_is_where_not_how_much():
    features = torch.rand(3, 5, 7, 9)
    more_channels = 4 * torch.cat([features, features], 1)
    assert attention_loss(features, more_channels).abs().max() < 1e-6
    left, right = torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 4, 4)
    left[..., :2], right[..., 2:] = 1, 1
    assert attention_loss(left, right).item() == pytest.approx(2)


def test_geometry_counts_where_the_teacher_sees_text():
    score = torch.full((1, 1, 4, 4), -20.0)
    score[..., 0, 0] = 20
    teacher = Prediction(score, torch.full((1, 4, 4, 4), 20.0), torch.full((1, 1, 4, 4), 0.8))
    elsewhere, there = teacher.distances.clone(), teacher.distances.clone()
    elsewhere[..., 1:, :] = 100
    there[..., 0, 0] = 100
    assert map_losses(teacher._replace(distances=elsewhere), teacher).item() == pytest.approx(0, abs=1e-4)
    assert map_losses(teacher._replace(distances=there), teacher).item() > 1
