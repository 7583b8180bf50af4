"""Fine-tuning between the steps of a gradual pruning: `train_sample.py` in a process of its own."""

import signal
import subprocess
import sys
from pathlib import Path

from utils.errors import UserError
from utils.runtime.signals import STOP_SIGNALS

_SCRIPT = Path(__file__).resolve().parents[2] / "train_sample.py"


def step_folder(folder: Path, step: int) -> Path:
    """The folder of the pruning and the fine-tuning number `step`, from 1, in the folder of a gradual pruning."""
    return folder / f"step{step}"


def fine_tune(checkpoint: Path, line: list[str], folder: Path) -> Path:
    """Train a pruned checkpoint with the options `line`; returns the best checkpoint, or the last one without --val.

    Raises `UserError` if the training fails or is interrupted. Signals to stop are passed on to it: it saves and ends.
    """
    command = [sys.executable, str(_SCRIPT), *line, "--pretrain-model", str(checkpoint)]
    command += ["--continue-training", "--prune", "--save-dir", str(folder)]
    process = subprocess.Popen(command)
    before = _pass_on_stops(process)
    try:
        code = process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if code:
        raise UserError(f"fine-tuning in {folder} ended with exit code {code}; its own message is above")
    best = folder / "best.pt"
    return best if best.exists() else folder / "last.pt"


def _pass_on_stops(process: subprocess.Popen) -> dict:
    """Pass the signals to stop on to a process, except Ctrl-C, which it gets itself. Returns the earlier handlers."""

    def forward(number: int, _frame) -> None:
        process.send_signal(number)

    ours = [number for number in STOP_SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
    return {number: signal.signal(number, signal.SIG_IGN if number == signal.SIGINT else forward) for number in ours}
