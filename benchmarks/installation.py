"""The size of what is installed in virtual environments."""

from collections.abc import Sequence
from pathlib import Path

from utils.errors import UserError

LARGEST = 3
"""Packages of each environment that are named."""


def installation_table(environments: Sequence[Path]) -> list[list[str]]:
    """A row for each environment: its name, MB, and its largest packages."""
    return [["installed", "MB", "of these"], *([str(each), *measure(each)] for each in environments)]


def measure(environment: Path) -> tuple[str, str]:
    """The MB of all files, without what links refer to; the largest packages. Raises `UserError` for no environment."""
    packages = [each for folder in environment.rglob("site-packages") for each in folder.iterdir()]
    if not packages:
        raise UserError(f"--environments {environment}: no packages there; give the folder of a virtual environment")
    sizes = {each.name: megabytes(each) for each in packages if each.is_dir()}
    largest = sorted(sizes, key=lambda name: -sizes[name])[:LARGEST]
    return f"{megabytes(environment):.0f}", ", ".join(f"{name} {sizes[name]:.0f}" for name in largest)


def megabytes(folder: Path) -> float:
    files = (each.lstat() for each in folder.rglob("*") if each.is_symlink() or each.is_file())
    return sum(file.st_size for file in files) / 1e6
