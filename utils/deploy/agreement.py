"""How much an exported network's maps differ from its checkpoint's."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch

from utils.maps import normalise
from utils.network.base import TextNetwork
from utils.network.rejector import RejectingNetwork

SIZES = (1, 64, 96), (2, 160, 256), (1, 416, 736)
"""Pictures, height and width of the inputs that are compared. 416 / 32 and 160 / 32 are odd: there, the decoder's maps
are not exactly doubled."""

LARGEST_DISTANCE = 0.01
"""Pixels by which the distances of a float network may differ."""

LARGEST_SHARE = 1e-3
"""By which the probabilities, and the angles in radians, of a float network may differ."""


class Differences(NamedTuple):
    """The largest differences over all cells of all inputs."""

    probability: float
    """That a cell is text, or by the rejector that a frame has some."""
    distance: float
    """Pixels."""
    angle: float
    """Radians."""

    @property
    def small(self) -> bool:
        """Whether they are as small as rounding explains."""
        return self.distance <= LARGEST_DISTANCE and max(self.probability, self.angle) <= LARGEST_SHARE

    def __str__(self) -> str:
        return f"probability {self.probability:.1e}, distances {self.distance:.1e} px, angle {self.angle:.1e} rad"


@torch.inference_mode()
def compare_maps(
    network: TextNetwork | RejectingNetwork,
    run: Callable[[np.ndarray], Sequence[np.ndarray]],
    size: tuple[int, int] | None = None,
) -> Differences:
    """The differences between a checkpoint's network, with or without its rejector, and an exported one.

    run: returns the same arrays as the network. size: the only size that it runs at.
    """
    found = []
    for images in check_inputs(size):
        expected = [maps.double() for maps in network(images)]
        actual = [torch.from_numpy(np.array(maps)).double() for maps in run(images.numpy())]
        expected[0], actual[0] = expected[0].sigmoid(), actual[0].sigmoid()
        confidence, distances, angle, *text = [_largest(*maps) for maps in zip(expected, actual, strict=True)]
        found.append([max([confidence, *text]), distances, angle])
    return Differences(*np.max(found, axis=0).tolist())


def _largest(one: torch.Tensor, other: torch.Tensor) -> float:
    """The largest difference; infinite if shapes differ or a value is not a number."""
    if one.shape != other.shape:
        return np.inf
    return float((one - other).abs().nan_to_num(torch.inf, torch.inf).max())


def check_inputs(size: tuple[int, int] | None) -> Iterator[torch.Tensor]:
    """Normalised inputs of smooth noise, always the same."""
    rng = np.random.default_rng(0)
    for count, height, width in SIZES if size is None else [(1, *size)] * len(SIZES):
        noise = rng.integers(0, 256, (count, height // 8, width // 8, 3), np.uint8)
        pictures = [cv2.resize(each, (width, height), interpolation=cv2.INTER_CUBIC) for each in noise]
        yield normalise(torch.from_numpy(np.stack(pictures)))
