"""Networks before and after a pruning, compared: tables, and a chart of the kept channels."""

from collections.abc import Mapping
from pathlib import Path

from utils.network.base import TextNetwork
from utils.network.channels import LAYERS, ORIGINAL_PLAN
from utils.network.cost import count_macs, count_parameters
from utils.runtime.files import atomic_file
from utils.runtime.optional import import_optional
from utils.runtime.tables import format_table

ROWS = {
    "channels": ("channels", 1, "{:,.0f}"),
    "parameters": ("parameters", 1, "{:,.0f}"),
    "macs": ("GMACs", 1e9, "{:.3f}"),
    "weights_bytes": ("weights, MiB", 2**20, "{:.1f}"),
    "peak_memory_bytes": ("peak memory, MiB", 2**20, "{:.1f}"),
    "milliseconds_1_thread": ("ms, 1 thread", 1, "{:.1f}"),
    "milliseconds_2_threads": ("ms, 2 threads", 1, "{:.1f}"),
    "loss": ("loss", 1, "{:.3f}"),
    "hmean": ("hmean", 1, "{:.3f}"),
}
"""Title, unit and pattern of the rows of `comparison_table`, by measured quantity."""


def comparison_table(networks: Mapping[str, Mapping[str, float]], height: int, width: int) -> str:
    """A table of costs and accuracies: a column for each network, and the share of the first that the last one has.

    networks: by name, see `utils.network.cost.measure_cost`; with `loss` and `hmean` where they are measured.
    """
    first, *_, last = networks.values()
    rows = [[f"{height}x{width}", *networks, "left"]]
    for name, (title, unit, pattern) in ROWS.items():
        if name in first:
            cells = [pattern.format(values[name] / unit) for values in networks.values()]
            left = f"{last[name] / first[name]:.1%}" if first[name] and name != "loss" else ""
            rows.append([title, *cells, left])
    return format_table(rows)


def layer_table(before: TextNetwork, after: TextNetwork, height: int, width: int) -> str:
    """A table of output channels, parameters and MACs of each convolution with its BatchNorm."""
    counts: list[dict[str, tuple]] = []
    for model in (before, after):
        macs, modules = count_macs(model, height, width), dict(model.named_modules())
        counts.append({})
        for layer in LAYERS:
            parameters = sum(count_parameters(modules[name]) for name in (layer.conv, layer.norm) if name)
            counts[-1][layer.conv] = modules[layer.conv].out_channels, parameters, macs[layer.conv]
    rows: list[list[str]] = [["layer", "channels", "", "parameters", "", f"MMACs at {height}x{width}", ""]]
    for conv, old in counts[0].items():
        rows.append([conv, *_cells(old, counts[1][conv])])
    totals = [[sum(values) for values in zip(*count.values(), strict=True)] for count in counts]
    rows.append(["total", *_cells(*totals)])
    rows.append(["left", *(cell for old, new in zip(*totals, strict=True) for cell in ("", f"{new / old:.1%}"))])
    return format_table(rows)


def _cells(old, new) -> list[str]:
    """Channels, parameters and MACs (in millions) before and after."""
    cells = []
    formats = ((1, "{:,.0f}"), (1, "{:,.0f}"), (1e6, "{:,.1f}"))
    for before, after, (scale, pattern) in zip(old, new, formats, strict=True):
        cells += [pattern.format(before / scale), "-> " + pattern.format(after / scale)]
    return cells


def draw_channels(path: Path, before: Mapping[str, int], after: Mapping[str, int]) -> None:
    """Write a bar chart of each group's channels: in the original network, before and after the pruning."""
    import_optional("matplotlib", "--chart").use("Agg")
    from matplotlib import pyplot

    groups = list(ORIGINAL_PLAN)
    figure, axis = pyplot.subplots(figsize=(9, 7), layout="constrained")
    series = ((ORIGINAL_PLAN, "0.92", "original"), (before, "0.75", "before"), (after, "C0", "kept"))
    for widths, colour, label in series:
        bars = axis.barh(groups, [widths[group] for group in groups], color=colour, label=label)
    axis.bar_label(bars, padding=3, fontsize="small")
    axis.invert_yaxis()
    axis.set_xlabel("channels")
    axis.legend()
    axis.spines[["top", "right"]].set_visible(False)
    with atomic_file(path, sync=False) as file:
        figure.savefig(file, dpi=100)
    pyplot.close(figure)
