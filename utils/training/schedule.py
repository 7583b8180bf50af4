"""Learning rates over a run: halved on a plateau, or a cosine after a warm-up."""

import math

import torch
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau


class Schedule:
    """`after_step` and `after_epoch` are called for either kind; each does its part.

    plateau: the rate is halved when the watched loss has not fallen for more than `patience` epochs.
    cosine: a straight line up over `warmup_steps`, then a half cosine down to zero at `total_steps`.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, kind: str, patience: int, warmup_steps: int, total_steps: int):
        self.kind = kind
        if kind == "plateau":
            self._scheduler = ReduceLROnPlateau(optimizer, factor=0.5, patience=patience)
        else:

            def factor(step: int) -> float:
                if step < warmup_steps:
                    return (step + 1) / warmup_steps
                share = (step - warmup_steps) / max(total_steps - warmup_steps, 1)
                return 0.5 * (1 + math.cos(math.pi * min(share, 1)))

            self._scheduler = LambdaLR(optimizer, factor)

    def after_step(self) -> None:
        if self.kind == "cosine":
            self._scheduler.step()

    def after_epoch(self, watched_loss: float) -> None:
        if self.kind == "plateau":
            self._scheduler.step(watched_loss)

    def state_dict(self) -> dict:
        return {"kind": self.kind, **self._scheduler.state_dict()}

    def begin(self, optimizer: torch.optim.Optimizer, rate: float) -> None:
        """Set the rate that this schedule begins with, whatever a loaded optimizer brought along."""
        for group, first in zip(optimizer.param_groups, self._scheduler.get_last_lr(), strict=True):
            group["lr"] = first if self.kind == "cosine" else rate

    def set_patience(self, patience: int) -> None:
        self._scheduler.patience = patience

    def load_state_dict(self, state: dict) -> bool:
        """False, and nothing loaded, where the state is of another kind of schedule."""
        if state.get("kind") != self.kind:
            return False
        self._scheduler.load_state_dict({name: value for name, value in state.items() if name != "kind"})
        return True
