"""Packages that only some users need, imported where they are used."""

import importlib
from types import ModuleType

from utils.errors import UserError


class MissingPackage(UserError):
    """A package that was asked for is not installed."""


def need(module: str, what_for: str, install: str = "-r requirements-extra.txt") -> ModuleType:
    """The module, or `MissingPackage` with one line that says what to install."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingPackage(f"{what_for} needs a package that is not there ({error}): pip install {install}") from None
