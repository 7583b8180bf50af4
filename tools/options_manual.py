"""Generate docs/options.md, the table of all options, from the parsers of the scripts and tools.

    python3 -m tools.options_manual > docs/options.md
    python3 -m tools.options_manual --check            # exit code 2 if docs/options.md is out of date

Every script and every module of `tools` has `build_parser() -> Parser`, which this tool calls.
"""

import argparse
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

from utils.errors import UserError, run_script
from utils.options.parser import Parser, flag

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "options.md"
SCRIPTS = ("train_sample", "test_sample", "prune", "detect", "export")
"""In the order of the page."""

INTRODUCTION = """\
# Options

All options of the scripts and tools. `python3 -m tools.options_manual > docs/options.md` generates this page from their
parsers; do not edit it. Without a default, an option is off."""


def command_modules() -> list[str]:
    """The names of all modules that have a command line: scripts first, then tools by name."""
    return [*SCRIPTS, *(f"tools.{path.stem}" for path in sorted((ROOT / "tools").glob("[!_]*.py")))]


def make_page() -> str:
    """The page in Markdown."""
    return "\n\n".join([INTRODUCTION, *map(make_section, command_modules())]) + "\n"


def make_section(module_name: str) -> str:
    """The section of one script or tool: its first docstring line, and a table for each group of options."""
    module = importlib.import_module(module_name)
    is_tool = module_name.startswith("tools.")
    title = module_name if is_tool else f"{module_name}.py"
    command = f"python3 -m {module_name}" if is_tool else f"python3 {module_name}.py"
    first_line = (module.__doc__ or "").strip().split("\n\n")[0].replace("\n", " ")
    parts = [f"## {title}", f"`{command}`: {first_line}"]
    for group in module.build_parser()._action_groups:
        rows = [make_row(action) for action in group._group_actions if not isinstance(action, argparse._HelpAction)]
        if rows:
            named = (
                [f"**{capitalised(group.title)}**"] if group.title not in ("options", "positional arguments") else []
            )
            parts += [*named, "\n".join(["| option | meaning | default |", "|---|---|---|", *rows])]
    return "\n\n".join(parts)


def capitalised(text: str | None) -> str:
    """The text with a capital first letter."""
    return text[:1].upper() + text[1:] if text else ""


def make_row(action: argparse.Action) -> str:
    """A table row: names and placeholders of the values, meaning, default."""
    names = ", ".join(f"`{' '.join([name, *values_of(action)])}`" for name in action.option_strings)
    names = names or f"`{' '.join(values_of(action))}`"
    meaning, described = split_default(action.help or "")
    cells = [names, capitalised(meaning), default_of(action) or described]
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def split_default(text: str) -> tuple[str, str]:
    """A help text without its "(default ...)", and the default that it describes in words, or ""."""
    text = text.replace(" (default %(default)s)", "").replace("%%", "%")
    found = re.search(r" \(default:? ([^()]*)\)", text)
    return (text.replace(found[0], ""), found[1]) if found else (text, "")


def values_of(action: argparse.Action) -> Iterator[str]:
    """The placeholders of an option's or a positional argument's values."""
    if action.nargs == 0:
        return
    if action.choices:
        yield "|".join(map(str, action.choices))
    elif isinstance(action.metavar, tuple):
        yield from action.metavar
    else:
        name = action.metavar or action.dest.upper()
        patterns = {"*": f"[{name} ...]", "+": f"{name} ...", "?": f"[{name}]"}
        yield from [name] * action.nargs if isinstance(action.nargs, int) else [patterns.get(str(action.nargs), name)]


def default_of(action: argparse.Action) -> str:
    """The default as one types it; "required" for an option without which the command does not start."""
    if action.required:
        return "required"
    if action.default is None or action.default is False or action.default is argparse.SUPPRESS:
        return ""
    values = action.default if isinstance(action.default, (tuple, list)) else [action.default]
    return " ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in values)


def build_parser() -> Parser:
    """The parser of this tool's command line."""
    parser = Parser(__doc__)
    flag(parser, "--check", "only compare docs/options.md with the parsers")
    return parser


def main() -> None:
    args = build_parser().parse_args()
    page = make_page()
    if not args.check:
        print(page, end="")
    elif not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != page:
        raise UserError(f"{PAGE}: out of date; write it with python3 -m tools.options_manual > docs/options.md")


if __name__ == "__main__":
    run_script(main)
