"""What the command lines share: a parser that answers a wrong line with one line, and argument types."""

import argparse
from collections.abc import Callable
from pathlib import Path

from utils.errors import fail


class Parser(argparse.ArgumentParser):
    """Takes no abbreviated options and answers a wrong line with one line and exit code 2."""

    def __init__(self, description: str):
        super().__init__(
            description=description, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
        )

    def error(self, message: str) -> None:
        fail(f"{message} (--help lists the options)")

    def given(self, arguments: list[str] | None) -> set[str]:
        """The options that a line names, by the names of their values."""
        absent = object()
        blank = argparse.Namespace(**dict.fromkeys(vars(self.parse_args(arguments)), absent))
        return {name for name, value in vars(self.parse_args(arguments, blank)).items() if value is not absent}


def option(group, names, kind: Callable, default, metavar, text: str, **more) -> None:
    """An option with a value, its default in its help. names: one, or a tuple of synonyms."""
    names = (names,) if isinstance(names, str) else names
    text += "" if default is None else " (default %(default)s)"
    group.add_argument(*names, type=kind, default=default, metavar=metavar, help=text, **more)


def flag(group, name: str, text: str) -> None:
    group.add_argument(name, action="store_true", help=text)


def given_text(text: str) -> str:
    """Argument type: a path or the like. An empty one is most often a variable that was never set."""
    if not text.strip():
        raise argparse.ArgumentTypeError("an empty value; is a variable not set?")
    return text


def given_path(text: str) -> Path:
    """Argument type: as `given_text`, a path."""
    return Path(given_text(text))


def whole_number(least: int, most: int = 2**31 - 1):
    """Argument type: a whole number from `least` to `most`."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if not least <= value <= most:
            upper = "or more" if value < least else f"to {most}"
            raise argparse.ArgumentTypeError(f"{text[:40]!r}; expected a whole number, {least} {upper}")
        return value

    return parse


def number(low: float, high: float = float("inf")):
    """Argument type: a number from low to high."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not low <= value <= high or value == float("inf"):
            bounds = f"{low:g} or more" if high == float("inf") else f"from {low:g} to {high:g}"
            raise argparse.ArgumentTypeError(f"{text!r}; expected a number, {bounds}")
        return value

    return parse
