"""Knowledge distillation: a smaller network learns to reproduce the maps and features of a trained one.

Hinton et al., "Distilling the Knowledge in a Neural Network" (2015), for the maps. Features are compared channel by
channel ("FitNets", Romero et al., ICLR 2015) if the smaller network was pruned from its teacher, so that its channels
are some of the teacher's; otherwise by attention maps ("attention transfer", Zagoruyko and Komodakis, ICLR 2017), which
exist for networks of any widths.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from utils.maps import Prediction
from utils.network.base import TextNetwork
from utils.network.loss_terms import ANGLE_WEIGHT, box_and_angle_loss

DECODER = ("decoder4", "decoder3", "decoder2", "decoder1", "remove_artifacts")
"""Modules whose outputs are compared by attention maps."""

ENCODER = ("encoder1", "encoder2", "encoder3", "encoder4", "center.1")
SQUEEZES = ("decoder4.squeeze", "decoder3.squeeze", "decoder2.squeeze", "decoder1.squeeze")

GROUPS = (*ENCODER, *SQUEEZES, "remove_artifacts")
"""Channel groups that are compared channel by channel; each is the output of the module of its name."""


class Distillation:
    """A trained network, the teacher, beside the student that learns from it.

    The teacher is put into eval mode and gets no gradients. The widths of the two may differ. `by_channel` says whether
    features are compared channel by channel or by attention maps.
    """

    def __init__(self, teacher: TextNetwork, student: TextNetwork):
        self.teacher = teacher.eval().requires_grad_(False)
        channels = student.origin.within(teacher.origin)
        self.by_channel = channels is not None
        device = next(teacher.parameters()).device
        self._channels = {name: channels[name].to(device) for name in GROUPS} if channels else {}
        self._features: tuple[dict, dict] = ({}, {})
        for network, features in zip((teacher, student), self._features, strict=True):
            for name in GROUPS if self.by_channel else DECODER:
                network.get_submodule(name).register_forward_hook(_keep_output(features, name))

    def losses(self, images: torch.Tensor, student: Prediction) -> torch.Tensor:
        """(N,) loss per image, 0 where the networks agree.

        student: the student's prediction for these images; it has to be its last, whose features are compared.
        """
        with torch.no_grad():
            teacher = self.teacher(images)
        losses = map_losses(student, teacher)
        teacher_features, student_features = self._features
        for name in list(student_features):
            expected, actual = teacher_features.pop(name), student_features.pop(name)
            if self.by_channel:
                losses = losses + channel_loss(expected[:, self._channels[name]], actual)
            else:
                losses = losses + attention_loss(expected, actual)
        return losses


def map_losses(student: Prediction, teacher: Prediction) -> torch.Tensor:
    """(N,) Kullback-Leibler divergence of the score maps, plus the geometry loss weighted by the teacher's score.

    Text and background have equal influence: the divergence is averaged twice, with the teacher's probability of each
    as weights.
    """
    text = torch.sigmoid(teacher.confidence.float().flatten(1))
    entropy = F.binary_cross_entropy_with_logits(teacher.confidence.float().flatten(1), text, reduction="none")
    crossed = F.binary_cross_entropy_with_logits(student.confidence.float().flatten(1), text, reduction="none")
    iou, angle = box_and_angle_loss(student, teacher)
    divergence = _mean(crossed - entropy, text) + _mean(crossed - entropy, 1 - text)
    return divergence + _mean(iou + ANGLE_WEIGHT * angle, text)


def channel_loss(teacher: torch.Tensor, student: torch.Tensor) -> torch.Tensor:
    """(N,) mean squared difference of two feature maps (N, C, h, w), relative to the teacher's mean square."""
    difference = (student.float() - teacher.float()).square().flatten(1).mean(1)
    return difference / teacher.float().square().flatten(1).mean(1).clamp(min=1e-6)


def attention_loss(teacher: torch.Tensor, student: torch.Tensor) -> torch.Tensor:
    """(N,) squared distance, 0 to 2, of the attention maps of two feature maps (N, C, h, w); C may differ.

    An attention map is the mean square over the channels, scaled to unit norm.
    """
    attention = (F.normalize(features.float().square().mean(1).flatten(1)) for features in (teacher, student))
    return torch.sub(*attention).square().sum(1)


def _keep_output(features: dict[str, torch.Tensor], name: str) -> Callable:
    def hook(_module: nn.Module, _inputs, output: torch.Tensor) -> None:
        features[name] = output

    return hook


def _mean(values: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """(N,) weighted mean of each row."""
    return (values * weights).sum(1) / weights.sum(1).clamp(min=1e-6)
