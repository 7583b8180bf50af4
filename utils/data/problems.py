"""Counts of what was repaired in the data or left out of it, with an example of each kind."""

from collections.abc import Iterable

from utils.errors import printable


class Problems:
    """Counts by kind, each with its first example; they add up over files and worker processes."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[int, str]] = {}

    @classmethod
    def together(cls, several: Iterable["Problems"]) -> "Problems":
        """The sum of several."""
        whole = cls()
        for problems in several:
            whole.update(problems)
        return whole

    def add(self, kind: str, example: str, count: int = 1) -> None:
        """Count `count` more of a kind; of its first ones the example is kept."""
        if count:
            before, first = self._found.get(kind, (0, example))
            self._found[kind] = (before + count, first)

    def update(self, other: "Problems") -> None:
        """Add the counts of another one."""
        for kind, (count, example) in other._found.items():
            self.add(kind, example, count)

    def count(self, kind: str) -> int:
        """How many of a kind there are."""
        return self._found.get(kind, (0, ""))[0]

    def rows(self) -> list[tuple[str, int, str]]:
        """(kind, count, first example)."""
        return [(kind, count, example) for kind, (count, example) in self._found.items()]

    def first(self) -> str:
        """The first kind with its example, to end an error message with; "" if there is none."""
        return "".join(f": {count} {kind} (e.g. {example})" for kind, count, example in self.rows()[:1])

    def __bool__(self) -> bool:
        return bool(self._found)

    def __str__(self) -> str:
        return "\n".join(
            f"  {count} {kind} (e.g. {printable(example)})" for kind, (count, example) in self._found.items()
        )
