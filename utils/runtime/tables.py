"""Tables as aligned text."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from utils.errors import printable


def format_table(rows: Sequence[Sequence[str]], words: int = 1) -> str:
    """Lines of aligned columns under a header, which is the first row.

    The first `words` columns are aligned to the left, the others, which hold numbers, to the right.
    """
    rows = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if column < words else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def folder_labels(folders: Sequence[Path]) -> list[str]:
    """What a table or chart calls each folder: its name, or the path as given where several have the name."""
    counts = Counter(folder.name for folder in folders)
    return [folder.name if folder.name and counts[folder.name] == 1 else str(folder) for folder in folders]
