"""The network's channel groups as data: which convolutions write each group and which read it.

A channel group is a set of channels that can only be removed together: a residual stream (written by all the
convolutions that add to it), or the output of a single convolution. A channel plan is the number of channels of each
group: `{"encoder1": 64, "encoder1.0.conv1": 64, ...}`, integers by group name.
"""

import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch

from utils.errors import UserError
from utils.runtime.inputs import read_regular

HEADS = {"confidence": 1, "distances": 4, "angle": 1}
_STAGES = {"encoder1": (64, 3), "encoder2": (128, 4), "encoder3": (256, 6), "encoder4": (512, 3)}


class Layer(NamedTuple):
    """A convolution, its BatchNorm, the groups that it reads (concatenated in order) and the group that it writes."""

    conv: str
    norm: str | None
    reads: tuple[str, ...]
    """Group names; empty for the image."""
    writes: str | None
    """Group name; None for a head."""


def _describe() -> tuple[list[Layer], dict[str, int]]:
    layers, plan = [Layer("conv1.0", "conv1.1", (), "encoder1")], {}
    before = "encoder1"
    for stage, (width, blocks) in _STAGES.items():
        plan[stage] = width
        for block in (f"{stage}.{number}" for number in range(blocks)):
            inner = f"{block}.conv1"
            plan[inner] = width
            layers.append(Layer(inner, f"{block}.bn1", (before,), inner))
            if before != stage:
                layers.append(Layer(f"{block}.downsample.0", f"{block}.downsample.1", (before,), stage))
            layers.append(Layer(f"{block}.conv2", f"{block}.bn2", (inner,), stage))
            before = stage
    decoder = [
        ("center.0", ("encoder4",), 512),
        ("center.1", ("center.0",), 1024),
        ("decoder4.squeeze", ("center.1",), 512),
        ("decoder3.squeeze", ("encoder4", "decoder4.squeeze"), 256),
        ("decoder2.squeeze", ("encoder3", "decoder3.squeeze"), 128),
        ("decoder1.squeeze", ("encoder2", "decoder2.squeeze"), 64),
        ("remove_artifacts", ("encoder1", "decoder1.squeeze"), 64),
    ]
    for group, reads, width in decoder:
        plan[group] = width
        layers.append(Layer(f"{group}.0", f"{group}.1", reads, group))
    layers += [Layer(f"{head}.0", None, ("remove_artifacts",), None) for head in HEADS]
    return layers, plan


LAYERS, ORIGINAL_PLAN = _describe()
"""Every convolution of the network, in the order of computation; the original network's channel plan."""


def uniform_plan(share: float, keep: tuple[str, ...] = ("remove_artifacts",)) -> dict[str, int]:
    """The original's widths times `share` (at least 1 channel); the groups in `keep` are not narrowed."""
    return {group: width if group in keep else max(1, round(width * share)) for group, width in ORIGINAL_PLAN.items()}


def check_plan(plan: Mapping[str, int]) -> dict[str, int]:
    """The plan in the network's order. Raises `UserError` for a group that is unknown, missing or too wide."""
    if odd := sorted(set(plan) ^ set(ORIGINAL_PLAN)):
        kind = "has no group" if odd[0] in ORIGINAL_PLAN else "has the unknown group"
        raise UserError(f"channel plan: it {kind} {odd[0]!r}; expected exactly the groups of ORIGINAL_PLAN")
    for group, width in ORIGINAL_PLAN.items():
        if not isinstance(plan[group], int) or not 1 <= plan[group] <= width:
            raise UserError(f"channel plan: {group} has {plan[group]!r} channels; expected 1 to {width}")
    return {group: plan[group] for group in ORIGINAL_PLAN}


def read_plan(path: str | Path) -> dict[str, int]:
    """The channel plan in a JSON file. Raises `UserError`."""
    try:
        plan = json.loads(read_regular(path).decode("utf-8"))
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; give a plan.json that prune.py wrote") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not a JSON file ({error}); give a plan.json that prune.py wrote") from None
    if not isinstance(plan, dict):
        raise UserError(f"{path}: holds a {type(plan).__name__}; expected channels by group, as prune.py writes them")
    try:
        return check_plan(plan)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def plan_of(state_dict: Mapping[str, torch.Tensor]) -> dict[str, int]:
    """The channel plan of a network's tensors, from their shapes. Raises `KeyError` if one is missing."""
    widths = {layer.writes: len(state_dict[f"{layer.conv}.weight"]) for layer in LAYERS if layer.writes}
    return {group: widths[group] for group in ORIGINAL_PLAN}


def all_channels(plan: Mapping[str, int]) -> dict[str, torch.Tensor]:
    """The indices of all channels, by group."""
    return {group: torch.arange(width) for group, width in plan.items()}


def input_slices(layer: Layer, widths: Mapping[str, int]) -> dict[str, slice]:
    """The channels of a layer's concatenated input that belong to each group that it reads."""
    ends = itertools.accumulate(widths[group] for group in layer.reads)
    return {group: slice(end - widths[group], end) for group, end in zip(layer.reads, ends, strict=True)}


def kept_inputs(layer: Layer, widths: Mapping[str, int], kept: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """The indices of the kept channels in a layer's concatenated input; the image's three for the first layer."""
    if not layer.reads:
        return torch.arange(3)
    return torch.cat([kept[group] + channels.start for group, channels in input_slices(layer, widths).items()])


def tensor_indices(
    widths: Mapping[str, int], kept: Mapping[str, torch.Tensor]
) -> dict[str, tuple[torch.Tensor | None, torch.Tensor | None]]:
    """By tensor name, the indices to keep along the first and the second dimension.

    None: the dimension is kept entirely. Tensors that a network does not have (a bias) are listed, too.
    """
    indices = {}
    for layer in LAYERS:
        outputs = kept[layer.writes] if layer.writes else None
        indices[f"{layer.conv}.weight"] = outputs, kept_inputs(layer, widths, kept) if layer.reads else None
        indices[f"{layer.conv}.bias"] = outputs, None
        for name in ("weight", "bias", "running_mean", "running_var") if layer.norm else ():
            indices[f"{layer.norm}.{name}"] = outputs, None
    return indices


def take(tensor: torch.Tensor, indices: tuple[torch.Tensor | None, torch.Tensor | None]) -> torch.Tensor:
    """A copy of a tensor at the indices that `tensor_indices` gives."""
    for dimension, positions in enumerate(indices):
        if positions is not None:
            tensor = tensor.index_select(dimension, positions)
    return tensor.clone()


def select_channels(
    state_dict: Mapping[str, torch.Tensor], kept: Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """The tensors of the network that keeps only these channels (sorted indices by group).

    Its outputs equal those of the network before, with the other channels set to zero after their BatchNorm.
    """
    indices = tensor_indices(plan_of(state_dict), kept)
    return {name: take(tensor, indices.get(name, (None, None))) for name, tensor in state_dict.items()}


def describe_groups(widths: Mapping[str, int]) -> list[list[str]]:
    """Rows of a table: each group's channels, the convolutions that write it and those that read it.

    `[from:to]` after a reader: the group's channels in the reader's concatenated input.
    """
    rows = [["group", "channels", "written by", "read by"]]
    for group, width in widths.items():
        writers = [layer.conv for layer in LAYERS if layer.writes == group]
        readers = []
        for layer in LAYERS:
            if group in layer.reads:
                channels = input_slices(layer, widths)[group]
                readers.append(f"{layer.conv}[{channels.start}:{channels.stop}]")
        first = [group, str(width)]
        for writer, reader in itertools.zip_longest(writers, readers, fillvalue=""):
            rows.append([*first, writer, reader])
            first = ["", ""]
    return rows
