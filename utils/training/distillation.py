"""Knowledge distillation: a smaller network learns to give a trained one's maps and features.

Hinton et al., "Distilling the Knowledge in a Neural Network" (2015), for the maps. Features are compared channel by
channel ("FitNets", Romero et al., ICLR 2015) where the smaller network was pruned from its teacher, whose channels it
has; else by attention transfer (Zagoruyko and Komodakis, ICLR 2017), which compares networks of any widths.
"""

import torch
import torch.nn.functional as F
from torch import nn

from utils.maps import Prediction
from utils.network.loss_terms import ANGLE_WEIGHT, box_and_angle_loss

DECODER = ("decoder4", "decoder3", "decoder2", "decoder1", "remove_artifacts")
"""Modules whose outputs are compared by where they are strong."""

GROUPS = ("encoder1", "encoder2", "encoder3", "encoder4", "center.1", "decoder4.squeeze", "decoder3.squeeze",
          "decoder2.squeeze", "decoder1.squeeze", "remove_artifacts")  # fmt: skip
"""Channel groups, each the output of the module of its name, that are compared channel by channel."""


class Distillation:
    """A trained network beside the one that learns from it; `losses` is zero where they agree.

    teacher is put into eval mode and gets no gradients. Both are `model.FOTSModel`, at widths of their own.
    by_channel: features are compared channel by channel, not by attention.
    """

    def __init__(self, teacher: nn.Module, student: nn.Module):
        self.teacher = teacher.eval().requires_grad_(False)
        channels = student.origin.within(teacher.origin)
        self.by_channel = channels is not None
        device = next(teacher.parameters()).device
        self._channels = {name: channels[name].to(device) for name in GROUPS} if self.by_channel else {}
        self._features: tuple[dict, dict] = ({}, {})
        for network, kept in zip((teacher, student), self._features, strict=True):
            for name in GROUPS if self.by_channel else DECODER:
                network.get_submodule(name).register_forward_hook(
                    lambda _module, _inputs, output, kept=kept, name=name: kept.__setitem__(name, output)
                )

    def losses(self, images: torch.Tensor, student: Prediction) -> torch.Tensor:
        """(N,) per image, of the student's prediction for these images, its last."""
        with torch.no_grad():
            teacher = self.teacher(images)
        losses = map_losses(student, teacher)
        theirs, ours = self._features
        for name in list(ours):
            features = theirs.pop(name), ours.pop(name)
            if self.by_channel:
                losses = losses + channel_loss(features[0][:, self._channels[name]], features[1])
            else:
                losses = losses + attention_loss(*features)
        return losses


def map_losses(student: Prediction, teacher: Prediction) -> torch.Tensor:
    """(N,) divergence of the score maps, plus the geometry loss weighted by the teacher's score.

    Text and background count alike: the divergence is averaged with the teacher's probability of each as weights.
    """
    text = torch.sigmoid(teacher.confidence.float().flatten(1))
    entropy = F.binary_cross_entropy_with_logits(teacher.confidence.float().flatten(1), text, reduction="none")
    crossed = F.binary_cross_entropy_with_logits(student.confidence.float().flatten(1), text, reduction="none")
    iou, angle = box_and_angle_loss(student, teacher)
    divergence = _mean(crossed - entropy, text) + _mean(crossed - entropy, 1 - text)
    return divergence + _mean(iou + ANGLE_WEIGHT * angle, text)


def channel_loss(teacher: torch.Tensor, student: torch.Tensor) -> torch.Tensor:
    """(N,) mean squared difference of two feature maps (N, C, h, w), as a share of the teacher's mean square."""
    difference = (student.float() - teacher.float()).square().flatten(1).mean(1)
    return difference / teacher.float().square().flatten(1).mean(1).clamp(min=1e-6)


def attention_loss(teacher: torch.Tensor, student: torch.Tensor) -> torch.Tensor:
    """(N,) squared distance, 0 to 2, of where two feature maps (N, C, h, w) are strong; C may differ."""
    strong = (F.normalize(features.float().square().mean(1).flatten(1)) for features in (teacher, student))
    return torch.sub(*strong).square().sum(1)


def _mean(values: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Per row."""
    return (values * weights).sum(1) / weights.sum(1).clamp(min=1e-6)
