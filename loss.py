"""The detection loss of FOTS (Liu et al. 2018, section 3.5) with online hard example mining.

    loss = mean over chosen cells of BCE(confidence)
         + mean over chosen cells of -log((I + 1) / (U + 1)) + 10 (1 - cos(angle difference))

Classification chooses all positives, the 512 hardest negatives and 512 others; regression the 128 hardest
positives and 128 others; per image, the others at random. Everything stays on the inputs' device: no
synchronisation with the host, no loop.
"""

import torch
import torch.nn.functional as F

from utils.maps import Prediction, Target, box_and_angle_loss
from utils.network.loss_terms import ANGLE_WEIGHT, LossCounts, LossSums

HARD_NEGATIVES = RANDOM_NEGATIVES = 512
HARD_POSITIVES = RANDOM_POSITIVES = 128


def detection_loss(prediction: Prediction, target: Target) -> torch.Tensor:
    """The loss of a batch, a scalar; maps as in `utils.maps`."""
    return loss_sums(prediction, target).loss()


def loss_sums(prediction: Prediction, target: Target) -> LossSums:
    """The loss's parts, not yet divided by the number of cells."""
    confidence, score = prediction.confidence.float().flatten(1), target.score_map.flatten(1)
    positive, negative = _positive_negative(target)

    classification = F.binary_cross_entropy_with_logits(confidence, score, reduction="none")
    chosen = positive | hard_and_random(classification, negative, HARD_NEGATIVES, RANDOM_NEGATIVES)
    iou, angle = box_and_angle_loss(prediction, target)
    chosen_positive = hard_and_random(iou + ANGLE_WEIGHT * angle, positive, HARD_POSITIVES, RANDOM_POSITIVES)
    return LossSums(
        _sum_where(chosen, classification),
        _sum_where(chosen_positive, iou),
        _sum_where(chosen_positive, angle),
        chosen.sum(),
        chosen_positive.sum(),
    )


def loss_counts(target: Target) -> LossCounts:
    """The counts that `loss_sums` will come to."""
    positives, negatives = (cells.sum(1) for cells in _positive_negative(target))
    chosen_negatives = negatives.clamp(max=HARD_NEGATIVES + RANDOM_NEGATIVES)
    chosen_positives = positives.clamp(max=HARD_POSITIVES + RANDOM_POSITIVES)
    return LossCounts((positives + chosen_negatives).sum(), chosen_positives.sum())


def hard_and_random(loss: torch.Tensor, eligible: torch.Tensor, hard: int, others: int) -> torch.Tensor:
    """(N, cells) bool: per row the `hard` eligible cells of the largest loss and `others` of the rest.

    The others are drawn at random without repetition; where a row has fewer, all of them.
    """
    chosen = torch.zeros_like(eligible)
    for keys, count in ((loss.detach(), hard), (torch.rand_like(loss), others)):
        left = eligible & ~chosen
        keys = keys.masked_fill(~left, -torch.inf)
        top = keys.topk(min(count, keys.shape[1]), sorted=False).indices
        chosen = chosen.scatter(1, top, True) & eligible
    return chosen


def _positive_negative(target: Target) -> tuple[torch.Tensor, torch.Tensor]:
    text, seen = target.score_map.flatten(1) > 0.5, target.training_mask.flatten(1) > 0.5
    return text & seen, ~text & seen


def _sum_where(chosen: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    return torch.where(chosen, values, 0).sum()
