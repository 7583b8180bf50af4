"""A network over all frames of a loader: its loss, its detections, its score."""

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from utils.augmentation import invert, transform_points
from utils.decode import decode
from utils.errors import UserError
from utils.evaluation import Evaluation, evaluate
from utils.loss_sums import LossSums
from utils.maps import hide_padding, normalise
from utils.problems import Problems


class Validation(NamedTuple):
    loss: float
    evaluation: Evaluation
    frames: list
    """`datasets.Frame` of each image, without pixels, in the loader's order."""
    detections: list[tuple[np.ndarray, np.ndarray]]
    """Of each frame: quads (K, 4, 2) in the file's pixels, whole numbers as ICDAR's files have, and scores."""
    problems: Problems
    images_per_second: float
    """Reading, network, decoding together."""


@torch.inference_mode()
def validate(
    model: nn.Module,
    loader: DataLoader,
    loss_sums: Callable,
    device: torch.device,
    score_threshold: float,
    nms_threshold: float,
    sum_over_ranks: Callable[[list[float]], list[float]] = lambda values: values,
) -> Validation:
    """Measure a network; its training mode is left as it was. loss_sums: `loss.loss_sums`.

    sum_over_ranks: where several processes see a part of the frames each, adds up their numbers.
    """
    was_training = model.training
    model.eval()
    totals, frames, detections, problems = LossSums.of([0] * 5), [], [], Problems()
    start = time.perf_counter()
    for batch in tqdm(loader, desc="validate", unit="batch", leave=False, disable=None):
        if isinstance(batch, Problems):
            problems.update(batch)
            continue
        problems.update(batch.problems)
        prediction = model(normalise(batch.images.to(device, non_blocking=True)))
        sums = loss_sums(prediction, batch.target.to(device))
        totals = totals + sums
        found = decode(hide_padding(prediction, [frame.size for frame in batch.frames]), score_threshold, nms_threshold)
        for frame, (quads, scores) in zip(batch.frames, found, strict=True):
            frames.append(frame)
            detections.append((np.rint(transform_points(quads, invert(frame.matrix))), scores))
    seconds = time.perf_counter() - start
    model.train(was_training)
    evaluation = evaluate([frame.words for frame in frames], detections)
    counts = [*totals.tolist(), evaluation.matched, evaluation.words, evaluation.detections, len(frames)]
    *counts, seen = sum_over_ranks(counts)
    if not seen:
        raise UserError(f"none of the images could be read:\n{problems}")
    evaluation = Evaluation.of_counts(*map(int, counts[5:]))
    return Validation(
        LossSums.of(counts[:5]).loss().item(), evaluation, frames, detections, problems, len(frames) / seconds
    )
