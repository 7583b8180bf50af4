"""Networks in PyTorch, ONNX Runtime and OpenVINO, float and int8: milliseconds, start-up and memory.

    python3 -m benchmarks.deploy narrow=weights/narrow.pt narrow=narrow.onnx narrow-int8=narrow8.onnx --picture a.jpg
    ONEDNN_MAX_CPU_ISA=AVX2 python3 -m benchmarks.deploy ...          # PyTorch and OpenVINO without VNNI

Each network runs in each engine in a process of its own. The processes take turns, so that a change of the machine's
speed affects all of them; medians over the turns are shown, of the network alone, on one picture. A checkpoint runs as
`detect.py` runs it. An ONNX file that export.py did not write, such as PP-OCR's, needs one input (N, 3, H, W). With
--picture, the time and the peak memory of a whole `detect.py` process are measured, too.
"""

import argparse
import json
import multiprocessing
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.detectors import as_markdown, describe_machine
from utils.deploy.detectors import is_exported
from utils.deploy.engines import EngineSettings, open_engine
from utils.deploy.file_info import read_info
from utils.errors import UserError, run_script
from utils.options.parser import Parser, nonempty_path, option, whole_number
from utils.runtime.cores import available_cores
from utils.runtime.optional import MissingPackage, import_optional
from utils.runtime.tables import format_table

ROOT = Path(__file__).resolve().parent.parent
SIZES = (288, 512), (736, 1312)
ENGINES = "onnxruntime", "openvino"
RUNS = 3
"""Runs in a turn, of which the median counts."""

START = """
import resource, subprocess, sys, time
start = time.perf_counter()
code = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL)
print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)
"""
"""Starts a command from a small process: a command's peak memory includes that of the process that forks it."""

Run = Callable[[np.ndarray], object]


class Contender(NamedTuple):
    """A network in an engine."""

    name: str
    path: Path
    engine: str


def build_parser() -> Parser:
    parser = Parser(__doc__)
    text = "checkpoints and ONNX files, each with the name of its row"
    parser.add_argument("networks", type=named_file, nargs="+", metavar="NAME=FILE", help=text)
    threads = [count for count in (1, 2) if count <= available_cores()]
    option(parser, "--threads N", whole_number(1), threads, "threads that times are measured with", nargs="+")
    option(parser, "--turns N", whole_number(1), 15, "how often each network has its turn")
    text = "a picture that whole processes of detect.py read, at a short side of 736"
    option(parser, "--picture FILE", nonempty_path, None, text)
    option(parser, "--json FILE", nonempty_path, None, "write all figures to this file")
    option(parser, "--markdown FILE", nonempty_path, None, "write the tables to this file")
    return parser


def named_file(text: str) -> tuple[str, Path]:
    """Argument type: NAME=FILE."""
    name, equals, path = text.partition("=")
    if not (name and equals and path):
        raise argparse.ArgumentTypeError(f"{text!r}; expected NAME=FILE")
    return name, Path(path)


def main() -> None:
    args = build_parser().parse_args()
    if max(args.threads) > available_cores():
        raise UserError(f"--threads {max(args.threads)}: {available_cores()} cores are available; give no more")
    contenders = list_contenders(args.networks)
    times = {str(count): measure_turns(contenders, count, args.turns) for count in args.threads}
    tables = [time_table(times)]
    processes = {}
    if args.picture:
        files = {each.path: each.name for each in contenders if is_ours(each.path)}
        processes = {f"{name}, {path.name}": measure_process(path, args.picture) for path, name in files.items()}
        rows = [[name, f"{seconds:.2f}", f"{megabytes:.0f}"] for name, (seconds, megabytes) in processes.items()]
        tables.append([["one picture at 736, whole process", "s", "MB"], *rows])
    about = f"{describe_machine()}, {args.turns} turns"
    print("\n\n".join([about, *map(format_table, tables)]))
    if args.json:
        report = {"about": about, "milliseconds": times, "processes": processes}
        args.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    if args.markdown:
        args.markdown.write_text("\n\n".join([*map(as_markdown, tables), about]) + "\n", encoding="utf-8")


def list_contenders(networks: list[tuple[str, Path]]) -> list[Contender]:
    """Each checkpoint in PyTorch, each ONNX file in the engines that are installed."""
    found = []
    for name, path in networks:
        engines = ENGINES if path.suffix.lower() == ".onnx" else ("pytorch",)
        found += [Contender(name, path, engine) for engine in engines if is_installed(engine)]
    return found


def is_installed(engine: str) -> bool:
    try:
        import_optional({"pytorch": "torch"}.get(engine, engine), engine)
    except MissingPackage as missing:
        print(f"{engine}: left out. {missing}")
        return False
    return True


def is_ours(path: Path) -> bool:
    """Whether `detect.py` can run a file."""
    try:
        return not is_exported(path) or bool(read_info(path))
    except UserError:
        return False


def measure_turns(contenders: list[Contender], threads: int, turns: int) -> dict[str, dict[str, float]]:
    """Median milliseconds by contender, then by size."""
    context = multiprocessing.get_context("spawn")
    workers: list[tuple[Contender, Any, Connection]] = []
    found: dict[str, dict[str, list[float]]] = {}
    for each in contenders:
        ours, theirs = context.Pipe()
        process = context.Process(target=serve, args=(theirs, each, threads), daemon=True)
        process.start()
        theirs.close()
        workers.append((each, process, ours))
    for each, _, pipe in workers:
        if reason := receive(pipe, each):
            raise UserError(reason)
        found[f"{each.name}, {each.engine}"] = {f"{height}x{width}": [] for height, width in SIZES}
    for _ in range(turns):
        for height, width in SIZES:
            for each, _, pipe in workers:
                pipe.send((height, width))
                found[f"{each.name}, {each.engine}"][f"{height}x{width}"].append(receive(pipe, each))
    for _, process, pipe in workers:
        pipe.send(None)
        process.join()
    return {name: {size: statistics.median(all_) for size, all_ in sizes.items()} for name, sizes in found.items()}


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
        openvino = import_optional("openvino", str(path))
        settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
        request = openvino.Core().compile_model(str(path), "CPU", settings).create_infer_request()
        return lambda images: request.infer({0: images})
    ort = import_optional("onnxruntime", str(path))
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda images: session.run(None, {name: images})


def open_checkpoint(path: Path, threads: int) -> Run:
    import torch

    from utils.checkpoint import load_model
    from utils.network.inference import for_inference

    torch.set_num_threads(threads)
    network = for_inference(load_model(path)[0])

    @torch.inference_mode()
    def run(images: np.ndarray) -> object:
        return network(torch.from_numpy(images).contiguous(memory_format=torch.channels_last))

    return run


def measure_process(path: Path, picture: Path, repeats: int = 5) -> tuple[float, float]:
    """Median seconds, and peak memory in MB, of a detect.py process for one picture."""
    seconds, peaks = [], []
    with tempfile.TemporaryDirectory() as folder:
        line = [sys.executable, "detect.py", "--pretrain-model", str(path.resolve()), "--short-side", "736"]
        line += ["--no-pictures", "--ngpus", "0", "--output-dir", folder, str(picture.resolve())]
        for _ in range(repeats):
            process = subprocess.run([sys.executable, "-c", START, *line], cwd=ROOT, capture_output=True, text=True)
            if process.returncode:
                raise UserError(f"{path}: detect.py ended with an error on {picture}: {process.stderr.strip()}")
            duration, peak = map(float, process.stdout.split()[-2:])
            seconds.append(duration)
            peaks.append(peak / 1024)
    return statistics.median(seconds), max(peaks)


def time_table(times: dict[str, dict[str, dict[str, float]]]) -> list[list[str]]:
    """A row for each network and engine, a column for each size and number of threads."""
    sizes = [f"{height}x{width}" for height, width in SIZES]
    rows = [["ms", *(f"{size}, {count} thread{'s' * (count != '1')}" for size in sizes for count in times)]]
    for name in next(iter(times.values())):
        rows.append([name, *(f"{times[count][name][size]:.1f}" for size in sizes for count in times)])
    return rows


if __name__ == "__main__":
    run_script(main)
