"""docs/options.md: a table row for each option."""

from tools.options_manual import make_row
from utils.options.parser import Parser, flag, option, whole_number


def rows(parser: Parser) -> list[str]:
    return [make_row(action) for action in parser._actions[1:]]


def test_a_row_has_names_values_meaning_and_default():
    parser = Parser("Something.")
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help="image or folder")
    option(parser, "--epoch/--epochs N", whole_number(1), 30, "epochs of this run")
    option(parser, "--size H W", whole_number(1), (288, 512), "size of the input")
    option(parser, "--scope", str, "layer", "where to remove", choices=("layer", "global"))
    parser.add_argument("--scales", nargs="*", metavar="PX", help="short sides")
    option(parser, "--out DIR", str, None, "folder, at most 20 %% full", required=True)
    option(parser, "--frames N", whole_number(0), None, "frames to read (default: all (at most 9)); 0: none")
    option(parser, "--steps N", whole_number(0), None, "steps (default 200); 0: none")
    flag(parser, "--val", "validate")
    assert rows(parser) == [
        "| `INPUT ...` | Image or folder | required |",
        "| `--epoch N`, `--epochs N` | Epochs of this run | 30 |",
        "| `--size H W` | Size of the input | 288 512 |",
        "| `--scope layer\\|global` | Where to remove | layer |",
        "| `--scales [PX ...]` | Short sides |  |",
        "| `--out DIR` | Folder, at most 20 % full | required |",
        "| `--frames N` | Frames to read (default: all (at most 9)); 0: none |  |",
        "| `--steps N` | Steps; 0: none | 200 |",
        "| `--val` | Validate |  |",
    ]
