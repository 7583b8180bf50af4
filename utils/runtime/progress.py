"""Progress bars, shown on a terminal only.

Elsewhere tqdm is not imported: that takes longer than importing OpenCV.
"""

import sys
from collections.abc import Iterable
from typing import Any


class _Hidden:
    """The part of tqdm's interface that `detect.py` uses, without a bar."""

    def __init__(self, items: Iterable):
        self._items = items

    def __iter__(self):
        return iter(self._items)

    def __enter__(self):
        return self

    def __exit__(self, *_error: object) -> None:
        pass

    def update(self) -> None:
        """Count one more item."""


def progress(items: Iterable | None = None, **options: Any) -> Any:
    """A bar over the items, or one that its `update` moves: tqdm's on a terminal, else one that is not shown.

    options: of tqdm.
    """
    if not is_shown():
        return _Hidden(items or ())
    from tqdm import tqdm

    return tqdm(items, leave=False, **options)


def write_line(text: str) -> None:
    """Print a line above the bars that are shown."""
    if is_shown():
        from tqdm import tqdm

        tqdm.write(text)
    else:
        print(text)


def is_shown() -> bool:
    """Whether the standard error stream, where bars are shown, is a terminal."""
    return sys.stderr is not None and sys.stderr.isatty()
