"""What int8 costs in each layer: how far the maps are from the float network's when it alone is quantised."""

import tempfile
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from utils.deploy.exported_detector import ExportedDetector
from utils.deploy.quantisation import convolutions, quantise
from utils.errors import UserError
from utils.maps import Prediction

ALL = "all layers"
"""Name of the first line: the int8 network as `export.py` writes it."""


class MapErrors(NamedTuple):
    """Mean absolute differences from the float network's maps, over the cells that are text in either."""

    probability: float
    distance: float
    """Input pixels."""
    angle: float
    """Radians."""


class LayerErrors(NamedTuple):
    """The errors of a network in which one layer is int8."""

    layer: str
    errors: MapErrors

    def share(self, whole: MapErrors) -> float:
        """The errors relative to those of the whole int8 network, mean of the three maps."""
        return float(np.mean(np.divide(self.errors, whole)))


def errors_of_layers(
    source: Path, inputs: Sequence[np.ndarray], layers: Collection[str] | None = None
) -> Iterator[LayerErrors]:
    """The errors of the int8 network of a float ONNX file, then those of each layer.

    inputs: normalised pictures (1, 3, H, W), which the ranges are calibrated on and the maps are compared on. layers:
    the layers to measure; None for all. Raises `UserError` if the pictures have no text.
    """
    detector, found = ExportedDetector(source), convolutions(source)
    expected = [_copied(detector.run(images)) for images in inputs]
    with tempfile.TemporaryDirectory(prefix="sensitivity-") as folder:
        path = Path(folder) / "int8.onnx"
        for layer in (ALL, *(found if layers is None else layers)):
            quantise(source, path, detector.info, inputs, None if layer == ALL else [found[layer]])
            network = ExportedDetector(path)
            actual = [_copied(network.run(images)) for images in inputs]
            yield LayerErrors(layer, _errors(expected, actual, detector.info.score_threshold))


def _copied(maps: Prediction) -> list[np.ndarray]:
    """An engine may reuse the memory of its outputs. The first map becomes the probability."""
    confidence, distances, angle = (np.array(each, np.float64) for each in maps)
    return [1 / (1 + np.exp(-confidence)), distances, angle]


def _errors(expected: list[list[np.ndarray]], actual: list[list[np.ndarray]], threshold: float) -> MapErrors:
    sums, cells = np.zeros(3), 0
    for one, other in zip(expected, actual, strict=True):
        text = (np.maximum(one[0], other[0]) >= threshold)[:, 0]
        cells += int(text.sum())
        sums += [np.abs(a - b).mean(1)[text].sum() for a, b in zip(one, other, strict=True)]
    if not cells:
        raise UserError("the network finds no text in these pictures; give others, or another --short-side")
    return MapErrors(*(sums / cells).tolist())
