"""Milliseconds of networks in engines: each in a process of its own, the processes take turns."""

import contextlib
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from utils.deploy.detectors import is_exported
from utils.deploy.engines import EngineSettings, open_engine, openvino_core
from utils.deploy.file_info import read_info
from utils.errors import UserError
from utils.runtime.optional import import_optional

SIZES = (288, 512), (736, 1312)
RUNS = 3
"""Runs in a turn, of which the median counts."""

ISA = "ONEDNN_MAX_CPU_ISA"
"""The variable that limits the instructions of PyTorch and OpenVINO. ONNX Runtime's own kernels have none."""

Run = Callable[[np.ndarray], object]


class Contender(NamedTuple):
    """A network in an engine."""

    name: str
    path: Path
    engine: str
    """pytorch, onnxruntime or openvino."""
    precision: str = ""
    isa: str = ""
    """The newest instructions that the engine may use; empty: all."""

    def __str__(self) -> str:
        """The name of its row."""
        parts = self.engine, self.precision, self.isa and f"up to {self.isa}"
        return f"{self.name}, {' '.join(filter(None, parts))}"


Times = dict[Contender, dict[tuple[int, int], float]]
"""Milliseconds by contender, then by size."""


def is_ours(path: Path) -> bool:
    """Whether `detect.py` can run a file."""
    try:
        return not is_exported(path) or bool(read_info(path))
    except UserError:
        return False


def measure_turns(contenders: list[Contender], threads: int, turns: int) -> Times:
    """Median milliseconds over the turns."""
    context = multiprocessing.get_context("spawn")
    workers: list[tuple[Contender, Any, Connection]] = []
    found: dict[Contender, dict[tuple[int, int], list[float]]] = {}
    for each in contenders:
        ours, theirs = context.Pipe()
        process = context.Process(target=serve, args=(theirs, each, threads), daemon=True)
        with _limited_to(each.isa):
            process.start()
        theirs.close()
        workers.append((each, process, ours))
    for each, _, pipe in workers:
        if reason := receive(pipe, each):
            raise UserError(reason)
        found[each] = {size: [] for size in SIZES}
    for _ in range(turns):
        for size in SIZES:
            for each, _, pipe in workers:
                pipe.send(size)
                found[each][size].append(receive(pipe, each))
    for _, process, pipe in workers:
        pipe.send(None)
        process.join()
    return {each: {size: statistics.median(all_) for size, all_ in sizes.items()} for each, sizes in found.items()}


@contextlib.contextmanager
def _limited_to(isa: str) -> Iterator[None]:
    """A context in which processes start with these instructions as their newest ones."""
    before = os.environ.get(ISA)
    if isa:
        os.environ[ISA] = isa
    try:
        yield
    finally:
        if isa:
            del os.environ[ISA]
        if before is not None:
            os.environ[ISA] = before


def receive(pipe: Connection, contender: Contender):
    """What a worker sends. Raises `UserError` if its process has ended."""
    try:
        return pipe.recv()
    except EOFError:
        raise UserError(f"{contender.path}: {contender.engine} cannot run it; its process has ended") from None


def serve(pipe: Connection, contender: Contender, threads: int) -> None:
    """A worker process: for each size that it receives, it sends the median milliseconds of a turn."""
    try:
        run = open_network(contender, threads)
    except Exception as error:  # each package has its own exceptions
        text = str(error).strip() or type(error).__name__
        pipe.send(f"{contender.path}: {contender.engine} cannot load it ({text.splitlines()[0]})")
        return
    pipe.send(None)
    rng, warm = np.random.default_rng(0), set()
    while size := pipe.recv():
        images = rng.standard_normal((1, 3, *size), np.float32)
        if size not in warm:
            run(images)
            warm.add(size)
        times = []
        for _ in range(RUNS):
            start = time.perf_counter()
            run(images)
            times.append(1000 * (time.perf_counter() - start))
        pipe.send(statistics.median(times))


def open_network(contender: Contender, threads: int) -> Run:
    """What runs a network on normalised pictures (N, 3, H, W)."""
    path = contender.path
    if contender.engine == "pytorch":
        return open_checkpoint(path, threads)
    if is_ours(path):
        engine = open_engine(path, read_info(path), EngineSettings(contender.engine, threads))
        return lambda images: engine.run(images, 0.0)
    if contender.engine == "openvino":
        settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
        request = openvino_core().compile_model(str(path), "CPU", settings).create_infer_request()
        return lambda images: request.infer({0: images})
    ort = import_optional("onnxruntime", str(path))
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda images: session.run(None, {name: images})


def open_checkpoint(path: Path, threads: int) -> Run:
    """A checkpoint's network as `detect.py` runs it."""
    import torch

    from utils.checkpoint import load_model
    from utils.network.inference import for_inference

    torch.set_num_threads(threads)
    network = for_inference(load_model(path)[0])

    @torch.inference_mode()
    def run(images: np.ndarray) -> object:
        return network(torch.from_numpy(images).contiguous(memory_format=torch.channels_last))

    return run
