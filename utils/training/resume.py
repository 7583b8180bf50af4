"""A run that continues from a checkpoint: an interrupted run, or a new one with a checkpoint's state."""

from collections.abc import Mapping
from pathlib import Path

from utils.checkpoint import arguments_of, load_model, restore_optimizer
from utils.errors import UserError
from utils.network.base import TextNetwork
from utils.training.run import Run
from utils.training.run_folder import RESULTS, repair_results


class RunComplete(UserError):
    """There is nothing to resume: the run has done all its epochs."""


def read_interrupted(folder: Path) -> tuple[TextNetwork, dict]:
    """The network and the other contents of a run's last.pt. Raises `UserError` if it is of no training run."""
    path = folder / "last.pt"
    if not path.exists():
        raise UserError(f"{path}: there is no such file, so no run to resume; check --save-dir, or start a run there")
    model, contents = load_model(path)
    arguments = arguments_of(contents)
    if "last_epoch" not in arguments:
        raise UserError(f"{path}: no checkpoint of a training run; start from it with --pretrain-model {path}")
    return model, contents


def refuse_complete(contents: Mapping, folder: Path) -> None:
    """Raise `RunComplete` if the checkpoint's run has done all its epochs."""
    if contents["epoch"] >= contents["arguments"]["last_epoch"]:
        path = folder / "last.pt"
        raise RunComplete(
            f"{path}: the run is complete, {contents['epoch']} epochs; "
            f"to train further: --pretrain-model {path} --continue-training"
        )


def restore_run(run: Run, contents: Mapping, folder: Path) -> None:
    """Restore everything of an interrupted run, so that it continues with the same numbers."""
    path = folder / "last.pt"
    restore_learner(run, contents, path)
    if not run.learner.schedule.load_state_dict(contents.get("scheduler") or {}) and "scheduler" in contents:
        restart_schedule(run, path)
    restore_scores(run, contents)
    run.progress.restore(contents["step"], contents["progress"], run.ranks)
    run.last_epoch = contents["arguments"]["last_epoch"]
    run.progress.last_row = contents["metrics"]
    if run.ranks.is_first and contents["metrics"]:
        repair_results(folder / RESULTS, contents["metrics"])


def continue_from(run: Run, contents: Mapping, path: Path, given: Mapping[str, float]) -> None:
    """Give a new run a checkpoint's optimizer, schedule, best score and epoch count (--continue-training).

    given: values of `lr`, `weight_decay` and `patience` that replace the checkpoint's.
    """
    learner, earlier = run.learner, "format" not in contents
    restore_learner(run, contents, path)
    if earlier:
        run.ranks.print(
            f"{path}: a checkpoint of the earlier code; the schedule and the best score, which are of another loss, "
            "are not restored"
        )
    if learner.schedule.kind == "cosine":
        run.ranks.print("the cosine schedule restarts")
        learner.schedule.reset_rate()
    elif not (earlier or learner.schedule.load_state_dict(contents.get("scheduler") or {})) and "scheduler" in contents:
        restart_schedule(run, path)
    if "lr" in given:
        learner.schedule.reset_rate()
    if "weight_decay" in given:
        learner.optimizer.param_groups[0]["weight_decay"] = given["weight_decay"]
    if "patience" in given:
        learner.schedule.set_patience(int(given["patience"]))
    if not earlier:
        restore_scores(run, contents)
    run.last_epoch += run.progress.epoch


def restore_learner(run: Run, contents: Mapping, path: Path) -> None:
    """Restore the optimizer's state, if there is one that fits, and the epoch count."""
    if "optimizer" not in contents:
        run.ranks.print(f"{path} holds no optimizer state: the optimizer restarts")
    elif reason := restore_optimizer(run.learner.optimizer, contents["optimizer"]):
        run.ranks.print(f"{path}: {reason}: the optimizer restarts")
    run.progress.epoch = contents["epoch"] if isinstance(contents.get("epoch"), int) else 0


def restart_schedule(run: Run, path: Path) -> None:
    run.ranks.print(f"{path}: its schedule is of another kind: the schedule restarts")
    run.learner.schedule.reset_rate()


def restore_scores(run: Run, contents: Mapping) -> None:
    """Restore the best score, the gradient scaler and the averaged weights."""
    run.progress.best_score = contents.get("best_score", -1.0)
    if contents.get("scaler"):
        run.learner.scaler.load_state_dict(contents["scaler"])
    if run.learner.ema and contents.get("ema"):
        run.learner.ema.load_state_dict(contents["ema"])
