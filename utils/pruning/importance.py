"""The importance of channels: what a criterion may use of a network, and the registry of criteria.

A criterion is a function from `Evidence` to `Scores`, registered by name with `criterion`. The criteria are the modules
of `utils.pruning.criteria`; see there how to add one.
"""

import copy
import functools
from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch

from utils.data.loading import Batch
from utils.data.problems import Problems
from utils.network.base import TextNetwork
from utils.network.loss_terms import BaseCriterion
from utils.pruning.layer_inputs import Inputs, estimate_inputs, measure_inputs

Scores = dict[str, torch.Tensor]
"""One score for each channel, by channel group; channels of higher scores are kept."""


Batches = Iterable[Batch | Problems]
"""What a loader yields: `Problems` in place of a batch none of whose frames can be read."""


class Evidence:
    """A network to prune, and what criteria and replacements measure of it.

    model: left as it is; measurements use a copy in eval mode on the CPU. batches: training frames (batches of
    `datasets.make_loader`); batches of a single frame are not used, since BatchNorm needs more. loss: `loss.Criterion`.
    seed: of criteria that draw at random.
    """

    def __init__(
        self, model: TextNetwork, batches: Batches | None = None, loss: BaseCriterion | None = None, seed: int = 0
    ):
        self.model = copy.deepcopy(model).cpu().eval().requires_grad_()
        self.batches = usable_batches(batches or ())
        self.loss = loss
        self.seed = seed

    @functools.cached_property
    def state(self) -> dict[str, torch.Tensor]:
        """The network's tensors by name."""
        return self.model.state_dict()

    @functools.cached_property
    def inputs(self) -> Inputs:
        """The moments of each convolution's input: measured on the batches or, without any, estimated."""
        return measure_inputs(self.model, self.batches) if self.batches else estimate_inputs(self.state)


class Criterion(NamedTuple):
    """An entry of the registry."""

    score: Callable[[Evidence], Scores]
    needs_frames: bool
    summary: str
    """What the scores are, in one line."""


CRITERIA: dict[str, Criterion] = {}
"""The registered criteria by name."""


def criterion(name: str, summary: str, *, needs_frames: bool = False) -> Callable:
    """A decorator that registers a function from `Evidence` to `Scores` as a criterion.

    name: as in `--criterion`. summary: one line for its help. needs_frames: whether it needs training frames.
    Raises `ValueError` for a name that is registered already.
    """

    def register(score: Callable[[Evidence], Scores]) -> Callable[[Evidence], Scores]:
        if name in CRITERIA:
            raise ValueError(f"criterion {name!r} is registered already, by {CRITERIA[name].score.__module__}")
        CRITERIA[name] = Criterion(score, needs_frames, summary)
        return score

    return register


def usable_batches(batches: Batches) -> list[Batch]:
    """The batches of at least two frames."""
    return [batch for batch in batches if not isinstance(batch, Problems) and len(batch.images) > 1]
