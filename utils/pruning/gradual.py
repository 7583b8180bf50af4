"""Fine-tuning between the steps of a gradual pruning: `train_sample.py` as a user would start it."""

import signal
import subprocess
import sys
from pathlib import Path

from utils.errors import UserError

_SCRIPT = Path(__file__).resolve().parents[2] / "train_sample.py"


def fine_tune(checkpoint: Path, line: list[str], folder: Path) -> Path:
    """Run a training line on a pruned checkpoint; returns the checkpoint to go on with: the best, if validated.

    Raises `UserError` if it ends otherwise than well.
    """
    command = [sys.executable, str(_SCRIPT), *line, "--pretrain-model", str(checkpoint), "--continue-training",
               "--prune", "--save-dir", str(folder)]  # fmt: skip
    process = subprocess.Popen(command)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the training's: it saves first
    try:
        code = process.wait()
    finally:
        signal.signal(signal.SIGINT, before)
    if code:
        raise UserError(f"fine-tuning in {folder} ended with exit code {code}; its own message is above")
    best = folder / "best.pt"
    return best if best.exists() else folder / "last.pt"


def share_of_step(share: float, step: int, steps: int) -> float:
    """What is left after `step` of `steps` steps that each leave the same share, `share` in the end."""
    return share ** (step / steps)
