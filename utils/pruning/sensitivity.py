"""The sensitivity of each channel group: the change of loss and hmean when that group alone is pruned."""

import itertools
from collections.abc import Callable, Iterable
from pathlib import Path

import torch

from utils.network.channels import ORIGINAL_PLAN
from utils.pruning.importance import Scores
from utils.pruning.selection import Kept, Rules, choose_share
from utils.runtime.files import atomic_file, write_file
from utils.runtime.optional import import_optional
from utils.training.run_folder import format_rows

SHARES = (0.25, 0.5, 0.75)
"""Shares of a group's channels that are removed."""

Row = dict[str, float | str]


def measure_groups(scores: Scores, measure: Callable[[Kept], dict[str, float]]) -> Iterable[Row]:
    """Rows of group, sparsity, channels and the quantities that `measure` returns for the network of these channels.

    Each group is pruned alone, by each share of `SHARES`.
    """
    for group in scores:
        others = tuple(other for other in scores if other != group)
        for share in SHARES:
            kept = choose_share(scores, share, Rules(kept_groups=others))
            yield {"group": group, "sparsity": share, "channels": len(kept[group]), **measure(kept)}


def write_csv(path: Path, rows: list[Row]) -> None:
    """Write the rows to a CSV file, atomically."""
    write_file(path, format_rows(rows[0], rows, header=True))


def table_of_halves(rows: list[Row], whole: dict[str, float]) -> list[list[str]]:
    """Rows of a table: the change of each quantity with half of a group removed, the largest increase of loss first."""
    half = sorted((row for row in rows if row["sparsity"] == 0.5), key=lambda row: -float(row["loss"]))
    table = [["group, half of it removed", *whole]]
    for row in half:
        table.append([str(row["group"]), *(f"{float(row[name]) - value:+.4f}" for name, value in whole.items())])
    return table


def draw_heatmap(path: Path, rows: list[Row], whole: dict[str, float]) -> None:
    """Write a heat map of the change of each quantity: a row for each group, a column for each share.

    whole: the quantities of the network before pruning.
    """
    import_optional("matplotlib", "--analyse").use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(whole), figsize=(2 + 4 * len(whole), 8), layout="constrained", squeeze=False)
    for axis, (name, value) in zip(axes[0], whole.items(), strict=True):
        changes = torch.tensor([float(row[name]) - value for row in rows]).view(len(ORIGINAL_PLAN), len(SHARES))
        worse = changes if name == "loss" else -changes
        axis.imshow(worse, aspect="auto", cmap="Reds", vmin=0, vmax=max(float(worse.max()), 1e-9))
        for row, column in itertools.product(range(len(ORIGINAL_PLAN)), range(len(SHARES))):
            dark = float(worse[row, column]) > 0.6 * float(worse.max())
            text = f"{float(changes[row, column]):+.3f}"
            axis.text(column, row, text, ha="center", va="center", fontsize=8, color="white" if dark else "black")
        axis.set_xticks(range(len(SHARES)), [f"{share:.0%}" for share in SHARES])
        axis.set_yticks(range(len(ORIGINAL_PLAN)), list(ORIGINAL_PLAN))
        axis.set_xlabel("share of the group's channels removed")
        axis.set_title(f"change of {name} from {value:.3f}")
    with atomic_file(path, sync=False) as file:
        figure.savefig(file, dpi=100)
    pyplot.close(figure)
