"""Average precision, and precision, recall and hmean as functions of the score threshold."""

from collections.abc import Mapping, Sequence

import numpy as np

from utils.data.annotations import Words
from utils.evaluation.protocol import Evaluation, Overlaps, assign, find_overlaps
from utils.runtime.tables import format_table

SWEEP = tuple(round(0.05 * step, 2) for step in range(2, 20))
"""The score thresholds of a sweep: 0.1 to 0.95."""


def average_precision(
    ground_truth: Sequence[Words], quads: Sequence[np.ndarray], scores: Sequence[np.ndarray]
) -> float:
    """The official script's AP: each image's detections are matched best score first, then ranked over all images.

    It is the mean over the words that count of the precision at the rank where each word is found; 0 for a word that
    is not found. One item an image: words, quads (K, 4, 2) and scores (K,).
    """
    all_scores, hits, total = [], [], 0
    for words, image_quads, image_scores in zip(ground_truth, quads, scores, strict=True):
        order = np.argsort(-np.asarray(image_scores), kind="stable")
        overlaps = find_overlaps(words, np.asarray(image_quads).reshape(-1, 4, 2)[order])
        matched = np.zeros(len(order), bool)
        matched[[detection for _, detection in assign(overlaps.candidates)]] = True
        counted = ~overlaps.ignored_detections
        all_scores.append(np.asarray(image_scores)[order][counted])
        hits.append(matched[counted])
        total += int((~overlaps.ignored_words).sum())
    if not total:
        return 0.0
    ranked = np.concatenate(hits)[np.argsort(-np.concatenate(all_scores), kind="stable")]
    return float((ranked.cumsum() / np.arange(1, len(ranked) + 1))[ranked].sum() / total)


def threshold_curve(
    ground_truth: Sequence[Words],
    quads: Sequence[np.ndarray],
    scores: Sequence[np.ndarray],
    thresholds: Sequence[float] = SWEEP,
) -> dict[float, Evaluation]:
    """Threshold -> evaluation of the detections whose score is at least the threshold."""
    overlaps = [find_overlaps(words, found) for words, found in zip(ground_truth, quads, strict=True)]
    curve = {}
    for threshold in thresholds:
        chosen = [np.asarray(image_scores) >= threshold for image_scores in scores]
        curve[threshold] = _evaluate_chosen(overlaps, chosen)
    return curve


def _evaluate_chosen(overlaps: Sequence[Overlaps], chosen: Sequence[np.ndarray]) -> Evaluation:
    matched = sum(len(assign(image.candidates[:, some])) for image, some in zip(overlaps, chosen, strict=True))
    words = sum(int((~image.ignored_words).sum()) for image in overlaps)
    found = sum(int((~image.ignored_detections[some]).sum()) for image, some in zip(overlaps, chosen, strict=True))
    return Evaluation.from_counts(matched, words, found)


def best_threshold(curve: Mapping[float, Evaluation]) -> float:
    """The threshold of the highest hmean; the middle one if several are equal."""
    best = max(evaluation.hmean for evaluation in curve.values())
    equal = [threshold for threshold, evaluation in curve.items() if evaluation.hmean == best]
    return equal[len(equal) // 2]


def format_curve(curve: Mapping[float, Evaluation]) -> str:
    """A table with a row for each threshold; a star marks the best hmean."""
    best = best_threshold(curve)
    rows = [["score threshold", "precision", "recall", "hmean", "detections"]]
    for threshold, evaluation in curve.items():
        name = f"{threshold:.2f}{' *' if threshold == best else ''}"
        shares = [f"{value:.4f}" for value in evaluation[:3]]
        rows.append([name, *shares, str(evaluation.detections)])
    return format_table(rows)
