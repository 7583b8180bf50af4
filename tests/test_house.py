"""The structure of the project: import direction, lengths, commands in the manual, links, wording.

docs/architecture.md describes the rooms and their order.
"""

import ast
import contextlib
import functools
import importlib
import io
import re
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tools.options_manual import PAGE, command_modules, make_page

ROOT = Path(__file__).resolve().parent.parent

ROOMS = (
    ("errors", "geometry", "maps"),
    ("runtime",),
    ("data",),
    ("network",),
    ("decode",),
    ("checkpoint",),
    ("base_detector", "detector"),
    ("tracking",),
    ("labelling",),
    ("evaluation",),
    ("training",),
    ("pruning",),
    ("deploy",),
    ("options",),
)
"""From left to right: a room imports from its own entry and from those to its left."""

LEVELS = {room: level for level, rooms in enumerate(ROOMS) for room in rooms}
OF_RENDERING = {"errors", "geometry", "maps", "runtime", "data", "rendering"}
"""What the rendering room imports from."""

NETWORKS = {"model", "model_pruned"}
SCRIPTS = [path for path in sorted(ROOT.glob("*.py")) if "__main__" in path.read_text(encoding="utf-8")]
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for folder in ("", "utils/**/", "tools/", "benchmarks/")
    for path in sorted(ROOT.glob(f"{folder}*.py"))
}
"""Every module outside the tests, by its dotted name."""

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "weights").glob("*.md"))]

LONGEST = {"script": 250, "module": 300, "README": 200}
"""Lines."""

BANNED = {
    r"\banew\b": "again, re-estimated, restarted",
    r"\b(?:tells?|telling) (?:of|the same|less|its)\b": "predicts, is a near-duplicate, shows",
    r"\btold\b": "predicted, detected from, given",
    r"\b(?:stands?|stood|standing) (?:in )?(?:for|in for|in its|there)\b": "replaces, corresponds to, exists",
    r"whole or not at all": "written atomically",
    r"what is left of": "the rest, the remaining part",
    r"\b(?:goes|go|went) by\b": "uses, follows",
    r"\b(?:comes?|came) to nothing\b": "has no effect",
    r"as one sees (?:it|them)": "decoded to 8-bit RGB, EXIF rotation applied",
    r"\bits own affair\b": "its task",
    r"\b(?:were|was|are) had\b": "were processed",
    r"\bforetell": "predict",
    r"needs as many to go on": "must resume with the same number of processes",
    r"is taken so that": "is accepted and ignored",
    r"compared by where they are strong": "compared by attention maps",
    r"optimizer state is none": "holds no valid optimizer state",
    r"holds whatever the share": "constraints at any sparsity",
}
"""Wording that hides the meaning, and what says it plainly."""


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@functools.cache
def imports_of(name: str) -> frozenset[str]:
    """The project's modules that a module imports, anywhere in its code."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: a relative import; write it in full"
            parts = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {part if part in MODULES else str(node.module) for part in parts}
    return frozenset(found & MODULES.keys())


def room_of(name: str) -> str:
    return name.split(".")[1]


@pytest.mark.parametrize("name", [name for name in MODULES if name.startswith("utils.")])
def test_a_room_imports_only_from_rooms_to_its_left(name):
    allowed_networks = NETWORKS if name == "utils.checkpoint" else set()
    for other in imports_of(name):
        if not other.startswith("utils."):
            assert other in allowed_networks, f"{name} imports {other}, which is above utils: pass the object down"
        elif room_of(name) == "rendering":
            assert room_of(other) in OF_RENDERING, f"{name} imports {other}; rendering takes from data and runtime only"
        else:
            assert room_of(name) in LEVELS, f"{name}: no such room in docs/architecture.md"
            assert LEVELS.get(room_of(other), 99) <= LEVELS[room_of(name)], f"{name} imports {other}, to its right"


@pytest.mark.parametrize("name", ["datasets", "loss", "model", "model_pruned"])
def test_modules_below_the_scripts_import_no_script(name):
    assert all(other.startswith("utils.") or other == "model" for other in imports_of(name)), imports_of(name)


def test_imports_have_no_cycle() -> None:
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, " -> ".join((*way[way.index(name) :], name))
        if name not in done:
            for other in sorted(imports_of(name) - {name}):
                visit(other, (*way, name))
            done.add(name)

    for name in MODULES:
        visit(name, ())


@pytest.mark.parametrize("name", MODULES)
def test_scripts_and_modules_are_short(name):
    path = MODULES[name]
    kind = "script" if path in SCRIPTS else "module"
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST[kind], f"{path}: split it"


def test_the_readme_is_short():
    assert len(PAGES[0].read_text(encoding="utf-8").splitlines()) <= LONGEST["README"]


def test_the_page_of_the_architecture_names_every_module():
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    for name in MODULES:
        parts = name.split(".")
        if parts[0] == "utils" and len(parts) > 1 and MODULES[name].name != "__init__.py":
            shown = f"{parts[2]}/" if len(parts) > 3 else parts[-1]
            assert f"`{shown}`" in page, f"docs/architecture.md: add `{shown}` ({name}) to the table of its room"


class Command(NamedTuple):
    """A command line of a page or docstring."""

    source: str
    module: str
    """Dotted name of the script or module that it starts."""
    options: set[str]


def commands_in(source: str, text: str) -> Iterator[Command]:
    """Every `python3 ...` and `torchrun ...` in a text, shell variables replaced by their values."""
    values = dict(re.findall(r'^([A-Z]+)="([^"]*)"$', text, re.MULTILINE))
    for _ in values:  # a value may contain other variables
        text = re.sub(r"\$([A-Z]+)\b", lambda found: values.get(found[1], found[0]).replace("\n", " "), text)
    text = text.replace("\\\n", " ")
    for module, script, rest in re.findall(r"(?:python3|torchrun.*?) (?:-m ([\w.]+)|(\w+)\.py)([^\n`]*)", text):
        own, _, training = re.sub(r"\s#.*", "", rest).partition(" -- ")
        yield Command(source, module or script, options_in(own))
        if training:
            yield Command(source, "train_sample", options_in(training))


def options_in(text: str) -> set[str]:
    return set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", text))


def all_commands() -> list[Command]:
    """Those of all pages, and of the docstrings of scripts, tools and benchmarks."""
    found = [command for page in PAGES for command in commands_in(page.name, page.read_text(encoding="utf-8"))]
    for name, path in MODULES.items():
        if not name.startswith("utils"):
            found += commands_in(path.name, ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "")
    return found


COMMANDS = all_commands()
STARTED = sorted({command.module for command in COMMANDS} | set(command_modules()))


@functools.cache
def options_of(module: str) -> frozenset[str]:
    """Runs a script or module with --help in this process; the options that its help lists."""
    output, arguments = io.StringIO(), sys.argv
    sys.argv = [module, "--help"]
    try:
        with contextlib.redirect_stdout(output), pytest.raises(SystemExit) as end:
            runpy.run_path(str(MODULES[module]), run_name="__main__")
    finally:
        sys.argv = arguments
    assert not end.value.code, f"{module} --help ends with exit code {end.value.code}"
    entries = re.findall(r"^  (-.*?)(?:   *\S.*)?$", output.getvalue(), re.MULTILINE)
    return frozenset().union(*map(options_in, entries))


@pytest.mark.parametrize("module", STARTED)
def test_every_command_of_the_manual_starts(module):
    assert module in MODULES, f"{[each.source for each in COMMANDS if each.module == module]}: there is no {module}"
    known = options_of(module)
    for command in COMMANDS:
        if command.module == module:
            assert command.options <= known, f"{command.source}: {module} has no {command.options - known}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_option_that_a_page_names_exists(page):
    known = frozenset().union(*map(options_of, STARTED))
    for code in re.findall(r"(?<!`)`(--[a-z][^`]*)`", page.read_text(encoding="utf-8")):
        assert options_in(code) <= known, f"{page.name}: no script or tool has {code}"


def test_the_page_of_options_is_what_the_parsers_say():
    cure = "write it with python3 -m tools.options_manual > docs/options.md"
    page = make_page()
    assert PAGE.read_text(encoding="utf-8") == page, f"docs/options.md is out of date: {cure}"
    assert "` |  |" not in page, "an option without a help text"


def anchors_of(page: Path) -> set[str]:
    """GitHub's anchors of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_and_pictures_exist(page):
    for link, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)#?([^)\s]*)\)", page.read_text(encoding="utf-8")):
        target = (page.parent / link).resolve() if link else page
        assert target.exists(), f"{page.name} links to {link}, which does not exist"
        assert not anchor or anchor in anchors_of(target), f"{page.name} links to {link}#{anchor}: no such heading"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_python_code_of_a_page_compiles_and_its_imports_exist(page):
    for code in re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.ImportFrom) and node.module in MODULES:
                module = importlib.import_module(node.module)
                assert all(hasattr(module, alias.name) for alias in node.names), f"{page.name}: {ast.unparse(node)}"


TEXTS = [*PAGES, ROOT / "Makefile", *MODULES.values(), *sorted((ROOT / "tests").rglob("*.py"))]


@pytest.mark.parametrize("path", [path for path in TEXTS if path != Path(__file__)], ids=name_of)
def test_wording_is_plain(path):
    text = re.sub(r"\s+", " ", re.sub(r"\n\s*# ?", "\n", path.read_text(encoding="utf-8")))
    found = {
        hit: plain for wording, plain in BANNED.items() for hit in re.findall(rf".{{0,30}}{wording}.{{0,30}}", text)
    }
    assert not found, f"{name_of(path)}: what is found, and what to write: {found}"
