"""A float ONNX file -> int8: weights and activations, calibrated on frames.

Static quantisation in ONNX's QDQ form, weights per channel as signed and activations as unsigned 8-bit numbers: one
file runs at full int8 speed in ONNX Runtime and in OpenVINO. (Signed activations are twice as slow in ONNX Runtime.)
Channels are rounded up first, see `padding`.
"""

import contextlib
import dataclasses
import logging
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from utils.deploy.file_info import INPUT, TEXT, ExportedInfo
from utils.deploy.padding import pad_channels
from utils.runtime.optional import import_optional

FRAMES = 32
"""Frames that activations are calibrated on."""


def quantise(
    source: Path,
    target: Path,
    info: ExportedInfo,
    inputs: Iterable[np.ndarray],
    operators: Collection[str] | None = None,
) -> ExportedInfo:
    """Write the int8 network of the float file `source` to `target`; returns its description.

    inputs: normalised pictures (1, 3, H, W) float32, whose activations give the ranges. operators: names of those that
    are quantised, see `convolutions` and `operators_without`; None for all. The last layer of a rejector stays float:
    its threshold is often smaller than the steps of an 8-bit probability.
    """
    onnx = import_optional("onnx", "--int8")
    quantization = import_optional("onnxruntime.quantization", "--int8")
    kinds = quantization.QuantType
    model = onnx.load(source)
    pad_channels(model)
    with _without_advice():
        quantization.quantize_static(
            model,
            target,
            _Reader(inputs),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            activation_type=kinds.QUInt8,
            weight_type=kinds.QInt8,
            nodes_to_quantize=None if operators is None else list(operators),
            nodes_to_exclude=list(_last_layer(model.graph, TEXT)),
        )
    info = dataclasses.replace(info, precision="int8")
    model = onnx.load(target)
    onnx.helper.set_model_props(model, info.properties())
    onnx.save(model, target)
    return info


def convolutions(source: Path) -> dict[str, str]:
    """The layers of a float ONNX file, named as in PyTorch, and the names of their operators."""
    return {_layer_of(node): node.name for node in _operators(source) if node.op_type == "Conv"}


def operators_without(source: Path, layers: Collection[str]) -> list[str]:
    """The names of all operators of a float ONNX file but the convolutions of these layers."""
    return [node.name for node in _operators(source) if node.op_type != "Conv" or _layer_of(node) not in layers]


def _operators(source: Path) -> Sequence[Any]:
    return import_optional("onnx", "--int8").load(source).graph.node


def _layer_of(convolution: Any) -> str:
    return convolution.input[1].removesuffix(".weight")


def _last_layer(graph: Any, output: str) -> Iterator[str]:
    """The names of the operators from an output back to the last convolution before it; none without that output."""
    makers = {name: node for node in graph.node for name in node.output}
    while node := makers.get(output):
        yield node.name
        output = "" if node.op_type == "Conv" else node.input[0]


class _Reader:
    """The inputs as ONNX Runtime's calibration reads them."""

    def __init__(self, inputs: Iterable[np.ndarray]):
        self._inputs: Iterator[np.ndarray] = iter(inputs)

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next input by name, or None at the end."""
        images = next(self._inputs, None)
        return None if images is None else {INPUT: images}


@contextlib.contextmanager
def _without_advice() -> Iterator[None]:
    """A context without the quantiser's advice to preprocess the model, which the exporter has done."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(level)
