"""The loss as sums and counts, which add up over batches and processes as means would not."""

from typing import NamedTuple

import torch

ANGLE_WEIGHT = 10.0


class LossCounts(NamedTuple):
    """How many cells the loss chooses; it depends on the target alone, so it is known ahead."""

    classification_cells: torch.Tensor | float
    regression_cells: torch.Tensor | float


class LossSums(NamedTuple):
    """Sums over the chosen cells of some images, and how many those are: scalar tensors."""

    classification: torch.Tensor
    iou: torch.Tensor
    angle: torch.Tensor
    classification_cells: torch.Tensor
    regression_cells: torch.Tensor

    @classmethod
    def of(cls, values: list[float]) -> "LossSums":
        """From plain numbers, in float64."""
        return cls(*torch.tensor(values, dtype=torch.float64))

    @classmethod
    def zeros(cls) -> "LossSums":
        return cls.of([0.0] * len(cls._fields))

    def __add__(self, other: "LossSums") -> "LossSums":
        return LossSums(*map(torch.add, self, other))

    def tolist(self) -> list[float]:
        return [float(value) for value in self]

    def loss(self) -> torch.Tensor:
        """The mean over these cells: the loss. Zero where none was chosen."""
        return self.over(LossCounts(self.classification_cells, self.regression_cells))

    def over(self, counts: LossCounts) -> torch.Tensor:
        """The share that these cells have in the mean over `counts` cells (of a larger batch)."""
        classification_cells, regression_cells = (torch.as_tensor(count).clamp(min=1) for count in counts)
        regression = (self.iou + ANGLE_WEIGHT * self.angle) / regression_cells
        return self.classification / classification_cells + regression

    def parts(self, prefix: str = "") -> dict[str, float]:
        """The loss and its parts as means over the chosen cells, by name."""
        classification, iou, angle, cells, positives = self.tolist()
        parts = {
            "loss": float(self.loss()),
            "classification": classification / max(cells, 1),
            "iou": iou / max(positives, 1),
            "angle": angle / max(positives, 1),
        }
        return {f"{prefix}{name}": value for name, value in parts.items()}
