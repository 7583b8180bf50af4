"""What losses share: terms as sums and counts, which add up over batches and processes as means do not."""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch

from utils.maps import Prediction, Target

ANGLE_WEIGHT = 10.0
"""Weight of the angle's loss beside the box's (FOTS, section 3.5)."""

Counts = Mapping[str, torch.Tensor | float]
"""Numbers of chosen cells by name."""


class Term(NamedTuple):
    """A term of a loss: the mean of some values over chosen cells, times a weight."""

    name: str
    cells: str
    """Name of the count that the term's sum is divided by; terms may share one."""
    weight: float = 1.0


@dataclass(frozen=True)
class LossSums:
    """Each term summed over the chosen cells of some images, and the counts of these cells: scalar tensors."""

    terms: tuple[Term, ...]
    sums: dict[str, torch.Tensor]
    """By the terms' names."""
    counts: dict[str, torch.Tensor]
    """By the names in the terms' `cells`."""

    @classmethod
    def of(cls, terms: tuple[Term, ...], values: Sequence[torch.Tensor]) -> "LossSums":
        """From values in the order of `values()`."""
        counts = dict(zip(count_names(terms), values[len(terms) :], strict=True))
        return cls(terms, {term.name: value for term, value in zip(terms, values, strict=False)}, counts)

    def values(self) -> list[torch.Tensor]:
        """The sums in the terms' order, then the counts in `count_names`' order."""
        return [self.sums[term.name] for term in self.terms] + [self.counts[name] for name in count_names(self.terms)]

    def tolist(self) -> list[float]:
        """The values as plain numbers; waits for the device."""
        return [float(value) for value in self.values()]

    def map(self, change: Callable[[torch.Tensor], torch.Tensor]) -> "LossSums":
        """Sums whose values are `change` of these."""
        return self.of(self.terms, [change(value) for value in self.values()])

    def __add__(self, other: "LossSums") -> "LossSums":
        return self.of(self.terms, list(map(torch.add, self.values(), other.values())))

    def loss(self) -> torch.Tensor:
        """The loss of these images, a scalar: the terms' means over the cells, weighted and added; 0 without cells."""
        return self.over(self.counts)

    def over(self, counts: Counts) -> torch.Tensor:
        """These images' part of the loss of a larger batch, a scalar. counts: of the cells of that whole batch."""
        groups: dict[str, torch.Tensor] = {}
        for term in self.terms:
            weighted = term.weight * self.sums[term.name]
            groups[term.cells] = groups[term.cells] + weighted if term.cells in groups else weighted
        means = [weighted / torch.as_tensor(counts[cells]).clamp(min=1) for cells, weighted in groups.items()]
        return functools.reduce(torch.add, means)

    def parts(self) -> dict[str, float]:
        """`loss` and each term's unweighted mean over the chosen cells, by name; waits for the device."""
        means = {term.name: float(self.sums[term.name]) / max(float(self.counts[term.cells]), 1) for term in self.terms}
        return {"loss": float(self.loss()), **means}


class BaseCriterion:
    """Base class of `loss.Criterion`; all that `utils` needs to know of a loss.

    A subclass lists its `terms` and computes `__call__` and `counts`; everything else follows from the terms.
    """

    terms: tuple[Term, ...]

    def __call__(self, prediction: Prediction, target: Target) -> LossSums:
        """The terms' sums over the chosen cells of a batch, with gradients. Maps as in `utils.maps`."""
        raise NotImplementedError

    def counts(self, target: Target) -> Counts:
        """The counts that a call returns for this target, whatever the prediction."""
        raise NotImplementedError

    @property
    def names(self) -> tuple[str, ...]:
        """The terms' names, in order."""
        return tuple(term.name for term in self.terms)

    def zeros(self) -> LossSums:
        """The sums of no image, float64 on the CPU."""
        return self.of([0.0] * (len(self.terms) + len(count_names(self.terms))))

    def of(self, values: Sequence[float]) -> LossSums:
        """Sums from plain numbers in the order of `LossSums.tolist`, float64 on the CPU."""
        return LossSums.of(self.terms, list(torch.tensor(values, dtype=torch.float64)))


def count_names(terms: Sequence[Term]) -> tuple[str, ...]:
    """The counts that the terms' sums are divided by, each once, in order."""
    return tuple(dict.fromkeys(term.cells for term in terms))


def box_and_angle_loss(prediction: Prediction, target: Prediction | Target) -> tuple[torch.Tensor, torch.Tensor]:
    """Per cell, (N, cells): -log((I + 1) / (U + 1)) of the axis-aligned boxes, and 1 - cos of the angle difference."""
    predicted, true = prediction.distances.float().flatten(2), target.distances.float().flatten(2)
    overlap = torch.minimum(predicted, true)
    intersection, predicted_area, true_area = (
        (top + bottom) * (left + right)
        for top, right, bottom, left in (d.unbind(1) for d in (overlap, predicted, true))
    )
    union = predicted_area + true_area - intersection
    angle = prediction.angle.float().flatten(1) - target.angle.float().flatten(1)
    return torch.log((union + 1) / (intersection + 1)), 1 - torch.cos(angle)
