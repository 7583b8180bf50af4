"""Packages that only some users need, imported where they are used."""

import importlib
from types import ModuleType

from utils.errors import UserError


def need(module: str, what_for: str) -> ModuleType:
    """The module, or one line that says what to install."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UserError(f"{what_for} needs a package that is not there ({error}): "
                        "pip install -r requirements-extra.txt") from None  # fmt: skip
