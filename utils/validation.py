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
) -> Validation:
    """Measure a network; its training mode is left as it was. loss_sums: `loss.loss_sums`."""
    was_training = model.training
    model.eval()
    totals, frames, detections, problems = None, [], [], Problems()
    start = time.perf_counter()
    for batch in tqdm(loader, desc="validate", unit="batch", leave=False, disable=None):
        if isinstance(batch, Problems):
            problems.update(batch)
            continue
        problems.update(batch.problems)
        prediction = model(normalise(batch.images.to(device, non_blocking=True)))
        sums = loss_sums(prediction, batch.target.to(device))
        totals = sums if totals is None else type(sums)(*map(torch.add, totals, sums))
        found = decode(hide_padding(prediction, [frame.size for frame in batch.frames]), score_threshold, nms_threshold)
        for frame, (quads, scores) in zip(batch.frames, found, strict=True):
            frames.append(frame)
            detections.append((np.rint(transform_points(quads, invert(frame.matrix))), scores))
    seconds = time.perf_counter() - start
    model.train(was_training)
    if not frames:
        raise UserError(f"none of the {len(loader.sampler)} images could be read:\n{problems}")
    evaluation = evaluate([frame.words for frame in frames], detections)
    return Validation(totals.loss().item(), evaluation, frames, detections, problems, len(frames) / seconds)
