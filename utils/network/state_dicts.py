"""Reading tensors from untrusted files, and renaming them to this project's names."""

import pickle
import re
from collections.abc import Mapping
from pathlib import Path

import torch

from utils.errors import UserError

_RESNET_NAMES = ((r"^conv1\.(?=\w+$)", "conv1.0."), (r"^bn1\.", "conv1.1."), (r"^layer(\d)\.", r"encoder\1."))


def read_weights(path: str | Path) -> dict:
    """The dict in a `.pt` file, loaded without executing code from the file. Raises `UserError`."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: there is no such file; check the path")
    if path.stat().st_size == 0:
        raise UserError(f"{path}: the file is empty; copy or write it again")
    try:
        contents = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = re.search(r"WeightsUnpickler error: ([^\n]{0,200})", str(error))
        raise UserError(
            f"{path}: refused, because it is damaged or contains objects that could execute code "
            f"({reason[1] if reason else 'not a PyTorch file'}); give an intact checkpoint of tensors"
        ) from None
    except Exception as error:  # a damaged file can raise any exception
        message = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"{path}: no checkpoint, or a damaged one ({message}); copy it again") from None
    if not isinstance(contents, dict):
        raise UserError(f"{path}: holds a {type(contents).__name__}; expected a checkpoint or a state dict")
    return contents


def canonical_names(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A state dict with this project's names, each tensor once.

    The prefix `module.` (of DataParallel) is removed. `resnet.*` and the names of a plain ResNet become `conv1.*` and
    `encoder*`; where both exist, as in the earlier code's files, they are the same tensors. ResNet's classifier, which
    this network does not use, is left out.
    """
    state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    own: dict[str, torch.Tensor] = {}
    aliases: dict[str, torch.Tensor] = {}
    for name, tensor in state.items():
        plain = name.removeprefix("resnet.")
        for pattern, replacement in _RESNET_NAMES:
            plain = re.sub(pattern, replacement, plain)
        (own if plain == name else aliases)[plain] = tensor
    return {name: tensor for name, tensor in (aliases | own).items() if not name.startswith("fc.")}
