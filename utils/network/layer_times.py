"""How long the network would take on this machine at other widths."""

import time
from collections.abc import Callable, Mapping

import torch
from torch import nn

from utils.network.channels import LAYERS

_SHARES = (0.125, 0.375, 0.625, 1.0)
"""Of a convolution's channels: the times at these widths, in and out, are measured, those between interpolated."""


class LayerTimes:
    """A table of each convolution's milliseconds on the CPU at several widths, and what follows for a plan.

    model: the network at its full widths. height, width: the input's size. What the network does besides its
    convolutions is not in it.
    """

    def __init__(self, model: nn.Module, height: int, width: int):
        self._tables, known = [], {}
        modules, sizes = dict(model.named_modules()), _input_sizes(model, height, width)
        for layer in LAYERS:
            conv, size = modules[layer.conv], sizes[layer.conv]
            kind = conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, size
            if kind not in known:
                known[kind] = _measure(conv, size, bool(layer.reads), bool(layer.writes))
            self._tables.append((layer, conv.in_channels, conv.out_channels, known[kind]))

    def milliseconds(self, plan: Mapping[str, int]) -> float:
        """The estimate for one image, of the convolutions alone."""
        total = 0.0
        for layer, inputs, outputs, table in self._tables:
            read = sum(plan[group] for group in layer.reads) / inputs if layer.reads else 1.0
            written = plan[layer.writes] / outputs if layer.writes else 1.0
            total += _interpolate(table, read, written)
        return total


def _input_sizes(model: nn.Module, height: int, width: int) -> dict[str, tuple[int, int]]:
    sizes, hooks = {}, []
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d):

            def note(_conv, inputs, name=name):
                sizes[name] = tuple(inputs[0].shape[2:])

            hooks.append(module.register_forward_pre_hook(note))
    with torch.inference_mode():
        model(torch.zeros(1, 3, height, width))
    for hook in hooks:
        hook.remove()
    return sizes


@torch.inference_mode()
def _measure(conv: nn.Conv2d, size: tuple[int, int], narrow_in: bool, narrow_out: bool) -> torch.Tensor:
    """(len(_SHARES), len(_SHARES)) milliseconds by share of the inputs and of the outputs."""
    rows = []
    for read in _SHARES:
        row = []
        for written in _SHARES:
            inputs = max(1, round(conv.in_channels * read)) if narrow_in else conv.in_channels
            outputs = max(1, round(conv.out_channels * written)) if narrow_out else conv.out_channels
            small = nn.Conv2d(inputs, outputs, conv.kernel_size, conv.stride, conv.padding)
            small.to(memory_format=torch.channels_last)
            image = torch.zeros(1, inputs, *size).contiguous(memory_format=torch.channels_last)
            row.append(_least_milliseconds(lambda small=small, image=image: small(image)))
        rows.append(row)
    return torch.tensor(rows)


def _least_milliseconds(run: Callable, repeats: int = 4) -> float:
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return 1000 * min(times[1:])


def _interpolate(table: torch.Tensor, read: float, written: float) -> float:
    """Bilinear between the table's widths, and beyond the narrowest along its last slope."""
    places = []
    for share in (read, written):
        high = next((number for number, edge in enumerate(_SHARES) if share <= edge), len(_SHARES) - 1)
        high = max(high, 1)
        low_edge, high_edge = _SHARES[high - 1], _SHARES[high]
        places.append((high, (share - low_edge) / (high_edge - low_edge)))
    (row, down), (column, across) = places
    corners = table[row - 1 : row + 1, column - 1 : column + 1]
    value = torch.tensor([1 - down, down]) @ corners @ torch.tensor([1 - across, across])
    return max(float(value), 0.0)
