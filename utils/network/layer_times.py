"""An estimate of the network's time on this machine at other widths."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from utils.network.channels import LAYERS

_SHARES = (0.125, 0.375, 0.625, 1.0)
"""Shares of a convolution's channels: it is measured at these widths, in and out; times between are interpolated."""


class LayerTimes:
    """A table of each convolution's milliseconds on the CPU at several widths.

    model: the network at its full widths. height, width: the input's size. The table has convolutions only.
    """

    def __init__(self, model: nn.Module, height: int, width: int):
        self._tables = []
        known: dict[tuple, torch.Tensor] = {}
        modules, sizes = dict(model.named_modules()), _input_sizes(model, height, width)
        for layer in LAYERS:
            conv, size = modules[layer.conv], sizes[layer.conv]
            kind = conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, size
            if kind not in known:
                known[kind] = _measure(conv, size, narrow=(bool(layer.reads), bool(layer.writes)))
            self._tables.append((layer, conv.in_channels, conv.out_channels, known[kind]))

    def milliseconds(self, plan: Mapping[str, int]) -> float:
        """The estimated milliseconds of the convolutions of the network with this channel plan, for one image."""
        total = 0.0
        for layer, inputs, outputs, table in self._tables:
            read = sum(plan[group] for group in layer.reads) / inputs if layer.reads else 1.0
            written = plan[layer.writes] / outputs if layer.writes else 1.0
            total += _interpolate(table, read, written)
        return total


def _input_sizes(model: nn.Module, height: int, width: int) -> dict[str, tuple[int, int]]:
    """Height and width of each convolution's input, by its name."""
    sizes: dict[str, tuple[int, int]] = {}
    hooks = []
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d):

            def record(_conv, inputs, name=name):
                sizes[name] = tuple(inputs[0].shape[2:])

            hooks.append(module.register_forward_pre_hook(record))
    with torch.inference_mode():
        model(torch.zeros(1, 3, height, width))
    for hook in hooks:
        hook.remove()
    return sizes


@torch.inference_mode()
def _measure(conv: nn.Conv2d, size: tuple[int, int], narrow: tuple[bool, bool]) -> torch.Tensor:
    """(len(_SHARES), len(_SHARES)) milliseconds by share of the inputs and of the outputs.

    narrow: whether the inputs and the outputs can have fewer channels.
    """
    shape: Any = conv.kernel_size, conv.stride, conv.padding
    rows = []
    for read in _SHARES:
        row = []
        for written in _SHARES:
            inputs = max(1, round(conv.in_channels * read)) if narrow[0] else conv.in_channels
            outputs = max(1, round(conv.out_channels * written)) if narrow[1] else conv.out_channels
            small = nn.Conv2d(inputs, outputs, *shape)
            small.to(memory_format=torch.channels_last)
            image = torch.zeros(1, inputs, *size).contiguous(memory_format=torch.channels_last)
            row.append(_least_milliseconds(lambda small=small, image=image: small(image)))
        rows.append(row)
    return torch.tensor(rows)


def _least_milliseconds(run: Callable, repeats: int = 4) -> float:
    """The shortest time of several runs, after a warm-up."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return 1000 * min(times[1:])


def _interpolate(table: torch.Tensor, read: float, written: float) -> float:
    """Bilinear interpolation between the table's widths, linear extrapolation below the narrowest; at least 0."""
    positions = []
    for share in (read, written):
        high = next((index for index, edge in enumerate(_SHARES) if share <= edge), len(_SHARES) - 1)
        high = max(high, 1)
        low_edge, high_edge = _SHARES[high - 1], _SHARES[high]
        positions.append((high, (share - low_edge) / (high_edge - low_edge)))
    (row, down), (column, across) = positions
    corners = table[row - 1 : row + 1, column - 1 : column + 1]
    value = torch.tensor([1 - down, down]) @ corners @ torch.tensor([1 - across, across])
    return max(float(value), 0.0)
