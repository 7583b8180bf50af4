"""How much each channel group matters: what the network loses when that group alone is pruned."""

import csv
from collections.abc import Callable, Iterable
from pathlib import Path

import torch

from utils.network.channels import ORIGINAL_PLAN
from utils.pruning.importance import Scores
from utils.pruning.selection import Kept, Rules, choose_share
from utils.runtime.optional import need

SHARES = (0.25, 0.5, 0.75)

Row = dict[str, float | str]


def analyse(scores: Scores, measure: Callable[[Kept], dict[str, float]]) -> Iterable[Row]:
    """Rows of group, sparsity, channels and what `measure` says of the network with these channels."""
    for group in scores:
        whole = tuple(other for other in scores if other != group)
        for share in SHARES:
            kept = choose_share(scores, share, Rules(whole=whole))
            yield {"group": group, "sparsity": share, "channels": len(kept[group]), **measure(kept)}


def write_csv(path: Path, rows: list[Row]) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def draw(path: Path, rows: list[Row], whole: dict[str, float]) -> None:
    """The change of each quantity as a table of colours: a row for each group, a column for each share."""
    need("matplotlib", "--analyse").use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(whole), figsize=(2 + 4 * len(whole), 8), layout="constrained", squeeze=False)
    for axis, (name, value) in zip(axes[0], whole.items(), strict=True):
        changes = torch.tensor([row[name] - value for row in rows]).view(len(ORIGINAL_PLAN), len(SHARES))
        worse = changes if name == "loss" else -changes
        axis.imshow(worse, aspect="auto", cmap="Reds", vmin=0, vmax=max(float(worse.max()), 1e-9))
        for (row, column), change in zip(torch.cartesian_prod(*map(torch.arange, changes.shape)).tolist(),
                                         changes.flatten().tolist(), strict=True):  # fmt: skip
            dark = float(worse[row, column]) > 0.6 * float(worse.max())
            text = f"{change:+.3f}"
            axis.text(column, row, text, ha="center", va="center", fontsize=8, color="white" if dark else "black")
        axis.set_xticks(range(len(SHARES)), [f"{share:.0%}" for share in SHARES])
        axis.set_yticks(range(len(ORIGINAL_PLAN)), list(ORIGINAL_PLAN))
        axis.set_xlabel("of this group's channels removed")
        axis.set_title(f"change of {name} from {value:.3f}")
    figure.savefig(path, dpi=100)
    pyplot.close(figure)
