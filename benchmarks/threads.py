"""How long PyTorch's threads should spin: alone, beside a process of its kind, beside a training, on the same cores.

    python3 -m benchmarks.threads                                  # inference and training, all settings
    python3 -m benchmarks.threads --work inference --spin default 10000 3000 --rounds 5

Settings of GOMP_SPINCOUNT are measured in turn, round by round, so that a machine that becomes slower affects all of
them. Run it on an idle machine. Prints the median of all rounds: milliseconds of an inference or of a training step.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

from utils.errors import run_script
from utils.options.parser import Parser, flag, nonempty_text, number, option, whole_number
from utils.runtime import spinning
from utils.runtime.tables import format_table

SPINS = ["default", "30000", "10000", "5000", "3000", "1000", "passive"]
WORKS = "inference", "training"


def build_parser() -> Parser:
    parser = Parser(__doc__)
    option(parser, "--work NAME", str, list(WORKS), "what is measured", nargs="+", choices=WORKS)
    text = "settings: default, passive (OMP_WAIT_POLICY=PASSIVE), or a GOMP_SPINCOUNT"
    option(parser, "--spin SETTING", nonempty_text, SPINS, text, nargs="+")
    option(parser, "--rounds N", whole_number(1), 5, "rounds over all settings")
    option(parser, "--seconds S", number(0.1), 4.0, "duration of a measurement")
    option(parser, "--width SHARE", number(0.01, 1), 0.375, "width of the network, a share of the original's")
    option(parser, "--size H W", whole_number(32), [288, 512], "size of the input in pixels")
    flag(parser, "--endless", "with --measure, go on until the process is killed")
    option(parser, "--measure NAME", str, None, "measure in this process and print the median", choices=WORKS)
    return parser


def main(args: argparse.Namespace) -> None:
    if args.measure:
        print(measure(args))
        return
    for work in args.work:
        neighbours = {"two at once": work} | ({"beside a training": "training"} if work == "inference" else {})
        times: dict[tuple[str, str], list[float]] = {}
        for _ in range(args.rounds):
            for spin in args.spin:
                for name in ("alone", *neighbours):
                    neighbour = neighbours.get(name)
                    times.setdefault((spin, name), []).append(run_processes(args, work, spin, neighbour))
        rows = [["spin", "alone ms", *(part for name in neighbours for part in (f"{name} ms", "slower"))]]
        for spin in args.spin:
            alone, *others = (statistics.median(times[spin, name]) for name in ("alone", *neighbours))
            compared = (part for other in others for part in (f"{other:.1f}", f"{other / alone:.1f}x"))
            rows.append([spin, f"{alone:.1f}", *compared])
        print(f"{work}, width {args.width:g}, {args.size[0]}x{args.size[1]}\n{format_table(rows)}\n", flush=True)


def run_processes(args: argparse.Namespace, work: str, spin: str, neighbour: str | None) -> float:
    """The median of a process in milliseconds; of two that do the same work, that of the slower one: one may starve.

    A training beside an inference has train_sample.py's setting.
    """
    if neighbour in (None, work):
        processes = [start_process(args, work, spin) for _ in range(1 if neighbour is None else 2)]
        return max(float(process.communicate()[0]) for process in processes)
    other = start_process(args, neighbour, str(spinning.TRAINING), endless=True)
    assert other.stdout
    other.stdout.readline()
    try:
        return float(start_process(args, work, spin).communicate()[0])
    finally:
        other.kill()
        other.communicate()


def start_process(args: argparse.Namespace, work: str, spin: str, endless: bool = False) -> subprocess.Popen:
    """A process that measures, or with `endless` works, and prints to its pipe."""
    names = {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"}
    environment = {name: value for name, value in os.environ.items() if name not in names}
    if spin == "passive":
        environment["OMP_WAIT_POLICY"] = "PASSIVE"
    elif spin != "default":
        environment["GOMP_SPINCOUNT"] = spin
    options = ["--seconds", args.seconds, "--width", args.width, "--size", *args.size]
    command = [sys.executable, "-m", "benchmarks.threads", "--measure", work, *map(str, options)]
    command += ["--endless"] if endless else []
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def measure(args: argparse.Namespace) -> float:
    """The median time of an inference or a training step in this process, in milliseconds."""
    work = prepare_inference(args) if args.measure == "inference" else prepare_training(args)
    work()
    while args.endless:
        print("a step is done", flush=True)
        work()
    times: list[float] = []
    end = time.perf_counter() + args.seconds
    while time.perf_counter() < end or len(times) < 3:
        start = time.perf_counter()
        work()
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times)


def prepare_inference(args: argparse.Namespace) -> Callable[[], object]:
    """A function that detects on one input."""
    import torch  # the setting is in the environment of this process only

    from model_pruned import FOTSModelPruned
    from utils.network.channels import uniform_plan

    torch.manual_seed(0)
    network = FOTSModelPruned(uniform_plan(args.width)).eval().to(memory_format=torch.channels_last)
    images = torch.randn(1, 3, *args.size).contiguous(memory_format=torch.channels_last)

    def work() -> object:
        with torch.inference_mode():
            return network(images)

    return work


def prepare_training(args: argparse.Namespace) -> Callable[[], object]:
    """A function that takes one training step of 4 inputs, with the loss of the network's maps alone."""
    import torch

    from model_pruned import FOTSModelPruned
    from utils.network.channels import uniform_plan

    torch.manual_seed(0)
    network = FOTSModelPruned(uniform_plan(args.width)).train().to(memory_format=torch.channels_last)
    images = torch.randn(4, 3, *args.size).contiguous(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(network.parameters(), fused=True)

    def work() -> object:
        optimizer.zero_grad()
        sum(values.square().mean() for values in network(images)).backward()
        return optimizer.step()

    return work


if __name__ == "__main__":
    run_script(lambda: main(build_parser().parse_args()))
