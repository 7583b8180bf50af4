"""What a run reports after each epoch: results.csv, TensorBoard, a printed line, and once the data's problems."""

from pathlib import Path

from utils.data.problems import Problems
from utils.training.run import Run
from utils.training.run_folder import RESULTS, append_row
from utils.training.summary import Row, describe_row
from utils.training.tensorboard import Board


class EpochLog:
    """Reports epochs. board: with --tensorboard, in the first process."""

    def __init__(self, folder: Path, board: Board | None = None):
        self._folder, self._board, self._reported = folder, board, False

    def write(self, run: Run, row: Row, is_best: bool) -> None:
        """Record an epoch's line; only the first process calls this."""
        append_row(self._folder / RESULTS, row)
        if self._board:
            self._board.write(run.progress.epoch, row, run.learner.measured)
        print(describe_row(row) + "  (best)" * is_best, flush=True)

    def report(self, run: Run, problems: Problems) -> None:
        """Print what was left out or repaired in the first epoch with such images; all processes call this."""
        if self._reported:
            return
        (found,) = run.ranks.sum([float(bool(problems))])
        if found:
            self._reported = True
            everywhere = Problems.together(run.ranks.gather(problems))
            run.ranks.print(f"left out or repaired while reading, in this epoch:\n{everywhere}")
