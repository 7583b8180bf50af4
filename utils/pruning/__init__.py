"""Channel pruning; the Python interface is described in `utils.pruning.network_pruning`."""

from utils.pruning.criteria import CRITERIA
from utils.pruning.importance import Evidence, criterion
from utils.pruning.network_pruning import (
    Method,
    Pruning,
    build_pruning,
    keep_channels,
    prune,
    prune_network,
    remove_masked_channels,
)
from utils.pruning.recalibration import recalibrate_if_better
from utils.pruning.selection import OutOfReach, Rules
from utils.pruning.targets import LatencyTarget, MacsTarget, ParametersTarget, PlanTarget, PruningTarget, Sparsity

__all__ = [
    "CRITERIA",
    "Evidence",
    "LatencyTarget",
    "MacsTarget",
    "Method",
    "OutOfReach",
    "ParametersTarget",
    "PlanTarget",
    "Pruning",
    "PruningTarget",
    "Rules",
    "Sparsity",
    "build_pruning",
    "criterion",
    "keep_channels",
    "prune",
    "prune_network",
    "recalibrate_if_better",
    "remove_masked_channels",
]
