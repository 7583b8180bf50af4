"""Whole processes of `detect.py`: seconds until the detector is ready, of one picture, of a video; peak memory."""

import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from utils.data.video import VideoReader
from utils.errors import UserError

ROOT = Path(__file__).resolve().parent.parent
SHORT_SIDE = "736"

START = """
import resource, subprocess, sys, time
start = time.perf_counter()
code = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL)
print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)
"""
"""Starts a command from a small process: a command's peak memory includes that of the process that forks it."""

LOAD = "import sys, detect; detect.load_detector(sys.argv[1], short_side=int(sys.argv[2]), backend=sys.argv[3] or None)"


class Network(NamedTuple):
    """A file and what runs it."""

    path: Path
    backend: str = ""


class Usage(NamedTuple):
    """What processes take, at a short side of 736."""

    ready: float
    """Seconds until the detector of a new process can detect."""
    picture: float
    """Seconds of a process for one picture."""
    megabytes: float
    """Its peak memory."""
    frames_per_second: float | None
    """Of a process for a video, its words written but no video; None without a video."""

    def row(self) -> list[str]:
        """The cells of a table."""
        rate = "" if self.frames_per_second is None else f"{self.frames_per_second:.1f}"
        return [f"{self.ready:.2f}", f"{self.picture:.2f}", f"{self.megabytes:.0f}", rate]


HEADER = ["whole process at 736", "ready, s", "one picture, s", "MB", "video, frames/s"]


def measure_processes(networks: dict[str, Network], picture: Path, video: Path | None, turns: int) -> dict[str, Usage]:
    """Medians over processes that take turns, by the networks' names."""
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in networks}
    for _ in range(turns):
        for name, network in networks.items():
            load = [sys.executable, "-c", LOAD, str(network.path.resolve()), SHORT_SIDE, network.backend]
            ready, _ = run(load, network.path)
            found[name].append((ready, *detect(network, picture)))
    rates = {name: frames_per_second(network, video) if video else None for name, network in networks.items()}
    usages = {}
    for name, measured in found.items():
        ready, seconds, megabytes = zip(*measured, strict=True)
        usages[name] = Usage(statistics.median(ready), statistics.median(seconds), max(megabytes), rates[name])
    return usages


def frames_per_second(network: Network, video: Path) -> float:
    with VideoReader(video) as reader:
        frames = sum(1 for _ in reader.frames())
    return frames / detect(network, video)[0]


def detect(network: Network, source: Path) -> tuple[float, float]:
    """Seconds, and peak memory in MB, of a detect.py process."""
    with tempfile.TemporaryDirectory() as folder:
        line = [sys.executable, "detect.py", "--pretrain-model", str(network.path.resolve()), "--ngpus", "0"]
        line += ["--backend", network.backend] if network.backend else []
        line += ["--short-side", SHORT_SIDE, "--no-pictures", "--output-dir", folder, str(source.resolve())]
        return run(line, source)


def run(line: list[str], file: Path) -> tuple[float, float]:
    """Seconds, and peak memory in MB, of a command. Raises `UserError` if it fails."""
    process = subprocess.run([sys.executable, "-c", START, *line], cwd=ROOT, capture_output=True, text=True)
    if process.returncode:
        raise UserError(f"{file}: a process of detect.py ended with an error: {process.stderr.strip()}")
    seconds, kilobytes = map(float, process.stdout.split()[-2:])
    return seconds, kilobytes / 1024
