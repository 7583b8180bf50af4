"""Options about sample datasets: one or several folders, each with its format and, in training, its ratio."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from utils.data.layouts import FORMAT_NAMES, SampleFolder
from utils.errors import UserError
from utils.options.machine import MOST_ROUNDS
from utils.options.parser import nonempty_text, number, option


class OneOrMore(argparse.Action):
    """Stores one value as it is, and several as a list."""

    def __call__(self, _parser, namespace, values, _option=None):
        setattr(namespace, self.dest, values[0] if len(values) == 1 else values)


def add_sample_option(group, name: str, text: str, required: bool = False) -> None:
    """Add an option that takes one or several folders; `sample_folders` makes objects of its values."""
    text += "; several folders are used together, each in its own format"
    more = {"nargs": "+", "action": OneOrMore, "required": required}
    option(group, f"{name} DIR", nonempty_text, None, text, **more)


def add_format_option(group) -> None:
    """Add --format."""
    text = "format of the sample folders, one for all or one for each (default: auto, by their contents): auto, "
    text += ", ".join(FORMAT_NAMES)
    option(group, "--format NAME", format_name, None, text, nargs="+", action=OneOrMore)


def add_ratio_option(group) -> None:
    """Add --sample-ratio."""
    text = "how many times an epoch draws each sample frame, one for all folders or one for each; 0.5: a random half"
    option(group, "--sample-ratio X", number(0.01, MOST_ROUNDS), 1.0, text, nargs="+", action=OneOrMore)


def format_name(text: str) -> str:
    """Argument type: a format's name, or auto."""
    if text not in ("auto", *FORMAT_NAMES):
        raise argparse.ArgumentTypeError(f"{text!r}; expected auto or one of {', '.join(FORMAT_NAMES)}")
    return text


def sample_folders(
    paths: str | Path | Sequence[str | Path] | None,
    formats: str | Sequence[str] | None = None,
    ratios: float | Sequence[float] = 1.0,
) -> list[SampleFolder]:
    """The folders that the options give. Raises `UserError` where there are other numbers of formats or ratios."""
    folders = _as_list(paths) if paths else []
    names = _one_each("--format", _as_list(formats or "auto"), len(folders))
    shares = _one_each("--sample-ratio", _as_list(ratios), len(folders))
    _refuse_twice(folders)
    return [
        SampleFolder(path, ratio, None if name == "auto" else name)
        for path, ratio, name in zip(folders, shares, names, strict=True)
    ]


def _refuse_twice(folders: Sequence[str | Path]) -> None:
    places: dict[Path, str | Path] = {}
    for folder in folders:
        if (place := Path(folder).resolve()) in places:
            cure = "give it once (in training, --sample-ratio draws its frames more often)"
            raise UserError(f"{folder}: the same folder as {places[place]}; {cure}")
        places[place] = folder


def _as_list(values) -> list:
    return list(values) if isinstance(values, Sequence) and not isinstance(values, str) else [values]


def _one_each(name: str, values: list, count: int) -> list:
    """As many values as folders; a single one is repeated."""
    if len(values) == 1:
        return values * count
    if count and len(values) != count:
        raise UserError(f"{name}: {len(values)} values for {count} sample folders; give one for all or one for each")
    return values[:count]
