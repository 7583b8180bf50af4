"""Reading tensors from files that anybody may have written, and the names that they bear in ours."""

import pickle
import re
from collections.abc import Mapping
from pathlib import Path

import torch

from utils.errors import UserError

_RESNET_NAMES = ((r"^conv1\.(?=\w+$)", "conv1.0."), (r"^bn1\.", "conv1.1."), (r"^layer(\d)\.", r"encoder\1."))


def read_weights(path: str | Path) -> dict:
    """A `.pt` file's dict, read without running any code in it. Raises `UserError`."""
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
            f"{path}: refused: it is damaged, or no plain file of tensors and could run code "
            f"({reason[1] if reason else 'not a PyTorch file'}); give an intact checkpoint of tensors"
        ) from None
    except Exception as error:  # torch raises whatever a damaged byte leads to
        message = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"{path}: no checkpoint, or a damaged one ({message}); copy it again") from None
    if not isinstance(contents, dict):
        raise UserError(f"{path}: holds a {type(contents).__name__}; expected a checkpoint or a state dict")
    return contents


def canonical_names(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A state dict by this project's names, each tensor once.

    Takes off `module.` (DataParallel). `resnet.*`, and a plain ResNet's names, become `conv1.*` and
    `encoder*`, unless these stand there too: they are the same tensors in the earlier code's files.
    ResNet's classifier, which this network has no use for, is left out.
    """
    state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    own, aliases = {}, {}
    for name, tensor in state.items():
        plain = name.removeprefix("resnet.")
        for pattern, replacement in _RESNET_NAMES:
            plain = re.sub(pattern, replacement, plain)
        (own if plain == name else aliases)[plain] = tensor
    return {name: tensor for name, tensor in (aliases | own).items() if not name.startswith("fc.")}
