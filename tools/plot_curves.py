"""Draw the curves of one or more training runs.

python3 -m tools.plot_curves OUT OTHER_OUT --to curves.png
"""

import csv
from pathlib import Path

from utils.errors import UserError, printable, run_script
from utils.options.parser import Parser, option
from utils.runtime.files import atomic_file, refuse_overlap
from utils.runtime.inputs import read_regular
from utils.runtime.optional import import_optional
from utils.runtime.tables import folder_labels
from utils.training.run_folder import RESULTS

PANELS = {
    "loss": ("train_loss", "val_loss"),
    "terms of the training loss": ("train_classification", "train_iou", "train_angle"),
    "hmean": ("hmean", "precision", "recall"),
    "learning rate": ("lr",),
}


def read_curves(folder: Path) -> dict[str, list[float]]:
    """The columns of a run's results.csv by name; empty cells are nan."""
    path = folder / RESULTS
    try:
        lines = read_regular(path).decode("utf-8").splitlines()
        rows = list(csv.DictReader(lines))
        curves = {name: [float(row[name] or "nan") for row in rows] for name in rows[0]}
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; give a --save-dir of train_sample.py") from None
    except (IndexError, TypeError, ValueError, csv.Error):
        raise UserError(f"{path}: not a table of epochs that train_sample.py wrote") from None
    if "epoch" not in curves:
        raise UserError(f"{path}: no column epoch; give a --save-dir of train_sample.py")
    return curves


def draw_curves(folders: list[Path], path: Path) -> None:
    """Draw one panel for each group of quantities, with one colour a run and one line style a quantity."""
    import_optional("matplotlib", "drawing curves").use("Agg")
    from matplotlib import pyplot

    runs = list(zip(folder_labels(folders), map(read_curves, folders), strict=True))
    figure, axes = pyplot.subplots(2, 2, figsize=(11, 7), layout="constrained")
    for axis, (title, columns) in zip(axes.flat, PANELS.items(), strict=True):
        for number, (run, curves) in enumerate(runs):
            for column, style in zip(columns, ("-", "--", ":"), strict=False):
                if column in curves:
                    label = f"{run} {column}" if len(runs) > 1 else column
                    axis.plot(curves["epoch"], curves[column], style, marker=".", color=f"C{number}", label=label)
        axis.set_title(title)
        axis.set_xlabel("epoch")
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.grid(alpha=0.3)
        if axis.lines:
            axis.legend(fontsize="small")
    try:
        with atomic_file(path, sync=False) as file:
            figure.savefig(file, dpi=100, format=path.suffix[1:] or "png")
    except ValueError as error:  # such as a suffix that matplotlib does not write
        raise UserError(f"{path}: {error}") from None
    pyplot.close(figure)


def build_parser() -> Parser:
    parser = Parser(__doc__)
    parser.add_argument("folders", nargs="+", type=Path, metavar="OUT", help="--save-dir of a run")
    option(parser, "--to PNG", Path, Path("curves.png"), "the picture to write")
    return parser


def main() -> None:
    args = build_parser().parse_args()
    refuse_overlap([args.to], [folder / RESULTS for folder in args.folders])
    draw_curves(args.folders, args.to)
    print(printable(args.to))


if __name__ == "__main__":
    run_script(main)
