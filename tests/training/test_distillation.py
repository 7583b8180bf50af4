import pytest
import torch

from model_pruned import FOTSModelPruned
from utils.maps import Prediction
from utils.network.base import TextNetwork
from utils.network.channels import all_channels, uniform_plan
from utils.pruning import keep_channels
from utils.training.distillation import DECODER, GROUPS, Distillation, attention_loss, channel_loss, map_losses


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


def prune(teacher: TextNetwork, **groups: list[int]) -> TextNetwork:
    """Keeps these channels of these groups (`__` for a dot) and all of the others."""
    channels = {name.replace("__", "."): torch.tensor(indices) for name, indices in groups.items()}
    return keep_channels(teacher, all_channels(teacher.plan) | channels)


def test_a_pruned_network_is_compared_with_the_channels_that_it_has():
    """The heads' inputs are the last channels: with fewer of them, the others stay what they were."""
    teacher = network(0, 1 / 8).eval()
    student = prune(teacher, remove_artifacts=[1, 2, 5])
    distillation = Distillation(teacher, student)
    assert distillation.by_channel
    prediction = student(pictures())
    maps = map_losses(prediction, teacher(pictures()))
    assert maps.min() > 1e-3
    assert torch.allclose(distillation.losses(pictures(), prediction), maps, atol=1e-5)
    mistaken = student.origin.kept | {"remove_artifacts": torch.tensor([1, 2, 6])}
    student.origin = student.origin._replace(kept=mistaken)
    distillation = Distillation(teacher, student)
    assert (distillation.losses(pictures(), student(pictures())) > maps + 0.1).all()


def test_a_network_pruned_twice_may_learn_from_either():
    first = network(0, 1 / 8)
    second = prune(first, encoder2=[0, 2, 3, 7, 9], center__0=[1, 4, 5])
    third = prune(second, encoder2=[1, 4], center__0=[0, 2])
    assert third.origin.within(first.origin)["encoder2"].tolist() == [2, 9]
    assert third.origin.within(second.origin)["center.0"].tolist() == [0, 2]
    assert second.origin.within(third.origin) is None
    assert not Distillation(network(0, 1 / 8), third).by_channel


@pytest.mark.parametrize("pruned", [True, False])
def test_every_feature_is_taught(pruned):
    teacher = network(0, 1 / 8)
    student = prune(teacher, encoder4=[3, 4, 9]) if pruned else network(1, 1 / 16)
    distillation = Distillation(teacher, student)
    distillation.losses(pictures(), student(pictures())).sum().backward()
    for name in GROUPS if pruned else DECODER:
        weights = next(student.get_submodule(name).parameters())
        assert weights.grad.abs().sum() > 0, name


def test_channels_are_compared_by_the_teachers_strength():
    teacher, student = 3 * torch.ones(2, 4, 5, 5), 3 * torch.ones(2, 4, 5, 5)
    student[1, :2] = 0
    assert torch.allclose(channel_loss(teacher, student), torch.tensor([0.0, 0.5]))


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
