"""A network -> an exported file: ONNX, OpenVINO or TorchScript.

BatchNorms are folded into the convolutions. The input is (N, 3, H, W) float32, normalised; N, H and W are free (H and W
multiples of 32) unless the description has a fixed size.
"""

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from utils.deploy.file_info import INPUT, OUTPUTS, SECTION, TEXT, ExportedInfo
from utils.deploy.rejecting import add_rejection
from utils.errors import UserError
from utils.maps import SIZE_MULTIPLE
from utils.network.base import TextNetwork
from utils.network.inference import for_inference
from utils.network.rejector import RejectingNetwork, Rejector
from utils.runtime.optional import import_optional

OPSET = 18
"""Default version of ONNX's operators."""

_MOST_PICTURES, _MOST_CELLS = 1024, 512
"""Limits of N, and of H and W in multiples of 32, that the exporter is given for free dimensions."""


def export(
    network: TextNetwork | RejectingNetwork, info: ExportedInfo, path: Path, file_format: str, opset: int = OPSET
) -> None:
    """Write a network to `path`, with its rejector as one more output. Raises `MissingPackage`, `UserError`.

    file_format: one of `EXPORTERS`; the file for openvino is an ONNX file, see `finish`.
    """
    folded = for_inference(network).to(memory_format=torch.contiguous_format)
    EXPORTERS[file_format](folded, info, path, opset)


def _export_onnx(network: torch.nn.Module, info: ExportedInfo, path: Path, opset: int) -> None:
    onnx = import_optional("onnx", "exporting to ONNX")
    import_optional("onnxscript", "exporting to ONNX")
    dynamic = None
    if info.size is None:
        dim = torch.export.Dim
        height, width = (SIZE_MULTIPLE * dim(name, min=1, max=_MOST_CELLS) for name in ("h", "w"))
        dynamic = ({0: dim("batch", min=1, max=_MOST_PICTURES), 2: height, 3: width},)
    with _quiet():
        program = torch.onnx.export(
            network,
            (_example(info),),
            dynamo=True,
            dynamic_shapes=dynamic,
            input_names=[INPUT],
            output_names=[*OUTPUTS, TEXT] if isinstance(network, RejectingNetwork) else list(OUTPUTS),
            opset_version=opset,
            verbose=False,
        )
    assert program is not None  # with dynamo=True
    model = program.model_proto
    _remove_traces(model)
    onnx.helper.set_model_props(model, info.properties())
    onnx.save(model, path)


def _remove_traces(model: Any) -> None:
    """Remove what the exporter notes about its own machine: stack traces with paths, names of Python objects."""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        part.doc_string = ""
        del part.metadata_props[:]


def with_tensors(source: Path, network: TextNetwork, path: Path) -> None:
    """Write the ONNX file `source`, of any network of any size, with the tensors of another network.

    Their channel plans may differ: no other part of such a file depends on the plan.
    """
    onnx = import_optional("onnx", "exporting to ONNX")
    model, tensors = onnx.load(source), for_inference(network).state_dict()
    for each in model.graph.initializer:
        if each.name in tensors:
            each.CopyFrom(onnx.numpy_helper.from_array(tensors[each.name].numpy(force=True), each.name))
    del model.graph.value_info[:]  # shapes between the operators
    onnx.save(model, path)


def finish(path: Path, info: ExportedInfo, rejector: Rejector | None, file_format: str) -> Path:
    """The file as it is published: of a plain ONNX file, one that rejects frames, and OpenVINO's form."""
    if rejector:
        path, source = path.with_stem(f"{path.stem}_rejecting"), path
        info = add_rejection(source, path, info, rejector.threshold)
    if file_format == "openvino":
        path, source = path.with_suffix(".xml"), path
        onnx_to_openvino(import_optional("openvino", "exporting to OpenVINO", "openvino"), source, info, path)
    return path


def onnx_to_openvino(openvino: Any, source: Path, info: ExportedInfo, path: Path) -> None:
    """Convert an ONNX file; writes `path`, which ends with .xml, and the weights beside it."""
    model = openvino.convert_model(source)
    for name, value in info.properties().items():
        model.set_rt_info(value, [SECTION, name])
    openvino.save_model(model, path, compress_to_fp16=False)


def _export_torchscript(network: torch.nn.Module, info: ExportedInfo, path: Path, opset: int) -> None:
    with _quiet(), torch.no_grad():
        traced = torch.jit.trace(network, _example(info), check_trace=False)
        torch.jit.save(traced, str(path), _extra_files={f"{SECTION}.json": json.dumps(info.properties())})


EXPORTERS: dict[str, Callable[[torch.nn.Module, ExportedInfo, Path, int], None]] = {
    "onnx": _export_onnx,
    "openvino": _export_onnx,
    "torchscript": _export_torchscript,
}
"""Format -> the function that writes it."""


def _example(info: ExportedInfo) -> torch.Tensor:
    """An input to trace the network with. One of a single picture or cell would make the exporter take it as fixed."""
    return torch.zeros(1, 3, *info.size) if info.size else torch.zeros(2, 3, 3 * SIZE_MULTIPLE, 4 * SIZE_MULTIPLE)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """A context without the exporter's progress messages and warnings; its errors become `UserError`."""
    output, level = io.StringIO(), logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(output):
            warnings.simplefilter("ignore")
            yield
    except (TypeError, AttributeError) as error:
        if "dynamic_shapes" not in str(error) and "dynamo" not in str(error):
            raise
        raise UserError(f"exporting needs PyTorch 2.6 or later, this is {torch.__version__}; update it") from None
    finally:
        logging.disable(level)
