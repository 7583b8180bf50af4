"""One epoch of training, from its start or from the step at which a run was stopped.

Nothing here waits for the GPU but the reading back of losses, about once a second, when they are displayed.
"""

import itertools
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch.utils.data import DataLoader
from tqdm import tqdm

from utils.data.loading import Batch, EpochSampler
from utils.data.problems import Problems
from utils.errors import UserError
from utils.network.loss_terms import count_names
from utils.runtime.signals import Stopped, StopRequest
from utils.runtime.workers import WorkerLost
from utils.training.progress import Progress
from utils.training.run import Run
from utils.training.run_folder import append_row
from utils.training.saving import Saver
from utils.training.step import StepTotals, TrainingStep, seed_step

MOST_SKIPPED_IN_A_ROW = 5
_DISPLAY_SECONDS = 1.0
_STEPS_TO_ESTIMATE = 10


def train_one_epoch(run: Run, loader: DataLoader, saver: Saver, stop: StopRequest) -> None:
    """Train to the end of the current epoch.

    The loader continues after `run.progress.step` steps. The saver writes a checkpoint when it is due. Batches whose
    gradients are not finite change nothing and are listed in skipped.csv. Raises, in all processes and after saving,
    `Stopped` if a stop is requested in any process, and `WorkerLost` if any of them loses a reading worker.
    """
    progress, ranks, step = run.progress, run.ranks, TrainingStep(run.learner, run.settings)
    first_step, groups = progress.step, BatchGroups(loader, run.settings.size.batches, progress.problems)
    pending = PendingSteps(progress, saver.folder / ("skipped.csv" if ranks.is_first else f"skipped-{ranks.rank}.csv"))
    save_timer = Timer(saver.seconds)
    with EpochDisplay(run, loader) as display:
        for batches in groups:
            save_is_due = ranks.is_first and save_timer.is_due()
            totals, asked = sum_over_processes(
                run,
                batches,
                Asked(stop.requested, save_is_due, groups.loss is not None, groups.unreadable, pending.diverges),
            )
            if asked.diverges:
                pending.read_back()
                raise pending.error()
            if asked.fails:
                pending.read_back()
                progress.gather(ranks)
                if ranks.is_first and progress.step > first_step:
                    saver.save(run)
                raise WorkerLost(" ".join(filter(None, ranks.gather(str(groups.loss or "")))))
            waits_in_vain = asked.misses and run.learner.sync_bn  # for a process with fewer batches, in each BatchNorm
            if (batches or ranks.world > 1) and not waits_in_vain:
                seed_step(run.settings.seed, progress.epoch, progress.step, ranks.rank)
                outcome = step.take(batches, totals)
                pending.add(outcome.finite, batches)
                progress.add(outcome)
            else:
                progress.step += 1
            if asked.stops or asked.saves:
                pending.read_back()
                progress.gather(ranks)
            if (asked.stops and ranks.is_first) or save_is_due:
                saver.save(run)
                save_timer.restart()
            if asked.stops:
                raise Stopped
            display.update(totals.images, pending)
    pending.read_back()
    if any(ranks.sum([float(pending.diverges)])):
        raise pending.error()
    progress.gather(ranks)


def epoch_sampler(loader: DataLoader) -> EpochSampler:
    """The sampler of a loader of `make_loader`."""
    assert isinstance(loader.sampler, EpochSampler)
    return loader.sampler


class Asked(NamedTuple):
    """What a step has to do beside training, in one process or in any of them."""

    stops: bool
    saves: bool
    fails: bool
    """A reading worker is lost: no step can be taken."""
    misses: bool
    """A batch is missing, none of whose images could be read."""
    diverges: bool
    """Several steps in a row were not finite."""


def sum_over_processes(run: Run, batches: list[Batch], asked: Asked) -> tuple[StepTotals, Asked]:
    """The step's totals over all processes, and what any of them asks for."""
    criterion = run.learner.criterion
    names, counted = count_names(criterion.terms), [criterion.counts(batch.target) for batch in batches]
    counts = [float(sum(each[name] for each in counted)) for name in names]
    images = sum(len(batch.images) for batch in batches)
    sums = iter(run.ranks.sum([*counts, images, *map(float, asked)]))
    return StepTotals({name: next(sums) for name in names}, next(sums)), Asked(*map(bool, sums))


class BatchGroups:
    """The loader's batches, `count` at a time, the last group too; unreadable images are added to problems.

    If a reading worker is lost, `loss` says so and the last group is empty: the other processes have to be informed
    before an error is raised.
    """

    def __init__(self, loader: DataLoader, count: int, problems: Problems):
        self._loader, self._count, self._problems = loader, count, problems
        self.loss: WorkerLost | None = None
        self.unreadable = False
        """Whether the last group lacks a batch, none of whose images could be read."""

    def __iter__(self) -> Iterator[list[Batch]]:
        batches = iter(self._loader)
        while True:
            try:
                items = list(itertools.islice(batches, self._count))
            except WorkerLost as error:
                self.loss = error
                yield []
                return
            if not items:
                return
            for item in items:
                self._problems.update(item if isinstance(item, Problems) else item.problems)
            readable = [item for item in items if not isinstance(item, Problems)]
            self.unreadable = len(readable) < len(items)
            yield readable


class PendingSteps:
    """Steps whose outcome has not been read back from the device yet; file: the list of those that were skipped."""

    def __init__(self, progress: Progress, file: Path):
        self._progress, self._file = progress, file
        self._waiting: list[tuple[torch.Tensor, int, list]] = []

    def add(self, finite: torch.Tensor, batches: list[Batch]) -> None:
        images = [(frame.dataset_index, frame.path) for batch in batches for frame in batch.frames]
        self._waiting.append((finite, self._progress.step + 1, images))

    @property
    def diverges(self) -> bool:
        """Whether several steps in a row were not finite, as of the last `read_back`."""
        return self._progress.skipped_in_a_row >= MOST_SKIPPED_IN_A_ROW

    def error(self) -> UserError:
        """The end of a run that diverges, which is raised in all processes: one that left would disturb the others."""
        last, steps = self._file.parent / "last.pt", max(self._progress.skipped_in_a_row, MOST_SKIPPED_IN_A_ROW)
        cure = f"the last good checkpoint is {last}: continue from it" if last.exists() else "try again"
        return UserError(
            f"the loss was not finite {steps} steps in a row (images: {self._file}); {cure} with a smaller --lr"
        )

    def read_back(self) -> None:
        """Wait for the outcomes; list the skipped steps."""
        progress, waiting, self._waiting = self._progress, self._waiting, []
        for finite, step, images in waiting:
            if finite.item():
                progress.skipped_in_a_row = 0
                continue
            progress.skipped += 1
            progress.skipped_in_a_row += 1
            for index, path in images:
                append_row(self._file, {"epoch": progress.epoch + 1, "step": step, "index": index, "image": path})


class EpochDisplay:
    """The first process's progress bar, with the losses, and once in a run the estimated time of an epoch."""

    def __init__(self, run: Run, loader: DataLoader):
        self._run, self._first_step, self._seen, self._start = run, run.progress.step, 0.0, time.perf_counter()
        self._timer, ranks = Timer(_DISPLAY_SECONDS), run.ranks
        done = run.progress.step * run.settings.size.images
        self._total = done + len(epoch_sampler(loader)) * ranks.world
        title, disable = f"epoch {run.progress.epoch + 1}", None if ranks.is_first else True
        self._bar = tqdm(total=self._total, initial=done, desc=title, unit="img", leave=False, disable=disable)

    def __enter__(self) -> "EpochDisplay":
        return self

    def __exit__(self, *_error) -> None:
        self._bar.close()

    def update(self, images: float, pending: PendingSteps) -> None:
        """Count a step's images; read the losses back when they are to be displayed."""
        progress = self._run.progress
        self._seen += images
        self._bar.update(images)
        elapsed = time.perf_counter() - self._start
        if self._timer.is_due():
            self._timer.restart()
            pending.read_back()
            shown = {name: f"{value:.3f}" for name, value in progress.sums.parts().items()}
            self._bar.set_postfix(shown | {"img/s": f"{self._seen / elapsed:.1f}"})
        if progress.step - self._first_step == _STEPS_TO_ESTIMATE and not self._run.is_estimated:
            self._run.is_estimated = True
            minutes = elapsed / max(self._seen, 1) * self._total / 60
            note = f"time        about {minutes:.1f} minutes an epoch, from its first {_STEPS_TO_ESTIMATE} steps"
            self._run.ranks.print(note)


class Timer:
    """Says when `seconds` have passed since its start."""

    def __init__(self, seconds: float):
        self._seconds = seconds
        self.restart()

    def restart(self) -> None:
        self._start = time.perf_counter()

    def is_due(self) -> bool:
        return time.perf_counter() - self._start > self._seconds
