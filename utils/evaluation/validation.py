"""A network's loss, detections and scores on all frames of a loader."""

import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader
from tqdm import tqdm

from utils.base_detector import words_in_frames
from utils.data.frames import FrameInfo
from utils.data.loading import Batch
from utils.data.problems import Problems
from utils.decode import Thresholds
from utils.errors import UserError
from utils.evaluation.protocol import Evaluation, evaluate
from utils.evaluation.result_files import whole_pixels
from utils.maps import normalise
from utils.network.base import TextNetwork
from utils.network.loss_terms import BaseCriterion
from utils.runtime.distributed import ALONE, Ranks
from utils.runtime.signals import Stopped, StopRequest
from utils.runtime.workers import WorkerLost

FrameDetections = list[tuple[np.ndarray, np.ndarray]]
"""For each frame: quads (K, 4, 2) in the file's pixels, within the picture, and scores (K,)."""


class ValidationSettings(NamedTuple):
    """What stays the same from one validation to the next."""

    thresholds: Thresholds = Thresholds()
    sweep: Sequence[float] = ()
    """More score thresholds at which the same maps are decoded."""
    ranks: Ranks = ALONE
    """The processes that validate together, each on its part of the frames."""


class Validation(NamedTuple):
    """What `validate` measures. `loss` and `evaluation` are over all processes, the rest is this process's."""

    loss: float
    evaluation: Evaluation
    frames: list[FrameInfo]
    """The frames of the batches (`Batch.frames`), in the loader's order."""
    detections: FrameDetections
    problems: Problems
    images_per_second: float
    """Reading, network and decoding together."""
    sweep: dict[float, FrameDetections]
    """Score threshold -> detections at it, for each threshold of `ValidationSettings.sweep`."""


@torch.inference_mode()
def validate(
    network: TextNetwork,
    loader: DataLoader,
    criterion: BaseCriterion,
    settings: ValidationSettings,
    stop: StopRequest | None = None,
) -> Validation:
    """Measure a network on its device; its training mode is restored afterwards.

    criterion: `loss.Criterion`. Raises `Stopped` if a stop is requested meanwhile in any process, `WorkerLost` if any
    of them loses a reading worker, and `UserError` if no image can be read.
    """
    was_training = network.training
    network.eval()
    try:
        return _validate(network, loader, criterion, settings, stop)
    finally:
        network.train(was_training)


def _validate(
    network: TextNetwork,
    loader: DataLoader,
    criterion: BaseCriterion,
    settings: ValidationSettings,
    stop: StopRequest | None,
) -> Validation:
    device, ranks = next(network.parameters()).device, settings.ranks
    totals, frames, problems = criterion.zeros(), [], Problems()
    scores = dict.fromkeys([settings.thresholds.score, *settings.sweep])
    detections: dict[float, FrameDetections] = {score: [] for score in scores}
    start = time.perf_counter()
    reader = _Reader(loader, ranks, stop)
    for batch in reader:
        if isinstance(batch, Problems):
            problems.update(batch)
            continue
        problems.update(batch.problems)
        prediction = network(normalise(batch.images.to(device, non_blocking=True)))
        totals = totals + criterion(prediction, batch.target.to(device))
        for score, found in detections.items():
            found += words_in_frames(prediction, batch.frames, settings.thresholds._replace(score=score))
        frames += batch.frames
    seconds = time.perf_counter() - start
    reader.raise_together()
    own_detections = detections[settings.thresholds.score]
    evaluation = evaluate_frames(frames, own_detections)
    *sums, matched, words, found, seen = ranks.sum(
        [*totals.tolist(), evaluation.matched, evaluation.words, evaluation.detections, len(frames)]
    )
    if not seen:
        raise UserError(f"none of the images could be read:\n{problems}")
    return Validation(
        criterion.of(sums).loss().item(),
        Evaluation.from_counts(int(matched), int(words), int(found)),
        frames,
        own_detections,
        problems,
        len(frames) / seconds,
        {score: detections[score] for score in settings.sweep},
    )


class _Reader:
    """A loader's batches until a stop is requested or a worker is lost, which end the validation of all processes."""

    def __init__(self, loader: DataLoader, ranks: Ranks, stop: StopRequest | None):
        self._loader, self._ranks, self._stop = loader, ranks, stop
        self._is_stopped, self._loss = False, ""

    def __iter__(self) -> Iterator[Batch | Problems]:
        shown = None if self._ranks.is_first else True
        try:
            for batch in tqdm(self._loader, "validate", unit="batch", leave=False, disable=shown):
                if self._stop and self._stop.requested:
                    self._is_stopped = True
                    return
                yield batch
        except WorkerLost as error:
            self._loss = str(error)

    def raise_together(self) -> None:
        """Raise `Stopped` or `WorkerLost` in all processes if one of them ended early."""
        stopped, lost = self._ranks.sum([float(self._is_stopped), float(bool(self._loss))])
        if lost:
            raise WorkerLost(" ".join(filter(None, self._ranks.gather(self._loss))))
        if stopped:
            raise Stopped


def evaluate_frames(frames: Sequence[FrameInfo], detections: FrameDetections) -> Evaluation:
    """The scores of detections as their files would have them: in whole pixels."""
    return evaluate([frame.words for frame in frames], [whole_pixels(quads) for quads, _ in detections])
