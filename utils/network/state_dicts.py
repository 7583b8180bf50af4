"""Reading tensors from untrusted files, and renaming them to this project's names."""

import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch

from utils.errors import UserError
from utils.runtime.inputs import foreign_type, open_regular

_RESNET_NAMES = ((r"^conv1\.(?=\w+$)", "conv1.0."), (r"^bn1\.", "conv1.1."), (r"^layer(\d)\.", r"encoder\1."))
_FLOATS = {torch.float16, torch.bfloat16, torch.float32, torch.float64}
_INTEGERS = {torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64}


def read_weights(path: str | Path) -> dict:
    """The dict in a `.pt` file, loaded without executing code from the file. Raises `UserError`."""
    path = Path(path)
    _check_file(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the pickle's protocol; what matters is checked below
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


def _check_file(path: Path) -> None:
    """Raise `UserError` for what is no regular file, is empty, is something else, or unpacks to more than it holds."""
    try:
        with open_regular(path) as file:
            head = file.read(64)
            if not head:
                raise UserError(f"{path}: the file is empty; copy or write it again")
            if not head.startswith(b"PK") and (foreign := foreign_type(head)):
                raise UserError(f"{path}: {foreign}; give a PyTorch checkpoint")
            if head.startswith(b"PK") and _is_compressed(file):
                raise UserError(f"{path}: a compressed archive, not as torch.save writes it; give a PyTorch checkpoint")
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file; check the path") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: {getattr(error, 'strerror', None) or error}; give a PyTorch checkpoint") from None


def _is_compressed(file) -> bool:
    """Whether a zip has compressed members, which can unpack to fill the memory. A damaged zip is left to torch."""
    try:
        with zipfile.ZipFile(file) as archive:
            return any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist())
    except Exception:  # zipfile raises whatever a damaged byte leads to
        return False


def check_tensors(state: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]) -> None:
    """Raise `UserError`, naming the tensor, if a network cannot take its tensors from a state dict.

    state: checked where it has a tensor of an expected name. Weights have to be floating-point numbers (16, 32 or
    64 bits), of the expected shapes, finite as float32; running variances also not negative.
    """
    for name, wanted in expected.items():
        if (tensor := state.get(name)) is not None:
            _check_tensor(name, tensor, wanted)


def _check_tensor(name: str, tensor: torch.Tensor, wanted: torch.Tensor) -> None:
    if not torch.is_tensor(tensor):
        raise UserError(f"{name} is a {type(tensor).__name__}; expected a tensor")
    if tensor.shape != wanted.shape:
        raise UserError(f"{name} has shape {tuple(tensor.shape)}; expected {tuple(wanted.shape)}")
    if tensor.layout != torch.strided or tensor.is_meta:
        raise UserError(f"{name} is a sparse tensor or has no values; expected a dense tensor")
    if tensor.dtype not in (_FLOATS if wanted.is_floating_point() else _INTEGERS):
        kind = "floating-point" if wanted.is_floating_point() else "whole"
        raise UserError(f"{name} has the type {tensor.dtype}; expected {kind} numbers")
    if not wanted.is_floating_point():
        return
    finite = torch.isfinite(tensor.float())
    if not finite.all():
        raise UserError(
            f"{name} has {int((~finite).sum())} values that are NaN, infinite or too large; give an earlier checkpoint"
        )
    if name.endswith("running_var") and bool((tensor < 0).any()):
        raise UserError(f"{name} has {int((tensor < 0).sum())} values below zero; a variance has none")


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
