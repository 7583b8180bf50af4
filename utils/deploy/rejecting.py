"""An ONNX network with a rejector -> one that computes most of its nodes only for frames with text."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np

from utils.deploy.file_info import INPUT, OUTPUTS, REJECT_BELOW, TEXT, ExportedInfo
from utils.maps import STRIDE
from utils.network.channels import HEADS
from utils.runtime.optional import import_optional

_BLANK = {name: -math.inf if name == "confidence" else 0.0 for name in OUTPUTS}
"""The values of the maps of frames without text."""


def add_rejection(source: Path, target: Path, info: ExportedInfo, threshold: float) -> ExportedInfo:
    """Write the network of `source`, which computes all outputs and `TEXT`, with an `If` to `target`.

    The nodes that `TEXT` does not need move into the branch for frames with text. `info`: of the source; returns that
    of the target. threshold: the rejector's own.
    """
    onnx = import_optional("onnx", "exporting to ONNX")
    model = onnx.load(source)
    _rewrite(onnx, model.graph)
    info = dataclasses.replace(info, reject_below=threshold)
    onnx.helper.set_model_props(model, info.properties())
    onnx.checker.check_model(model)
    onnx.save(model, target)
    return info


def _rewrite(onnx: Any, graph: Any) -> None:
    """Put the nodes that `TEXT` does not need into a branch."""
    make = onnx.helper
    makers = {name: node for node in graph.node for name in node.output}
    needed = _ancestors(makers, TEXT)
    first = [node for node in graph.node if set(node.output) & needed]
    rest = [node for node in graph.node if not set(node.output) & needed]
    rest = _own_dequantisers(rest, makers, needed) + rest
    for node in rest:
        for names in (node.input, node.output):
            names[:] = [_in_branch(name) if name in OUTPUTS else name for name in names]
    outputs = {each.name: each for each in graph.output}
    read_first = {name for node in first for name in node.input}
    weights = [each for each in graph.initializer if each.name not in read_first]
    complete = make.make_graph(rest, "complete", [], [_renamed(outputs[name]) for name in OUTPUTS], weights)
    blank = _blank_maps(onnx, [_renamed(outputs[name]) for name in OUTPUTS])
    first += [
        make.make_node("ReduceMax", [TEXT], ["best_text"], keepdims=0),
        make.make_node("GreaterOrEqual", ["best_text", REJECT_BELOW], ["has_text"]),
        make.make_node("If", ["has_text"], list(OUTPUTS), then_branch=complete, else_branch=blank),
    ]
    kept = [each for each in graph.initializer if each.name in read_first]
    for field, values in (("node", first), ("initializer", kept), ("value_info", [])):
        graph.ClearField(field)
        getattr(graph, field).extend(values)
    graph.input.append(make.make_tensor_value_info(REJECT_BELOW, onnx.TensorProto.FLOAT, []))


def _ancestors(makers: dict[str, Any], name: str) -> set[str]:
    """The names of all values that a value is computed from, itself included."""
    found, pending = set(), [name]
    while pending:
        value = pending.pop()
        if value in makers and value not in found:
            found.add(value)
            pending += makers[value].input
    return found


def _own_dequantisers(rest: list[Any], makers: dict[str, Any], needed: set[str]) -> list[Any]:
    """Copies, for the branch, of the dequantising nodes outside that it reads.

    An engine that computes in 8 bits looks for them beside the nodes that read them.
    """
    copies: dict[str, Any] = {}
    for node in rest:
        for position, name in enumerate(node.input):
            if name in needed and makers[name].op_type == "DequantizeLinear":
                if name not in copies:
                    copies[name] = type(node)()
                    copies[name].CopyFrom(makers[name])
                    copies[name].output[0], copies[name].name = _in_branch(name), _in_branch(makers[name].name)
                node.input[position] = _in_branch(name)
    return list(copies.values())


def _blank_maps(onnx: Any, outputs: list[Any]) -> Any:
    """The branch for frames without text: maps of the same size without any."""
    make = onnx.helper
    nodes = [
        make.make_node("Shape", [INPUT], ["count"], start=0, end=1),
        make.make_node("Shape", [INPUT], ["pixels"], start=2),
        make.make_node("Div", ["pixels", "stride"], ["cells"]),
    ]
    numbers = {"stride": STRIDE} | {f"{name}_channels": HEADS[name] for name in OUTPUTS}
    for output, name in zip(outputs, OUTPUTS, strict=True):
        value = onnx.numpy_helper.from_array(np.array([_BLANK[name]], np.float32))
        nodes += [
            make.make_node("Concat", ["count", f"{name}_channels", "cells"], [f"{name}_shape"], axis=0),
            make.make_node("ConstantOfShape", [f"{name}_shape"], [output.name], value=value),
        ]
    constants = [onnx.numpy_helper.from_array(np.array([value], np.int64), name) for name, value in numbers.items()]
    return make.make_graph(nodes, "blank", [], outputs, constants)


def _in_branch(name: str) -> str:
    """A name of its own for what exists outside the branches, too."""
    return f"{name}_in_branch"


def _renamed(output: Any) -> Any:
    """The description of a graph's output as a branch's."""
    copy = type(output)()
    copy.CopyFrom(output)
    copy.name = _in_branch(output.name)
    return copy
