"""Fine-tuning between the steps of a gradual pruning: `train_sample.py` in a process of its own."""

import signal
import subprocess
import sys
from pathlib import Path

from utils.errors import UserError

_SCRIPT = Path(__file__).resolve().parents[2] / "train_sample.py"


def step_folder(folder: Path, step: int) -> Path:
    """The folder of the pruning and the fine-tuning number `step`, from 1, in the folder of a gradual pruning."""
    return folder / f"step{step}"


def fine_tune(checkpoint: Path, line: list[str], folder: Path) -> Path:
    """Train a pruned checkpoint with the options `line`; returns the best checkpoint, or the last one without --val.

    Raises `UserError` if the training fails or is interrupted.
    """
    command = [sys.executable, str(_SCRIPT), *line, "--pretrain-model", str(checkpoint)]
    command += ["--continue-training", "--prune", "--save-dir", str(folder)]
    process = subprocess.Popen(command)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # the training handles Ctrl-C: it saves first
    try:
        code = process.wait()
    finally:
        signal.signal(signal.SIGINT, before)
    if code:
        raise UserError(f"fine-tuning in {folder} ended with exit code {code}; its own message is above")
    best = folder / "best.pt"
    return best if best.exists() else folder / "last.pt"
