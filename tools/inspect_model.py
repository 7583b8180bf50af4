"""Show what an exported file is: input, defaults, size, operators, share of int8 weights.

    python3 -m tools.inspect_model model.onnx

Reading an ONNX file needs the package `onnx`; OpenVINO and TorchScript files show their description only.
"""

import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from utils.deploy.file_info import FORMATS, ExportedInfo, megabytes_of, read_info
from utils.errors import UserError, run_script
from utils.options.parser import Parser, nonempty_path
from utils.runtime.optional import import_optional


def build_parser() -> Parser:
    parser = Parser(__doc__)
    parser.add_argument("file", type=nonempty_path, metavar="FILE", help="a file that export.py wrote")
    return parser


def describe(info: ExportedInfo) -> Iterator[tuple[str, str]]:
    """Names and values of the file's description."""
    shape = f"(1, 3, {info.size[0]}, {info.size[1]})" if info.size else "(N, 3, H, W), H and W multiples of 32"
    yield "input", f"{shape}, float32"
    yield "defaults", f"short side {info.short_side}, score threshold {info.score_threshold:g}"
    yield "normalisation", f"(value / 255 - mean) / std, mean {info.mean}, std {info.std}, RGB"
    yield "precision", info.precision
    if info.reject_below is not None:
        yield "rejector", f"frames with a probability of text below {info.reject_below:.4f} are rejected"
    widths = sorted(set(info.plan.values()))
    yield "channel plan", f"{sum(info.plan.values()):,} channels, groups of {widths[0]} to {widths[-1]}"
    yield "checkpoint", f"SHA-256 {info.checkpoint}"


def count_operators(path: Path) -> Iterator[tuple[str, str]]:
    """Operators by number, and the weights by type, of an ONNX file."""
    onnx = import_optional("onnx", f"the operators of {path}")
    model = onnx.load(path)
    graphs = [*all_graphs(model.graph)]
    operators = Counter(node.op_type for graph in graphs for node in graph.node)
    yield "opset", ", ".join(str(each.version) for each in model.opset_import if not each.domain)
    yield "operators", ", ".join(f"{count} {name}" for name, count in operators.most_common())
    yield "weights", weights_by_type(onnx, graphs)


def all_graphs(graph: Any) -> Iterator[Any]:
    """A graph and the branches of its nodes, such as those of a network with a rejector."""
    yield graph
    for branch in (attribute.g for node in graph.node for attribute in node.attribute if attribute.HasField("g")):
        yield from all_graphs(branch)


def weights_by_type(onnx: Any, graphs: list[Any]) -> str:
    """The tensors that convolutions multiply with, by type: their number and share."""
    tensors = {each.name: each for graph in graphs for each in graph.initializer}
    nodes = [node for graph in graphs for node in graph.node]
    producers = {name: node for node in nodes for name in node.output}
    counts: Counter[str] = Counter()
    for node in nodes:
        if node.op_type == "Conv":
            name = node.input[1]
            if name not in tensors:  # quantised: a DequantizeLinear of an int8 tensor
                name = producers[name].input[0]
            kind = onnx.TensorProto.DataType.Name(tensors[name].data_type).lower()
            counts[kind] += math.prod(tensors[name].dims)
    total = sum(counts.values())
    return ", ".join(f"{count:,} {kind} ({count / total:.1%})" for kind, count in counts.most_common())


def main() -> None:
    path = build_parser().parse_args().file
    if path.suffix.lower() not in FORMATS:
        raise UserError(f"{path}: expected a name that ends with {' or '.join(FORMATS)}")
    info = read_info(path)
    rows = [("file", f"{path}, {megabytes_of(path):.1f} MB"), *describe(info)]
    if path.suffix.lower() == ".onnx":
        rows += count_operators(path)
    for name, value in rows:
        print(f"{name:15}{value}")


if __name__ == "__main__":
    run_script(main)
