"""Optional packages, imported only where they are used."""

import importlib
from types import ModuleType

from utils.errors import UserError


class MissingPackage(UserError):
    """An optional package is not installed."""


def import_optional(module: str, purpose: str, install: str = "-r requirements-extra.txt") -> ModuleType:
    """The imported module; raises `MissingPackage`, which says what to install, if it cannot be imported.

    purpose: what needs it, such as an option. install: the arguments of `pip install`.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingPackage(
            f"{purpose} needs a package that is not installed ({error}): pip install {install}"
        ) from None
