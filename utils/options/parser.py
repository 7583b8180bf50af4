"""What all command lines share: a parser with one-line errors, and argument types that check their values."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from utils.errors import fail


class Parser(argparse.ArgumentParser):
    """Accepts no abbreviated options; answers a wrong command line with one line and exit code 2."""

    def __init__(self, description: str | None):
        formatter = argparse.RawDescriptionHelpFormatter
        super().__init__(description=description, formatter_class=formatter, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        fail(f"{message} (--help lists the options)")

    def given(self, arguments: Sequence[str] | None) -> set[str]:
        """The names in the Namespace of all options that the command line gives, whatever their values."""
        absent = object()
        blank = argparse.Namespace(**dict.fromkeys(vars(self.parse_args(arguments)), absent))
        return {name for name, value in vars(self.parse_args(arguments, blank)).items() if value is not absent}


def option(group, name: str, kind: Callable, default, text: str, **more) -> None:
    """Add an option with values; its help shows the default unless that is None.

    name: the option and the placeholders of its values, such as "--crop PX" or "--stretch LOW HIGH"; synonyms as in
    "--epoch/--epochs N". kind: the argument type. more: as for `add_argument`.
    """
    names, *values = name.split()
    if values:
        more["metavar"] = values[0] if len(values) == 1 else tuple(values)
    if len(values) > 1:
        more["nargs"] = len(values)
    text += "" if default is None else " (default %(default)s)"
    group.add_argument(*names.split("/"), type=kind, default=default, help=text, **more)


def flag(group, name: str, text: str) -> None:
    """Add an option without a value."""
    group.add_argument(name, action="store_true", help=text)


def dashed(name: str) -> str:
    """The option of a name in the Namespace: "save_dir" -> "--save-dir"."""
    return f"--{name.replace('_', '-')}"


def nonempty_text(text: str) -> str:
    """Argument type: a text that is not blank. An empty value usually comes from an unset shell variable."""
    if not text.strip():
        raise argparse.ArgumentTypeError("an empty value; is a variable not set?")
    return text


def nonempty_path(text: str) -> Path:
    """Argument type: a path, not blank."""
    return Path(nonempty_text(text))


def whole_number(least: int, most: int = 2**31 - 1) -> Callable[[str], int]:
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


def number(low: float, high: float = float("inf")) -> Callable[[str], float]:
    """Argument type: a finite number from `low` to `high`."""

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
