"""The end of an epoch: learning rate, best score, checkpoints, reports."""

from utils.evaluation.validation import Validation
from utils.training.log import EpochLog
from utils.training.run import Run
from utils.training.saving import Saver
from utils.training.summary import Row


def finish_epoch(run: Run, saver: Saver, log: EpochLog, row: Row, validation: Validation | None) -> None:
    """Finish an epoch. row: its line of results.csv. validation: None without --val."""
    progress, problems = run.progress, run.progress.problems
    is_best = False
    if validation:
        problems.update(validation.problems)
        is_best = validation.evaluation.hmean > progress.best_score
        progress.best_score = max(progress.best_score, validation.evaluation.hmean)
    loss = row["val_loss"] if validation else row["train_loss"]
    run.learner.schedule.after_epoch(float(loss))
    progress.epoch, progress.last_row = progress.epoch + 1, row
    progress.start_epoch(run.ranks)
    if run.ranks.is_first:
        saver.save_epoch(run, row, is_best)
        log.write(run, row, is_best)
    log.report(run, problems)
