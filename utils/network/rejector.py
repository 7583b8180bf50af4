"""The rejector: a small head on the network's first maps that says whether a frame contains text.

A frame that it rejects costs the first encoder stage and the head instead of the whole network. The head predicts text
for each cell of 16 x 16 pixels, and a frame's probability is that of its best cell: one small word is enough.
"""

import math
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from utils.errors import UserError
from utils.maps import Prediction
from utils.network.base import TextNetwork
from utils.network.channels import HEADS
from utils.network.state_dicts import check_tensors

CELL = 4
"""Cells of the network's maps on a side of a cell of the rejector."""

HIDDEN = 32
"""Channels of the head's own maps."""

ENTRY = "rejector"
"""Where a checkpoint has its rejector."""


class Rejector(nn.Module):
    """Maps the network's first maps (N, channels, h, w) to the probabilities (N,) that frames contain text."""

    threshold = 0.0
    """Frames with a lower probability are rejected."""

    def __init__(self, channels: int):
        super().__init__()
        self.cells = nn.Sequential(
            *_convolution(channels, 2), *_convolution(HIDDEN, 2), *_convolution(HIDDEN, 1), nn.Conv2d(HIDDEN, 1, 1)
        )
        """To the logits of text (N, 1, h / 4, w / 4), rounded up."""

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return self.cells(maps).amax((1, 2, 3)).sigmoid()

    def contents(self) -> dict:
        """The rejector as a checkpoint's entry."""
        state = {name: tensor.detach().cpu() for name, tensor in self.state_dict().items()}
        return {"state": state, "threshold": self.threshold}

    @classmethod
    def of_checkpoint(cls, path: str | Path, contents: Mapping, network: TextNetwork) -> "Rejector | None":
        """The rejector of a checkpoint's contents, in eval mode; None if it has none. Raises `UserError`."""
        if (entry := contents.get(ENTRY)) is None:
            return None
        rejector = cls(network.plan["encoder1"])
        try:
            state, rejector.threshold = entry["state"], float(entry["threshold"])
            if not 0 <= rejector.threshold <= 1:
                raise UserError(f"threshold {rejector.threshold}")
            check_tensors(state, rejector.state_dict())
            rejector.load_state_dict(state)
        except (UserError, LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            reason = str(error).splitlines()[-1].strip()
            raise UserError(f"{path}: a damaged rejector ({reason}); train it again") from None
        return rejector.eval()


class RejectingNetwork(nn.Module):
    """A network and its rejector as one module: images (N, 3, H, W) -> the network's maps and the probabilities."""

    def __init__(self, network: TextNetwork, rejector: Rejector):
        super().__init__()
        self.network, self.rejector = network, rejector

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        maps = self.network.early(images)
        return *self.network.finish(maps), self.rejector(maps)


def note_left_out(contents: Mapping) -> str:
    """A line for who writes a network that a checkpoint's rejector does not fit; empty if there is none."""
    if ENTRY not in contents:
        return ""
    return "the checkpoint's rejector is left out: the new network has other maps; train one with --rejector at the end"


def no_text(maps: torch.Tensor) -> Prediction:
    """The prediction for rejected frames, from the network's first maps (N, C, h, w)."""
    count, _, *size = maps.shape
    confidence, distances, angle = (maps.new_zeros(count, channels, *size) for channels in HEADS.values())
    return Prediction(confidence - math.inf, distances, angle)


def _convolution(channels: int, stride: int) -> list[nn.Module]:
    return [nn.Conv2d(channels, HIDDEN, 3, stride, 1, bias=False), nn.BatchNorm2d(HIDDEN), nn.ReLU(True)]
