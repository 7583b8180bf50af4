"""Re-estimation of BatchNorm statistics on training frames."""

import copy
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import nn

from utils.data.loading import Batch
from utils.maps import normalise
from utils.network.loss_terms import BaseCriterion


class Recalibration(NamedTuple):
    """The loss of the frames with the present and with the re-estimated statistics."""

    before: float
    after: float

    @property
    def accepted(self) -> bool:
        """Whether the re-estimated statistics lower the loss."""
        return self.after < self.before


def recalibrate_if_better(model: nn.Module, batches: Sequence[Batch], loss: BaseCriterion) -> Recalibration:
    """Re-estimate the BatchNorms' running statistics, in place, where this lowers the loss of the batches.

    A linear combination of other channels varies less than the channel that it replaces. To scale its variance up again
    can increase the loss.
    """
    state, before = copy.deepcopy(model.state_dict()), mean_loss(model, batches, loss)
    reestimate_norms(model, batches)
    result = Recalibration(before, mean_loss(model, batches, loss))
    if not result.accepted:
        model.load_state_dict(state)
    return result


@torch.inference_mode()
def mean_loss(model: nn.Module, batches: Iterable[Batch], loss: BaseCriterion) -> float:
    """The loss over all batches.

    It seeds PyTorch's generator, so that the loss draws the same cells in each call.
    """
    torch.manual_seed(0)
    total = loss.zeros()
    for batch in batches:
        total = total + loss(model(normalise(batch.images)), batch.target)
    return float(total.loss())


@torch.no_grad()
def reestimate_norms(model: nn.Module, batches: Iterable[Batch]) -> None:
    """Set the BatchNorms' running statistics to their means over the batches; in place.

    "Precise BN" of Wu and Johnson, "Rethinking 'Batch' in BatchNorm", 2021.
    """
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean of all batches
    model.train()
    for batch in batches:
        model(normalise(batch.images))
    model.eval()
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
