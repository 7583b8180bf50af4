"""The files that a pruning writes: a checkpoint for fine-tuning, and JSON files."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from utils.checkpoint import plain_arguments, save_checkpoint
from utils.network.base import TextNetwork
from utils.pruning.network_pruning import Pruning
from utils.pruning.optimizer_state import select_optimizer
from utils.runtime.files import write_file


def save_pruning(
    path: Path, pruning: Pruning, before: TextNetwork, optimizer: Mapping | None, arguments: Mapping
) -> str | None:
    """Write a checkpoint of the pruned network at epoch 0. Returns why it has no optimizer state, if that does not fit.

    before: the network before pruning. optimizer: the state of its optimizer; the checkpoint gets the kept channels of
    it. arguments: of the command line, for the record.
    """
    others: dict[str, Any] = {}
    reason = None
    if optimizer is not None:
        state, reason = select_optimizer(optimizer, before, pruning.kept)
        others = {} if reason else {"optimizer": state}
    save_checkpoint(path, pruning.network, epoch=0, arguments=plain_arguments(arguments), **others)
    return reason


def write_json(path: Path, contents: Mapping) -> None:
    """Write a JSON file that people can read, atomically."""
    write_file(path, json.dumps(contents, indent=2) + "\n")
