"""Checkpoints: single `.pt` files, written atomically, that load with `torch.load(weights_only=True)`.

Contents: format (version), model (state dict), plan (channel plan), origin (see `utils.network.origin`). A training
run adds what it needs to resume: optimizer, scheduler, scaler, rng, epoch, step, best_score, arguments, metrics. Files
of the earlier code can be read, too: a dict with `model_state_dict`, or a bare state dict, of an original or a pruned
network, with or without the prefix `module.`.
"""

import errno
import os
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from utils.errors import UserError
from utils.network.base import TextNetwork
from utils.network.channels import ORIGINAL_PLAN, plan_of
from utils.network.origin import Origin
from utils.network.rejector import note_left_out
from utils.network.state_dicts import canonical_names, check_tensors, read_weights
from utils.runtime.files import atomic_file

FORMAT = 1
"""Version of the files that this code writes."""

EARLIER_NAMES = {
    "model_state_dict": "model",
    "optimizer_state_dict": "optimizer",
    "lr_scheduler_state_dict": "scheduler",
}
"""Keys of the earlier code's files -> present keys."""

_HYPERPARAMETERS = ("lr", "initial_lr", "betas", "eps", "weight_decay")
"""Entries of a parameter group that are restored. Others, such as `fused`, are the choice of the current run."""

_UNUSED_CLASSIFIER = (108, 109)
"""Indices of ResNet's classifier among the 144 parameters of the earlier code's optimizer."""


def save_checkpoint(path: str | Path, network: TextNetwork, *, weights: nn.Module | None = None, **contents) -> None:
    """Write a network with its plan and origin, and any other contents, atomically. Raises `UserError`.

    weights: a module with the tensors to write, such as an average of the network's; by default the network itself.
    """
    state = {name: tensor.detach().cpu() for name, tensor in (weights or network).state_dict().items()}
    write_atomically(path, {"format": FORMAT, "model": state, **describe_channels(network), **contents})


def save_successor(path: Path, network: TextNetwork, contents: Mapping) -> None:
    """Write a network made from a checkpoint's, in a folder that may be new; print what does not fit it.

    contents: the others of that checkpoint. Raises `UserError`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint(path, network)
    if left_out := note_left_out(contents):
        print(left_out)


def describe_channels(network: TextNetwork) -> dict[str, dict]:
    """The entries `plan` and `origin` of a network's checkpoint."""
    return {"plan": dict(network.plan), "origin": network.origin._asdict()}


def write_atomically(path: str | Path, contents: dict) -> None:
    """Write the contents with `torch.save`, atomically: temporary file, fsync, rename.

    Raises `UserError` if that fails, on a full disk for example; an old file at `path` is unchanged then.
    """
    path = Path(path)
    try:
        with atomic_file(path) as file:
            torch.save(contents, file)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise UserError(f"{path}: could not be written ({error.strerror}); the old file is unchanged") from None
        raise _disk_full(path, contents) from None
    except RuntimeError:  # torch's writer turns ENOSPC into a RuntimeError
        if _free_bytes(path.parent) > _size_of(contents):
            raise
        raise _disk_full(path, contents) from None


def _disk_full(path: Path, contents: dict) -> UserError:
    needed, free = _size_of(contents), _free_bytes(path.parent)
    return UserError(
        f"{path}: could not be written (disk full); it takes about {needed / 2**20:.1f} MiB, "
        f"{max(needed - free, 0) / 2**20:.1f} more than are free; the old file is unchanged"
    )


def load_model(path: str | Path) -> tuple[TextNetwork, dict]:
    """A checkpoint's network, in eval mode and at its own widths, and the other contents by their present keys.

    Raises `UserError` for a file that is missing, damaged or of another network.
    """
    # Only here, utils imports the networks: the contents of a checkpoint determine the class of its network.
    from model import FOTSModel
    from model_pruned import FOTSModelPruned

    contents = read_weights(path)
    if isinstance(contents.get("format"), int) and contents["format"] > FORMAT:
        raise UserError(f"{path}: format {contents['format']} is newer than this program's {FORMAT}; update it")
    contents = {EARLIER_NAMES.get(name, name): value for name, value in contents.items()}
    if "model" not in contents:
        contents = {"model": contents}
    try:
        state = canonical_names(contents.pop("model"))
        plan = plan_of(state)
    except KeyError as error:
        raise UserError(f"{path}: no checkpoint of this network ({error} is missing); check the path") from None
    except (AttributeError, TypeError):
        raise UserError(
            f"{path}: no checkpoint of this network (it holds no tensors by name); check the path"
        ) from None
    try:
        network = FOTSModel() if plan == ORIGINAL_PLAN else FOTSModelPruned(plan)
        check_tensors(state, network.state_dict())
        network.load_state_dict(state)
        network.origin = Origin.of_file(contents.pop("origin", None), state, plan)
    except UserError as error:
        raise UserError(f"{path}: no checkpoint of this network ({error})") from None
    except RuntimeError as error:
        reason = "; ".join(line.strip() for line in str(error).splitlines()[1:3])
        raise UserError(f"{path}: no checkpoint of this network ({reason}); check the path") from None
    return network.eval(), contents


def plain_arguments(arguments: Mapping[str, object]) -> dict[str, object]:
    """The values of a command line as files hold them: paths as text."""
    return {name: str(value) if isinstance(value, Path) else value for name, value in arguments.items()}


def arguments_of(contents: Mapping) -> dict:
    """The arguments of the run that wrote a checkpoint, from its contents; {} if it has none."""
    arguments = contents.get("arguments")
    return arguments if isinstance(arguments, dict) else {}


def check_pruned(path: str | Path, network: TextNetwork, expected: bool) -> None:
    """Raise `UserError` if a checkpoint's network is pruned and --prune is not given, or the reverse."""
    if network.pruned and not expected:
        raise UserError(f"{path}: a pruned network; give --prune with it")
    if expected and not network.pruned:
        raise UserError(f"{path}: not a pruned network; drop --prune, or prune it first with prune.py")


def restore_optimizer(optimizer: torch.optim.Optimizer, state: Mapping) -> str | None:
    """Load an optimizer's state from a checkpoint. Returns the reason if it does not fit, else None.

    In files of the earlier code, the optimizer has two more parameters, those of ResNet's unused classifier: 144
    parameters, of which 142 have a state.
    """
    moments, reason = match_parameters(state, [group["params"] for group in optimizer.param_groups])
    if reason:
        return reason
    own = optimizer.state_dict()
    groups = [
        group | {name: stored[name] for name in _HYPERPARAMETERS if name in stored}
        for group, stored in zip(own["param_groups"], state["param_groups"], strict=True)
    ]
    optimizer.load_state_dict({"state": moments, "param_groups": groups})
    for parameter, values in optimizer.state.items():
        for name, value in values.items():
            if value.shape == parameter.shape:  # fused Adam requires the same memory layout
                values[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
    return None


def match_parameters(state: Mapping, groups: list[list[nn.Parameter]]) -> tuple[dict[int, dict], str | None]:
    """An optimizer's state by parameter index, and None; or {}, and the reason why it does not fit.

    state: of a checkpoint, also of the earlier code. groups: the optimizer's parameters by group, in order.
    """
    if not isinstance(state, Mapping) or not {"state", "param_groups"} <= state.keys():
        return {}, "it holds no valid optimizer state"
    indices = [index for group in state["param_groups"] for index in group["params"]]
    parameters = [parameter for group in groups for parameter in group]
    if len(indices) == len(parameters) + len(_UNUSED_CLASSIFIER):
        indices = [index for number, index in enumerate(indices) if number not in _UNUSED_CLASSIFIER]
    if len(groups) != len(state["param_groups"]):
        return {}, "its optimizer had other parameter groups (--decay-weights-only)"
    if len(indices) != len(parameters):
        return {}, f"the optimizer state is for {len(indices)} parameters, the network has {len(parameters)}"
    moments = {}
    for number, (index, parameter) in enumerate(zip(indices, parameters, strict=True)):
        if index in state["state"]:
            moments[number] = state["state"][index]
            for name, value in moments[number].items():
                if torch.is_tensor(value) and value.dim() and value.shape != parameter.shape:
                    shapes = f"{tuple(value.shape)} for a parameter of {tuple(parameter.shape)}"
                    return {}, f"the optimizer state has {name} of shape {shapes}"
    return moments, None


def rng_state() -> dict:
    """The states of this process's random number generators, as tensors."""
    on_gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    return {"cpu": torch.get_rng_state(), "cuda": on_gpus}


def _size_of(contents: dict) -> int:
    """Bytes of all tensors in the contents."""
    return sum(tensor.nbytes for tensor in _tensors(contents))


def _tensors(contents) -> list[torch.Tensor]:
    if torch.is_tensor(contents):
        return [contents]
    values = contents.values() if isinstance(contents, Mapping) else contents if isinstance(contents, list) else []
    return [tensor for value in values for tensor in _tensors(value)]


def _free_bytes(folder: Path) -> int:
    usage = os.statvfs(folder)
    return usage.f_bavail * usage.f_frsize
