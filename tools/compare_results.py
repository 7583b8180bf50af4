"""Print a table that compares several measurements of `test_sample.py`.

python3 -m tools.compare_results demo/original demo/pruned demo/finetuned     # folders with metrics.json
"""

import json
from pathlib import Path

from utils.errors import UserError, run_script
from utils.options.parser import Parser
from utils.runtime.inputs import read_regular
from utils.runtime.tables import folder_labels, format_table

COLUMNS = {
    "hmean": ("hmean", "{:.3f}"),
    "precision": ("precision", "{:.3f}"),
    "recall": ("recall", "{:.3f}"),
    "parameters": ("parameters", "{:,}"),
    "gmacs": ("GMACs", "{:.2f}"),
    "milliseconds_per_frame": ("ms per frame", "{:.1f}"),
}


def compare(folders: list[Path]) -> str:
    """A table with a row for each folder's metrics.json, which `test_sample.py --output-dir` writes."""
    rows = [["", *(title for title, _ in COLUMNS.values())]]
    for folder, label in zip(folders, folder_labels(folders), strict=True):
        try:
            metrics = json.loads(read_regular(folder / "metrics.json"))
            cells = [pattern.format(metrics[name]) for name, (_, pattern) in COLUMNS.items()]
        except (OSError, ValueError, RecursionError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise UserError(f"{folder / 'metrics.json'}: {reason}; write it with test_sample.py --output-dir") from None
        except (KeyError, TypeError):
            columns = ", ".join(COLUMNS)
            raise UserError(
                f"{folder / 'metrics.json'}: expected numbers for {columns}, as test_sample.py writes"
            ) from None
        rows.append([label, *cells])
    return format_table(rows)


def build_parser() -> Parser:
    parser = Parser(__doc__)
    parser.add_argument("folders", nargs="+", type=Path, metavar="OUT", help="--output-dir of a test_sample.py run")
    return parser


def main() -> None:
    print(compare(build_parser().parse_args().folders))


if __name__ == "__main__":
    run_script(main)
