"""The detection loss of FOTS (Liu et al. 2018, section 3.5) with online hard example mining.

    loss = mean over chosen cells of BCE(confidence), times --classification-weight (1)
         + mean over chosen cells of -log((I + 1) / (U + 1)) + 10 (1 - cos(angle difference))

    criterion = Criterion()
    criterion(prediction, target).loss().backward()

Classification chooses all positives, the 512 hardest negatives and 512 random others; regression the 128 hardest
positives and 128 random others; both per image. Everything stays on the inputs' device: no synchronisation with the
host, no loop.

To add a term, add its name to `TERMS` and its sum to `Criterion.__call__` (and a new count to `Criterion.counts`).
results.csv, the progress display, TensorBoard and the sums over processes follow from the names.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F

from utils.maps import Prediction, Target
from utils.network.loss_terms import ANGLE_WEIGHT, BaseCriterion, LossSums, Term, box_and_angle_loss

CLASSIFICATION_CELLS, REGRESSION_CELLS = "classification_cells", "regression_cells"

TERMS = (
    Term("classification", CLASSIFICATION_CELLS),
    Term("iou", REGRESSION_CELLS),
    Term("angle", REGRESSION_CELLS, ANGLE_WEIGHT),
)


class Mining(NamedTuple):
    """How many cells of an image are chosen: those of the largest loss, and others at random."""

    hard: int
    random: int


NEGATIVES, POSITIVES = Mining(hard=512, random=512), Mining(hard=128, random=128)


class Criterion(BaseCriterion):
    """The detection loss as an object: `criterion(prediction, target)` returns its terms' sums and counts.

    negatives: chosen for classification, beside all positives. positives: chosen for regression. Both per image.
    classification_weight: of the term beside the box's, whose weight is 1.
    """

    terms: tuple[Term, ...] = TERMS

    def __init__(
        self, negatives: Mining = NEGATIVES, positives: Mining = POSITIVES, classification_weight: float = 1.0
    ):
        self.negatives, self.positives = negatives, positives
        classification, *others = self.terms
        self.terms = classification._replace(weight=classification_weight), *others

    def __call__(self, prediction: Prediction, target: Target) -> LossSums:
        """The terms' sums over the chosen cells of a batch, with gradients. Maps as in `utils.maps`."""
        confidence, score = prediction.confidence.float().flatten(1), target.score_map.flatten(1)
        positive, negative = _positive_negative(target)
        classification = F.binary_cross_entropy_with_logits(confidence, score, reduction="none")
        chosen = positive | hard_and_random(classification, negative, *self.negatives)
        iou, angle = box_and_angle_loss(prediction, target)
        chosen_positive = hard_and_random(iou + ANGLE_WEIGHT * angle, positive, *self.positives)
        sums = {
            "classification": _sum_where(chosen, classification),
            "iou": _sum_where(chosen_positive, iou),
            "angle": _sum_where(chosen_positive, angle),
        }
        return LossSums(self.terms, sums, {CLASSIFICATION_CELLS: chosen.sum(), REGRESSION_CELLS: chosen_positive.sum()})

    def counts(self, target: Target) -> dict[str, torch.Tensor]:
        """The counts that a call returns for this target, whatever the prediction."""
        positives, negatives = (cells.sum(1) for cells in _positive_negative(target))
        chosen_negatives = negatives.clamp(max=sum(self.negatives))
        chosen_positives = positives.clamp(max=sum(self.positives))
        return {
            CLASSIFICATION_CELLS: (positives + chosen_negatives).sum(),
            REGRESSION_CELLS: chosen_positives.sum(),
        }


def detection_loss(prediction: Prediction, target: Target) -> torch.Tensor:
    """The loss of a batch, a scalar; maps as in `utils.maps`."""
    return Criterion()(prediction, target).loss()


def hard_and_random(loss: torch.Tensor, eligible: torch.Tensor, hard: int, random: int) -> torch.Tensor:
    """(N, cells) bool: per row the `hard` eligible cells of the largest loss and `random` of the other eligible ones.

    The random ones are drawn without repetition; where a row has fewer cells, all of them are chosen.
    """
    chosen = torch.zeros_like(eligible)
    for keys, count in ((loss.detach(), hard), (torch.rand_like(loss), random)):
        left = eligible & ~chosen
        keys = keys.masked_fill(~left, -torch.inf)
        top = keys.topk(min(count, keys.shape[1]), sorted=False).indices
        chosen = chosen.scatter(1, top, True) & eligible
    return chosen


def _positive_negative(target: Target) -> tuple[torch.Tensor, torch.Tensor]:
    """(N, cells) bool each: the cells of text and of background that count in the loss."""
    text, counted = target.score_map.flatten(1) > 0.5, target.training_mask.flatten(1) > 0.5
    return text & counted, ~text & counted


def _sum_where(chosen: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    return torch.where(chosen, values, 0).sum()
