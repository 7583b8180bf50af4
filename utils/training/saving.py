"""The checkpoints of a run: last.pt, epoch_N.pt, best.pt and ema.pt."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from utils.checkpoint import plain_arguments, rng_state, save_checkpoint
from utils.runtime.files import link_or_copy
from utils.training.run import Run


class Saver:
    """Writes a run's checkpoints into its folder.

    arguments: the run's options, which --resume reads from the checkpoint. epoch_every: N of the epoch_N.pt to keep;
    0 for none. seconds: time between checkpoints within an epoch.
    """

    def __init__(self, folder: Path, arguments: Mapping[str, object], epoch_every: int = 1, seconds: float = 900):
        self.folder, self.epoch_every, self.seconds = folder, epoch_every, seconds
        self.arguments = plain_arguments(arguments)

    def save(self, run: Run) -> None:
        """Write last.pt within an epoch."""
        self._write(run, None, [], is_best=False)

    def save_epoch(self, run: Run, row: Mapping[str, object], is_best: bool) -> None:
        """Write last.pt, epoch_N.pt, of the best epoch best.pt, and the averaged weights, ema.pt, after an epoch.

        row: its line of results.csv. With averaged weights, best.pt holds those.
        """
        epoch = run.progress.epoch
        names = [f"epoch_{epoch}.pt"] if self.epoch_every and epoch % self.epoch_every == 0 else []
        self._write(run, row, names, is_best)

    def _write(self, run: Run, row: Mapping[str, object] | None, names: list[str], is_best: bool) -> None:
        """Write nothing while steps are being skipped, or if weights are not finite: last.pt stays usable."""
        learner, progress = run.learner, run.progress
        if progress.skipped_in_a_row or not all(bool(torch.isfinite(p).all()) for p in learner.model.parameters()):
            print(f"not saved: the last {max(progress.skipped_in_a_row, 1)} steps were not finite", flush=True)
            run.is_saved = False
            return
        contents: dict[str, Any] = {
            "optimizer": learner.optimizer.state_dict(),
            "scheduler": learner.schedule.state_dict(),
            "scaler": learner.scaler.state_dict(),
            "ema": learner.ema.state_dict() if learner.ema else None,
            "rng": rng_state(),
            "epoch": progress.epoch,
            "step": progress.step,
            "progress": progress.gathered,
            "best_score": progress.best_score,
            "arguments": self.arguments,
            "metrics": row if row is not None else progress.last_row,
        }
        if learner.ema and row is not None:
            average = self.folder / "ema.pt"
            save_checkpoint(average, learner.model, weights=learner.ema.module, **contents)
            if is_best:
                link_or_copy(average, self.folder / "best.pt")
        elif is_best:
            names = [*names, "best.pt"]
        # last.pt is written last: a run that is killed in between repeats the end of the epoch with the same numbers
        first, *others = [self.folder / name for name in (*names, "last.pt")]
        save_checkpoint(first, learner.model, **contents)
        for other in others:
            link_or_copy(first, other)
        run.is_saved = True
