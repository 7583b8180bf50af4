"""How far a run has come: what is saved within an epoch and restored by --resume."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from utils.data.problems import Problems
from utils.errors import UserError
from utils.network.loss_terms import BaseCriterion, LossSums
from utils.runtime.distributed import Ranks
from utils.training.step import StepOutcome


@dataclass
class Progress:
    """The epochs done, and how the current epoch goes in this process."""

    criterion: BaseCriterion
    epoch: int = 0
    """Complete epochs."""
    best_score: float = -1.0
    """Best validation hmean."""
    last_row: Mapping[str, object] | None = None
    """The line of results.csv of the last complete epoch."""
    step: int = 0
    """Steps done in the current epoch; below, its images, their losses, and the number of skipped steps."""
    images: int = 0
    sums: LossSums = field(init=False)
    distilled: torch.Tensor | float = 0.0
    problems: Problems = field(default_factory=Problems)
    skipped: int = 0
    skipped_in_a_row: int = 0
    gathered: dict = field(default_factory=dict)
    """The current epoch's numbers over all processes, as of the last `gather`; a checkpoint holds it."""

    def __post_init__(self) -> None:
        self.sums = self.criterion.zeros()

    def add(self, outcome: StepOutcome) -> None:
        """Add a step's losses and images; waits for no device."""
        self.images += outcome.images
        for sums in outcome.sums:
            self.sums += sums
        self.distilled = self.distilled + outcome.distilled
        self.step += 1

    def gather(self, ranks: Ranks) -> None:
        """Sum the current epoch's numbers over all processes, each of which has to call this."""
        *totals, distilled, images = ranks.sum([*self.sums.tolist(), float(self.distilled), self.images])
        self.gathered = {
            "images": int(images),
            "totals": totals,
            "distilled": distilled,
            "skipped": self.skipped,
            "world": ranks.world,
        }

    def restore(self, step: int, gathered: Mapping, ranks: Ranks) -> None:
        """Continue an epoch after `step` steps, with the numbers that a checkpoint holds.

        Raises `UserError` within an epoch if the number of processes differs, since they would draw other images.
        """
        if step and gathered["world"] != ranks.world:
            raise UserError(
                f"the run was stopped within an epoch with {gathered['world']} processes, not {ranks.world}; "
                f"resume with {gathered['world']} (--ngpus {gathered['world']}, or torchrun as before)"
            )
        self.step, self.skipped, self.gathered = step, gathered["skipped"], dict(gathered)
        if ranks.is_first:
            self.images, self.sums = gathered["images"], self.criterion.of(gathered["totals"])
            self.distilled = gathered["distilled"]

    def start_epoch(self, ranks: Ranks) -> None:
        """Reset the current epoch's numbers, on all processes together."""
        self.step = self.images = self.skipped = 0
        self.sums, self.distilled, self.problems = self.criterion.zeros(), 0.0, Problems()
        self.gather(ranks)

    def losses(self) -> dict[str, float]:
        """The loss, its terms and the distillation loss as means over the epoch so far, as of `gather`, by name."""
        distillation = self.gathered["distilled"] / max(self.gathered["images"], 1)
        return {**self.criterion.of(self.gathered["totals"]).parts(), "distillation": distillation}
