"""Validations of one network at several short sides, merged into one."""

from collections.abc import Sequence

import numpy as np

from utils.decode import suppress
from utils.evaluation.validation import FrameDetections, Validation, evaluate_frames


def merge_validations(scales: Sequence[Validation], nms_threshold: float) -> Validation:
    """One validation with the merged detections of all scales; loss, frames and problems are those of the first."""
    first = scales[0]
    detections = merge_detections([scale.detections for scale in scales], nms_threshold)
    seconds = sum(len(scale.frames) / scale.images_per_second for scale in scales)
    return first._replace(
        evaluation=evaluate_frames(first.frames, detections),
        detections=detections,
        images_per_second=len(first.frames) / seconds,
        sweep={
            threshold: merge_detections([scale.sweep[threshold] for scale in scales], nms_threshold)
            for threshold in first.sweep
        },
    )


def merge_detections(scales: Sequence[FrameDetections], nms_threshold: float) -> FrameDetections:
    """For each frame the detections of all scales; of those that overlap, only the one with the best score."""
    if len(scales) == 1:
        return scales[0]
    merged = []
    for found in zip(*scales, strict=True):
        quads, scores = (np.concatenate(parts) for parts in zip(*found, strict=True))
        kept = suppress(quads, scores, nms_threshold)
        merged.append((quads[kept], scores[kept]))
    return merged
