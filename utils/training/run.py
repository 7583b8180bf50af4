"""A training run: what it trains with, its settings, its progress."""

from dataclasses import dataclass

from utils.runtime.distributed import Ranks
from utils.training.learner import Learner
from utils.training.progress import Progress
from utils.training.step import StepSettings


@dataclass
class Run:
    """A run from one start of the script to its end."""

    learner: Learner
    settings: StepSettings
    progress: Progress
    last_epoch: int
    """The epoch that the run ends with."""
    is_estimated: bool = False
    """Whether an epoch's time has been printed."""
    is_saved: bool = False
    """Whether the last attempt to write last.pt has succeeded, in the first process."""

    @property
    def ranks(self) -> Ranks:
        return self.learner.machine.ranks
