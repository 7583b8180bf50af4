"""Before and after a pruning: a table, report.json, a chart of the kept channels."""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from utils.network.channels import LAYERS, ORIGINAL_PLAN
from utils.network.cost import count_macs, count_parameters, milliseconds_per_frame, peak_memory
from utils.runtime.optional import need
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
"""Of the table: title, unit, pattern."""


def measure_cost(model: nn.Module, height: int, width: int) -> dict[str, float]:
    """What a network costs for one image of this size on this machine's CPU."""
    costs = {
        "channels": sum(model.plan.values()),
        "parameters": count_parameters(model),
        "macs": sum(count_macs(model, height, width).values()),
        "weights_bytes": sum(tensor.nbytes for tensor in model.state_dict().values()),
        "peak_memory_bytes": peak_memory(model, height, width),
    }
    threads = torch.get_num_threads()
    for name, count in (("milliseconds_1_thread", 1), ("milliseconds_2_threads", 2)):
        torch.set_num_threads(count)
        costs[name] = milliseconds_per_frame(model, height, width)
    torch.set_num_threads(threads)
    return costs


def comparison(networks: Mapping[str, Mapping[str, float]], height: int, width: int) -> str:
    """The table: a column for each network, and what the last one has of the first."""
    first, *_, last = networks.values()
    rows = [[f"{height}x{width}", *networks, "left"]]
    for name, (title, unit, pattern) in ROWS.items():
        if name in first:
            cells = [pattern.format(values[name] / unit) for values in networks.values()]
            left = f"{last[name] / first[name]:.1%}" if first[name] and name != "loss" else ""
            rows.append([title, *cells, left])
    return format_table(rows)


def layer_table(before: nn.Module, after: nn.Module, height: int, width: int) -> str:
    """Output channels, parameters and MACs of each convolution with its norm."""
    counts = []
    for model in (before, after):
        macs, modules = count_macs(model, height, width), dict(model.named_modules())
        counts.append({})
        for layer in LAYERS:
            parameters = sum(count_parameters(modules[name]) for name in (layer.conv, layer.norm) if name)
            counts[-1][layer.conv] = modules[layer.conv].out_channels, parameters, macs[layer.conv]
    rows = [["layer", "channels", "", "parameters", "", f"MMACs at {height}x{width}", ""]]
    for conv, old in counts[0].items():
        rows.append([conv, *_cells(old, counts[1][conv])])
    totals = [[sum(values) for values in zip(*count.values(), strict=True)] for count in counts]
    rows.append(["in all", *_cells(*totals)])
    rows.append(["left", *(cell for old, new in zip(*totals, strict=True) for cell in ("", f"{new / old:.1%}"))])
    return format_table(rows)


def _cells(old, new) -> list[str]:
    cells = []
    for place, (before, after) in enumerate(zip(old, new, strict=True)):
        scale, pattern = (1e6, "{:,.1f}") if place == 2 else (1, "{:,.0f}")
        cells += [pattern.format(before / scale), "-> " + pattern.format(after / scale)]
    return cells


def write_json(path: Path, contents: dict) -> None:
    path.write_text(json.dumps(contents, indent=2) + "\n", encoding="utf-8")


def draw_channels(path: Path, before: Mapping[str, int], after: Mapping[str, int]) -> None:
    """Bars of the channels that each group keeps, of those it had, of those that the original has."""
    need("matplotlib", "--chart").use("Agg")
    from matplotlib import pyplot

    groups = list(ORIGINAL_PLAN)
    figure, axis = pyplot.subplots(figsize=(9, 7), layout="constrained")
    for widths, colour, label in ((ORIGINAL_PLAN, "0.92", "original"), (before, "0.75", "before"),
                                  (after, "C0", "kept")):  # fmt: skip
        bars = axis.barh(groups, [widths[group] for group in groups], color=colour, label=label)
    axis.bar_label(bars, padding=3, fontsize="small")
    axis.invert_yaxis()
    axis.set_xlabel("channels")
    axis.legend()
    axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=100)
    pyplot.close(figure)
