"""The criteria: functions that score the channels of a network.

To add a criterion, add a file to this folder; `prune.py --criterion`, its help, the benchmark and the tests find it.
The file holds a function with a decorator:

    import torch

    from utils.pruning.importance import Evidence, Scores, criterion

    @criterion("mean", "the BatchNorm's shift", needs_frames=False)
    def score(evidence: Evidence) -> Scores:
        return combine_layers(evidence.state, lambda layer, filters: ...)   # of utils.pruning.layer_scores

Given a network and, with `needs_frames=True`, training frames (`evidence.model`, `.state`, `.batches`, `.loss`,
`.inputs`, `.seed`), it returns one score for each channel by channel group. Channels of the lowest scores are removed.
Scores of different groups are compared with `Rules(scope="global")`.
"""

import importlib
import pkgutil

from utils.errors import UserError
from utils.pruning.importance import CRITERIA, Criterion, Evidence, Scores

__all__ = ["CRITERIA", "Criterion", "score_channels"]

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")


def score_channels(evidence: Evidence, name: str) -> Scores:
    """The scores of a network's channels by the criterion of this name.

    Raises `UserError` for an unknown name, or if the criterion needs training frames and `evidence` has none.
    """
    if name not in CRITERIA:
        raise UserError(f"criterion {name!r}: unknown; expected one of {', '.join(sorted(CRITERIA))}")
    if CRITERIA[name].needs_frames and not evidence.batches:
        raise UserError(f"criterion {name!r}: needs training frames; give batches of at least two frames")
    return CRITERIA[name].score(evidence)
