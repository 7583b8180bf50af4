"""What runs an exported network: ONNX Runtime, OpenVINO, OpenCV, or PyTorch for TorchScript.

Each engine is imported only when it is used. An engine maps (N, 3, H, W) float32, normalised, to the arrays of a
`utils.maps.Prediction`. Of a network with a rejector, it takes the probability below which frames are rejected, too,
and its last array is the probabilities of text (N,).
"""

import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from utils.deploy.file_info import FORMATS, INPUT, OUTPUTS, REJECT_BELOW, TEXT, ExportedInfo
from utils.errors import UserError
from utils.runtime.cores import choose_threads
from utils.runtime.optional import import_optional

Run = Callable[[np.ndarray, float], list[np.ndarray]]


class Engine(NamedTuple):
    """A network, ready to run."""

    run: Run
    name: str
    """The package and its version."""


class EngineSettings(NamedTuple):
    """What runs an exported file."""

    backend: str | None = None
    """One of `BACKENDS`; None takes the first that reads the file's format."""
    threads: int | None = None
    """On the CPU; None for one per core."""


DEFAULT_ENGINE = EngineSettings()


def open_engine(path: Path, info: ExportedInfo, settings: EngineSettings) -> Engine:
    """The engine for an exported file.

    Raises `UserError` if the backend does not run this file, `MissingPackage` if it is not installed.
    """
    file_format = FORMATS[path.suffix.lower()]
    able = [name for name, (formats, _) in BACKENDS.items() if file_format in formats]
    backend = settings.backend or able[0]
    if backend not in able:
        raise UserError(f"{path}: the backend {backend} does not read {file_format} files; choose {' or '.join(able)}")
    return BACKENDS[backend][1](path, info, choose_threads(settings.threads).number)


def _open_onnxruntime(path: Path, info: ExportedInfo, threads: int) -> Engine:
    ort = import_optional("onnxruntime", str(path), "onnxruntime")
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # errors only
    options.enable_mem_pattern = False  # else it takes a second block of memory from the second picture on
    for pool in ("intra_op", "inter_op"):  # waiting threads that spin take the CPU from everything else
        options.add_session_config_entry(f"session.{pool}.allow_spinning", "0")
    session = _load(path, lambda: ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"]))

    def run(images: np.ndarray, reject_below: float) -> list[np.ndarray]:
        return session.run(_outputs(info), _inputs(info, images, reject_below))

    return Engine(run, f"ONNX Runtime {ort.__version__}")


def _open_openvino(path: Path, info: ExportedInfo, threads: int) -> Engine:
    openvino = import_optional("openvino", f"{path} with OpenVINO", "openvino")
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",  # else bf16, less accurate, where the CPU has it
        "INFERENCE_NUM_THREADS": threads,
    }
    compiled = _load(path, lambda: openvino_core().compile_model(str(path), "CPU", settings))
    request = compiled.create_infer_request()

    def run(images: np.ndarray, reject_below: float) -> list[np.ndarray]:
        found = request.infer(_inputs(info, images, reject_below), share_inputs=True)
        return [found[name] for name in _outputs(info)]

    return Engine(run, f"OpenVINO {openvino.__version__.split('-')[0]}")


@cache
def openvino_core() -> Any:
    """OpenVINO's one `Core` of this process.

    Two of them crash the process (seen with OpenVINO 2026.4): each sets the stack on which signals are handled, and
    puts the one before it back when it ends, whether that still exists or not. The next signal is then fatal.
    """
    return import_optional("openvino", "the backend openvino", "openvino").Core()


def _open_opencv(path: Path, info: ExportedInfo, threads: int) -> Engine:
    if info.precision != "float32":
        raise UserError(
            f"{path}: OpenCV computes wrong distances with int8 networks, without an error; "
            "choose the backend onnxruntime, or export without --int8"
        )
    if info.size is None:
        raise UserError(f"{path}: OpenCV runs networks of a fixed size only; export it with --size H W")
    if info.reject_below is not None:
        raise UserError(f"{path}: OpenCV runs no networks with a rejector; export it with --no-rejector")
    cv2.setNumThreads(threads)
    network = _load(path, lambda: cv2.dnn.readNetFromONNX(str(path)))

    def run(images: np.ndarray, reject_below: float) -> list[np.ndarray]:
        network.setInput(images)
        return list(network.forward(list(OUTPUTS)))

    return Engine(run, f"OpenCV {cv2.__version__}")


def _open_torchscript(path: Path, info: ExportedInfo, threads: int) -> Engine:
    torch = import_optional("torch", str(path), "torch")
    torch.set_num_threads(threads)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer versions of PyTorch advise another format
        network = _load(path, lambda: torch.jit.load(str(path), "cpu").eval())

    def run(images: np.ndarray, reject_below: float) -> list[np.ndarray]:
        with torch.inference_mode():
            return [maps.numpy() for maps in network(torch.from_numpy(images))]

    return Engine(run, f"TorchScript, PyTorch {torch.__version__}")


def _inputs(info: ExportedInfo, images: np.ndarray, reject_below: float) -> dict[str, np.ndarray]:
    """The inputs of an ONNX or OpenVINO network by name."""
    return {INPUT: images} | ({} if info.reject_below is None else {REJECT_BELOW: np.array(reject_below, np.float32)})


def _outputs(info: ExportedInfo) -> list[str]:
    return [*OUTPUTS] if info.reject_below is None else [*OUTPUTS, TEXT]


def _load(path: Path, load: Callable[[], Any]) -> Any:
    try:
        return load()
    except Exception as error:  # each package has its own exceptions for a damaged file
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise UserError(f"{path}: cannot be loaded ({reason[:300]}); export the checkpoint again") from None


BACKENDS = {
    "onnxruntime": (("onnx",), _open_onnxruntime),
    "openvino": (("openvino", "onnx"), _open_openvino),
    "opencv": (("onnx",), _open_opencv),
    "torchscript": (("torchscript",), _open_torchscript),
}
"""Name -> the formats that it reads, and the function that opens it."""
