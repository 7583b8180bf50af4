"""Checkpoints: one `.pt` file, written atomically, that loads with `torch.load(weights_only=True)`.

Contents: format (version), model (state dict), plan (channel plan), origin (see `utils.network.origin`), and for a run
to go on: optimizer, scheduler, scaler, rng, epoch, step, best_score, arguments, metrics. Files of the earlier code
are read too: a dict with `model_state_dict`, or a bare state dict, pruned or not, with or without `module.`.
"""

import errno
import os
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from utils.errors import UserError
from utils.network.channels import ORIGINAL_PLAN, plan_of
from utils.network.origin import Origin
from utils.network.state_dicts import canonical_names, read_weights
from utils.runtime.files import atomic_file, link_or_copy

FORMAT = 1
EARLIER_NAMES = {
    "model_state_dict": "model",
    "optimizer_state_dict": "optimizer",
    "lr_scheduler_state_dict": "scheduler",
}
_HYPERPARAMETERS = ("lr", "initial_lr", "betas", "eps", "weight_decay")
"""What a group of parameters brings along; how the steps are computed is this run's choice."""
_UNUSED_CLASSIFIER = (108, 109)
"""Places of ResNet's classifier among the 144 parameters of the earlier code's optimizer."""


def save_checkpoint(path: str | Path, model: nn.Module, *, weights: nn.Module | None = None, **contents) -> None:
    """Write model, plan and whatever else the run needs; the old file stays until the new one is whole.

    weights: where the model's tensors are taken from, if not from itself (an average of them).
    """
    state = {name: tensor.detach().cpu() for name, tensor in (weights or model).state_dict().items()}
    write_atomically(path, {"format": FORMAT, "model": state, **describe_channels(model), **contents})


def describe_channels(model: nn.Module) -> dict[str, dict]:
    """What a checkpoint says of its network's channels."""
    return {"plan": dict(model.plan), "origin": model.origin._asdict()}


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


def save_again(path: Path, *others: Path) -> None:
    """Save the checkpoint at `path` under other names, too: as hard links where the file system has them."""
    for other in others:
        link_or_copy(path, other)


def load_model(path: str | Path) -> tuple[nn.Module, dict]:
    """The network in eval mode, at its own widths, and the file's other contents by our names.

    Raises `UserError` for a file that is missing, damaged or of another network.
    """
    # The one place that looks upwards: a checkpoint's type of network is known from its contents alone.
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
        model = FOTSModel() if plan == ORIGINAL_PLAN else FOTSModelPruned(plan)
        model.load_state_dict(state)
        model.origin = Origin.of_file(contents.pop("origin", None), state, plan)
    except UserError as error:
        raise UserError(f"{path}: no checkpoint of this network ({error})") from None
    except RuntimeError as error:
        reason = "; ".join(line.strip() for line in str(error).splitlines()[1:3])
        raise UserError(f"{path}: no checkpoint of this network ({reason}); check the path") from None
    return model.eval(), contents


def check_pruned(path: str | Path, model: nn.Module, asked: bool) -> None:
    """Raises `UserError` where `--prune` is given and the network is not pruned, or the other way round."""
    if model.pruned and not asked:
        raise UserError(f"{path}: a pruned network; give --prune with it")
    if asked and not model.pruned:
        raise UserError(f"{path}: not a pruned network; drop --prune, or prune it first with prune.py")


def restore_optimizer(optimizer: torch.optim.Optimizer, state: Mapping) -> str | None:
    """Load an optimizer's state, ours or the earlier code's. Returns why not, if it does not fit.

    The earlier code's optimizer also counted ResNet's unused classifier: 144 parameters of which 142 have
    a state.
    """
    moments, reason = match_parameters(state, [group["params"] for group in optimizer.param_groups])
    if reason:
        return reason
    own = optimizer.state_dict()
    groups = [
        ours | {name: theirs[name] for name in _HYPERPARAMETERS if name in theirs}
        for ours, theirs in zip(own["param_groups"], state["param_groups"], strict=True)
    ]
    optimizer.load_state_dict({"state": moments, "param_groups": groups})
    for parameter, values in optimizer.state.items():
        for name, value in values.items():
            if value.shape == parameter.shape:  # fused Adam takes it for granted that their memory is ordered alike
                values[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
    return None


def match_parameters(state: Mapping, groups: list[list[nn.Parameter]]) -> tuple[dict[int, dict], str | None]:
    """An optimizer's state by the places of the parameters of these groups; or why it does not fit them.

    state: ours or the earlier code's.
    """
    if not isinstance(state, Mapping) or not {"state", "param_groups"} <= state.keys():
        return {}, "its optimizer state is none"
    places = [place for group in state["param_groups"] for place in group["params"]]
    parameters = [parameter for group in groups for parameter in group]
    if len(places) == len(parameters) + len(_UNUSED_CLASSIFIER):
        places = [place for number, place in enumerate(places) if number not in _UNUSED_CLASSIFIER]
    if len(groups) != len(state["param_groups"]):
        return {}, "its optimizer had other groups of parameters (--decay-weights-only)"
    if len(places) != len(parameters):
        return {}, f"the optimizer state is for {len(places)} parameters, the network has {len(parameters)}"
    moments = {}
    for number, (place, parameter) in enumerate(zip(places, parameters, strict=True)):
        if place in state["state"]:
            moments[number] = state["state"][place]
            for name, value in moments[number].items():
                if torch.is_tensor(value) and value.dim() and value.shape != parameter.shape:
                    shapes = f"{tuple(value.shape)} for a parameter of {tuple(parameter.shape)}"
                    return {}, f"the optimizer state has {name} of shape {shapes}"
    return moments, None


def rng_state() -> dict:
    """The random state of this process, as tensors."""
    return {"cpu": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state_all()}


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
