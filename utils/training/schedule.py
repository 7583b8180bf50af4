"""Learning rates over a run: halved on a plateau, or a cosine after a warm-up."""

import math

import torch
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau


class Schedule:
    """A schedule of either kind; a run calls both `after_step` and `after_epoch`.

    plateau: the rate is halved when the watched loss has not fallen for more than `patience` epochs.
    cosine: the rate rises linearly over `warmup_steps`, then follows a half cosine down to zero at `total_steps`.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, kind: str, patience: int, warmup_steps: int, total_steps: int):
        self.kind, self._optimizer = kind, optimizer
        self._scheduler: ReduceLROnPlateau | LambdaLR
        self._rate = optimizer.param_groups[0]["lr"]
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
        if isinstance(self._scheduler, LambdaLR):
            self._scheduler.step()

    def after_epoch(self, watched_loss: float) -> None:
        if isinstance(self._scheduler, ReduceLROnPlateau):
            self._scheduler.step(watched_loss)

    def state_dict(self) -> dict:
        return {"kind": self.kind, **self._scheduler.state_dict()}

    def reset_rate(self) -> None:
        """Set the optimizer's rate to the one that this schedule starts with, whatever a checkpoint restored."""
        is_cosine = isinstance(self._scheduler, LambdaLR)
        rates = self._scheduler.get_last_lr() if is_cosine else [self._rate] * len(self._optimizer.param_groups)
        for group, rate in zip(self._optimizer.param_groups, rates, strict=True):
            group["lr"] = rate

    def set_patience(self, patience: int) -> None:
        """Change the plateau schedule's patience."""
        if isinstance(self._scheduler, ReduceLROnPlateau):
            self._scheduler.patience = patience

    def load_state_dict(self, state: dict) -> bool:
        """Load a schedule's state. Returns False, and loads nothing, if it is of the other kind."""
        if state.get("kind") != self.kind:
            return False
        self._scheduler.load_state_dict({name: value for name, value in state.items() if name != "kind"})
        return True
