"""What a benchmark reports beside its figures: the machine; tables as Markdown."""

import platform
from pathlib import Path

from utils.runtime.cores import available_cores


def as_markdown(rows: list[list[str]]) -> str:
    rule = ["---", *["---:"] * (len(rows[0]) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (rows[0], rule, *rows[1:]))


def describe_machine() -> str:
    """The processor's name and the number of cores that this process can use."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    return f"{name}, {available_cores()} core{'s' * (available_cores() != 1)}"
