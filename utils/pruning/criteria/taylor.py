"""The first-order change of the loss: Molchanov et al., "Importance Estimation for Neural Network Pruning", CVPR 2019.

It is taken at the BatchNorms: a channel is zero where its scale and its shift are.
"""

import torch

from utils.errors import UserError
from utils.maps import normalise
from utils.network.channels import LAYERS, ORIGINAL_PLAN
from utils.pruning.importance import Evidence, Scores, criterion


@criterion("taylor", "first-order change of the loss without the channel", needs_frames=True)
def score_loss_change(evidence: Evidence) -> Scores:
    """The squared first-order change of the loss when a channel is set to zero, summed over batches.

    The unit is the square of the loss for all groups, so scores are not normalised. Raises `UserError` without a loss.
    """
    loss = evidence.loss
    if loss is None:
        raise UserError("criterion 'taylor': needs the loss; give loss=Criterion() of loss.py")
    norms = [(layer.norm, layer.writes) for layer in LAYERS if layer.norm and layer.writes]
    modules = dict(evidence.model.named_modules())
    parameters = [parameter for norm, _ in norms for parameter in (modules[norm].weight, modules[norm].bias)]
    totals: dict[str, torch.Tensor | float] = dict.fromkeys(ORIGINAL_PLAN, 0.0)
    for batch in evidence.batches:
        with torch.enable_grad():
            value = loss(evidence.model(normalise(batch.images)), batch.target).loss()
            gradients = torch.autograd.grad(value, parameters)
        products = [(parameter * gradient).detach() for parameter, gradient in zip(parameters, gradients, strict=True)]
        changes: dict[str, torch.Tensor | float] = {}
        for (_, group), scale, shift in zip(norms, products[::2], products[1::2], strict=True):
            changes[group] = changes.get(group, 0) + scale + shift
        totals = {group: total + torch.as_tensor(changes[group]).double() ** 2 for group, total in totals.items()}
    return {group: torch.as_tensor(total) for group, total in totals.items()}
