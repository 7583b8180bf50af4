"""The maps that data, network, loss and decoding exchange, and the constants that define them.

Cell ``(x, y)`` of a map corresponds to pixel ``(STRIDE * x, STRIDE * y)`` of the network's input.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:  # an exported network is used without PyTorch
    import torch

STRIDE = 4
"""Input pixels per map cell."""

MAX_DISTANCE = 640.0
"""The network's distances are ``sigmoid(.) * MAX_DISTANCE`` input pixels."""

SHRINK_RATIO = 0.3
"""Each side of a word's box moves inwards by this share of the whole word's short side; inside are its text cells."""

SIZE_MULTIPLE = 32
"""At inference, heights and widths are padded to multiples of this (the encoder's deepest stride)."""

IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)
PADDING_COLOUR = (124, 116, 104)
"""ImageNet's mean colour, RGB, 0 to 255. Padding of this colour is zero, up to rounding, after `normalise`."""


class Prediction(NamedTuple):
    """The network's output: float tensors at stride 4, h = H / 4, w = W / 4; of an exported network, NumPy arrays."""

    confidence: torch.Tensor
    """(N, 1, h, w) text logit; apply a sigmoid before thresholding."""
    distances: torch.Tensor
    """(N, 4, h, w) input pixels to the word box's top, right, bottom and left side."""
    angle: torch.Tensor
    """(N, 1, h, w) box rotation + pi/4, in radians: 0 to pi/2."""


class Target(NamedTuple):
    """The target of the network's output: float32, (N, C, h, w) in a batch, (C, h, w) in a sample."""

    score_map: torch.Tensor
    """(N, 1, h, w) 1 inside a word's shrunk box, else 0."""
    distances: torch.Tensor
    """(N, 4, h, w) as in `Prediction`; 0 where there is no word."""
    angle: torch.Tensor
    """(N, 1, h, w) as in `Prediction`; 0 where there is no word."""
    training_mask: torch.Tensor
    """(N, 1, h, w) 1 in cells that count in the loss, 0 in others (don't-care words, rings, padding)."""

    def to(self, device: torch.device) -> Target:
        return Target(*(values.to(device, non_blocking=True) for values in self))


def map_size(height: int, width: int) -> tuple[int, int]:
    """Size (h, w) of the maps for an input of this size, whose sides are multiples of STRIDE."""
    return height // STRIDE, width // STRIDE


def padded_size(height: int, width: int) -> tuple[int, int]:
    """The smallest (height, width) of multiples of SIZE_MULTIPLE that is no smaller than the given one."""
    return math.ceil(height / SIZE_MULTIPLE) * SIZE_MULTIPLE, math.ceil(width / SIZE_MULTIPLE) * SIZE_MULTIPLE


def normalise(images: torch.Tensor) -> torch.Tensor:
    """(N, H, W, 3) uint8 RGB -> (N, 3, H, W) float32 with ImageNet's mean and standard deviation, on the same device.

    The result is contiguous; a plain permutation would be in channels_last order. The memory format is the choice of
    whoever calls the network.
    """
    mean, std = _statistics_on(images.device)
    return (images.permute(0, 3, 1, 2).contiguous().float() - mean) / std


@functools.cache
def _statistics_on(device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """ImageNet's mean and standard deviation of a pixel, (1, 3, 1, 1): copied once, as that waits for a GPU."""
    import torch

    with torch.inference_mode(False):
        mean, std = (torch.tensor(values, device=device).view(1, 3, 1, 1) * 255 for values in (IMAGE_MEAN, IMAGE_STD))
    return mean, std


def hide_padding(prediction: Prediction, sizes: list[tuple[int, int]]) -> Prediction:
    """The prediction with logits of -inf in all cells beyond each image's size (height, width) in pixels."""
    confidence = prediction.confidence
    confidence = confidence.copy() if isinstance(confidence, np.ndarray) else confidence.clone()
    for image_confidence, (height, width) in zip(confidence, sizes, strict=True):
        image_confidence[:, math.ceil(height / STRIDE) :] = -math.inf
        image_confidence[:, :, math.ceil(width / STRIDE) :] = -math.inf
    return prediction._replace(confidence=confidence)
