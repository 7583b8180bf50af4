"""Pruning from Python: a network with fewer channels, without command lines or files.

    pruned = prune_network(model, sparsity=0.5)                             # needs no data
    pruned = prune_network(model, 0.5, "obs", batches, loss=Criterion())    # batches of datasets.make_loader
    pruned = prune_network(model, target=MacsTarget(0.25), rules=Rules("global", round_to=8))

`prune` also returns the kept channels, and re-uses what is measured for several prunings:

    evidence = Evidence(model, batches, Criterion())
    pruning = prune(evidence, Sparsity(0.5), Method("obs"))                 # pruning.network, pruning.kept
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from utils.errors import UserError
from utils.network.base import TextNetwork
from utils.network.channels import select_channels
from utils.network.loss_terms import BaseCriterion
from utils.pruning.compensation import REPLACEMENTS, compensate, means_only
from utils.pruning.criteria import score_channels
from utils.pruning.importance import Batches, Evidence
from utils.pruning.layer_inputs import estimate_inputs
from utils.pruning.masked import varying_channels
from utils.pruning.recalibration import recalibrate_if_better
from utils.pruning.selection import DEFAULT_RULES, Kept, Rules, plan_of_kept
from utils.pruning.targets import PruningTarget, Sparsity


@dataclass(frozen=True)
class Method:
    """Which channels are kept, and what replaces the others.

    criterion: a name in `utils.pruning.criteria`. replacement: what replaces a removed channel in the layers that read
    it, "zero", "mean" or "linear"; None: "linear" with training frames, "mean" without.
    """

    criterion: str = "l1"
    rules: Rules = DEFAULT_RULES
    replacement: str | None = None

    def __post_init__(self):
        if self.replacement not in (None, *REPLACEMENTS):
            raise UserError(f"replacement {self.replacement!r}: unknown; expected one of {', '.join(REPLACEMENTS)}")


DEFAULT_METHOD = Method()


@dataclass(frozen=True)
class Pruning:
    """A pruned network, and the channels that it keeps of the network before."""

    network: TextNetwork
    kept: Kept


@dataclass(frozen=True)
class Options:
    """The keywords of `prune_network` besides those that it names.

    target: of `utils.pruning.targets`, instead of the sparsity. rules, replacement: see `Method`. loss:
    `loss.Criterion`; for criteria that need it, and to re-estimate BatchNorm statistics. seed: of random draws.
    """

    target: PruningTarget | None = None
    rules: Rules = DEFAULT_RULES
    replacement: str | None = None
    loss: BaseCriterion | None = None
    seed: int = 0


def prune_network(
    model: TextNetwork,
    sparsity: float = 0.5,
    criterion: str = "l1",
    batches: Batches | None = None,
    **options,
) -> TextNetwork:
    """The pruned network, in eval mode on the model's device, with its `plan` and `origin`; the model is not changed.

    sparsity: the share of the channels that is removed. criterion: see `utils.pruning.criteria`. batches: training
    frames. options: see `Options`. With batches and a loss, BatchNorm statistics are re-estimated
    where this lowers the loss. PyTorch's random state is not changed. Raises `UserError` if the criterion is unknown or
    lacks what it needs, and its subclass `OutOfReach` if no network within the rules is small enough.
    """
    chosen = Options(**options)
    method = Method(criterion, chosen.rules, chosen.replacement)
    gpus = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    with torch.random.fork_rng(gpus):
        torch.manual_seed(chosen.seed)
        evidence = Evidence(model, batches, chosen.loss, chosen.seed)
        network = prune(evidence, chosen.target or Sparsity(sparsity), method).network
        if evidence.batches and chosen.loss:
            recalibrate_if_better(network, evidence.batches, chosen.loss)
    return network.to(next(model.parameters()).device)


def prune(evidence: Evidence, target: PruningTarget, method: Method = DEFAULT_METHOD) -> Pruning:
    """The pruned network in eval mode on the CPU, and the kept channels.

    BatchNorm statistics stay as they are, see `utils.pruning.recalibration`. Raises as `prune_network`.
    """
    kept = target.choose(evidence.model, score_channels(evidence, method.criterion), method.rules)
    return build_pruning(evidence, kept, method.replacement)


def build_pruning(evidence: Evidence, kept: Kept, replacement: str | None = None) -> Pruning:
    """The network that keeps these channels; replacement: see `Method`."""
    replacement = replacement or ("linear" if evidence.batches else "mean")
    if replacement == "linear" and not evidence.batches:
        raise UserError("replacement 'linear': needs training frames; give batches of at least two frames")
    state = evidence.state
    if replacement != "zero":
        inputs = evidence.inputs if replacement == "linear" else means_only(evidence.inputs)
        state = compensate(state, kept, inputs)
    return Pruning(keep_channels(evidence.model, kept, state), kept)


def remove_masked_channels(model: TextNetwork) -> Pruning:
    """The network, on the CPU, without the channels whose output is constant over the picture, as masked ones are.

    Constants are folded into the next biases; see `utils.pruning.masked.varying_channels` for what is exact.
    """
    state, kept = varying_channels({name: tensor.cpu() for name, tensor in model.state_dict().items()})
    return Pruning(keep_channels(model, kept, compensate(state, kept, estimate_inputs(state))), kept)


def keep_channels(model: TextNetwork, kept: Kept, state: Mapping[str, torch.Tensor] | None = None) -> TextNetwork:
    """A new network in eval mode that has only these channels of the model; with the model's origin.

    state: the tensors to take the channels from, if not the model's own.
    """
    network = model.with_plan(plan_of_kept(kept))
    network.load_state_dict(select_channels(model.state_dict() if state is None else state, kept))
    network.origin = model.origin.after(kept)
    return network.eval()
