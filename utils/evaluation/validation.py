"""A network over all frames of a loader: its loss, its detections, its score."""

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from utils.data.problems import Problems
from utils.decode import decode
from utils.detector import to_frame
from utils.errors import UserError
from utils.evaluation.protocol import Evaluation, evaluate, summarise
from utils.evaluation.result_files import whole_pixels
from utils.maps import hide_padding, normalise
from utils.network.loss_terms import LossSums
from utils.runtime.distributed import ALONE, Ranks
from utils.runtime.signals import StopRequest

FrameDetections = list[tuple[np.ndarray, np.ndarray]]
"""Of each frame: quads (K, 4, 2) in the file's pixels, within the picture, and scores (K,)."""


class Validation(NamedTuple):
    loss: float
    evaluation: Evaluation
    frames: list
    """`datasets.Frame` of each image, without pixels, in the loader's order."""
    detections: FrameDetections
    problems: Problems
    images_per_second: float
    """Reading, network, decoding together."""
    sweep: dict[float, FrameDetections]
    """Score threshold -> what is detected with it, for the thresholds that were asked for."""


@torch.inference_mode()
def validate(
    model: nn.Module,
    loader: DataLoader,
    loss_sums: Callable,
    device: torch.device,
    score_threshold: float,
    nms_threshold: float,
    ranks: Ranks = ALONE,
    *,
    sweep: Sequence[float] = (),
    stop: StopRequest | None = None,
) -> Validation | None:
    """Measure a network; its training mode is left as it was. loss_sums: `loss.loss_sums`.

    ranks: where several processes see a part of the frames each, their numbers are added up. sweep: other score
    thresholds with which the same maps are decoded, too. Returns None if `stop` came in between; several
    processes, which have to wait for each other, go on to the end.
    """
    was_training = model.training
    model.eval()
    totals, frames, problems = LossSums.zeros(), [], Problems()
    thresholds = dict.fromkeys([score_threshold, *sweep])
    detections: dict[float, FrameDetections] = {threshold: [] for threshold in thresholds}
    start = time.perf_counter()
    for batch in tqdm(loader, "validate", unit="batch", leave=False, disable=None if ranks.is_first else True):
        if stop and stop.requested and ranks.world == 1:
            model.train(was_training)
            return None
        if isinstance(batch, Problems):
            problems.update(batch)
            continue
        problems.update(batch.problems)
        prediction = model(normalise(batch.images.to(device, non_blocking=True)))
        sums = loss_sums(prediction, batch.target.to(device))
        totals = totals + sums
        hidden = hide_padding(prediction, [frame.size for frame in batch.frames])
        for threshold, found in detections.items():
            for frame, words in zip(batch.frames, decode(hidden, threshold, nms_threshold), strict=True):
                found.append(to_frame(*words, frame))
        frames.extend(batch.frames)
    seconds = time.perf_counter() - start
    model.train(was_training)
    here = evaluate_frames(frames, detections[score_threshold])
    counts = [*totals.tolist(), here.matched, here.words, here.detections, len(frames)]
    *counts, seen = ranks.sum(counts)
    if not seen:
        raise UserError(f"none of the images could be read:\n{problems}")
    return Validation(
        LossSums.of(counts[:-3]).loss().item(),
        summarise(*map(int, counts[-3:])),
        frames,
        detections[score_threshold],
        problems,
        len(frames) / seconds,
        {threshold: detections[threshold] for threshold in sweep},
    )


def evaluate_frames(frames: list, detections: FrameDetections) -> Evaluation:
    """The score of detections as their files would have them: in whole pixels."""
    return evaluate([frame.words for frame in frames], [whole_pixels(quads) for quads, _ in detections])
