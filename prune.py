"""Channel-prune a checkpoint into a smaller network that `train_sample.py --prune` fine-tunes.

    python3 prune.py --pretrain-model CKPT --save-dir OUT --sparsity 0.5

Removes the given share of the channels of each channel group: those whose filters have the least L1 norm
("Pruning Filters for Efficient ConvNets", Li et al., ICLR 2017), summed over the convolutions that write
the group. The pruned network's outputs equal the original's with the same channels zeroed. Writes
OUT/pruned.pt and prints channels, parameters and MACs before and after.
"""

import argparse

import torch

from model_pruned import FOTSModelPruned
from utils.channels import LAYERS, plan_of, select_channels
from utils.checkpoint import load_model, save_checkpoint
from utils.cli import Parser, given_path, given_text, number, whole_number
from utils.cost import count_macs, count_parameters
from utils.errors import UserError, run_script
from utils.results import format_table


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = Parser(__doc__)
    parser.add_argument(
        "--pretrain-model",
        type=given_text,
        required=True,
        metavar="CKPT",
        help="the checkpoint to prune, pruned or not",
    )
    parser.add_argument("--save-dir", type=given_path, required=True, metavar="DIR", help="folder for pruned.pt")
    parser.add_argument(
        "--sparsity",
        type=number(0, 0.999),
        default=0.5,
        metavar="SHARE",
        help="share of each group's channels to remove (default %(default)s)",
    )
    parser.add_argument(
        "--prune-remove-artifacts",
        action="store_true",
        help="prune the heads' inputs too, the output of remove_artifacts (default: left whole)",
    )
    parser.add_argument(
        "--size",
        type=whole_number(32),
        nargs=2,
        default=(288, 512),
        metavar=("H", "W"),
        help="input size that MACs are counted at (default 288 512)",
    )
    return parser.parse_args(arguments)


def main(args: argparse.Namespace) -> None:
    model, _ = load_model(args.pretrain_model)
    state = model.state_dict()
    whole = () if args.prune_remove_artifacts else ("remove_artifacts",)
    kept = choose_channels(state, args.sparsity, whole)
    pruned = FOTSModelPruned({group: len(channels) for group, channels in kept.items()})
    pruned.load_state_dict(select_channels(state, kept))
    if pruned.plan == model.plan:
        raise UserError(f"--sparsity {args.sparsity}: removes no channel at all; give a larger share")
    args.save_dir.mkdir(parents=True, exist_ok=True)
    path = args.save_dir / "pruned.pt"
    save_checkpoint(path, pruned, epoch=0, arguments={**vars(args), "save_dir": str(args.save_dir)})
    print(format_table(report(model, pruned.eval(), *args.size)))
    print(f"{path}: fine-tune it with train_sample.py ... --pretrain-model {path} --continue-training --prune")


def choose_channels(
    state: dict[str, torch.Tensor], sparsity: float, whole: tuple[str, ...] = ()
) -> dict[str, torch.Tensor]:
    """Sorted indices of the channels to keep, by group; at least one each. whole: groups kept as they are."""
    scores: dict[str, torch.Tensor] = {}
    for layer in LAYERS:
        if layer.writes:
            norms = state[f"{layer.conv}.weight"].float().abs().sum((1, 2, 3))
            scores[layer.writes] = scores.get(layer.writes, 0) + norms / norms.mean().clamp(min=1e-12)
    kept = {}
    for group, width in plan_of(state).items():
        count = width if group in whole else max(1, round(width * (1 - sparsity)))
        kept[group] = scores[group].topk(count).indices.sort().values
    return kept


def report(before: torch.nn.Module, after: torch.nn.Module, height: int, width: int) -> list[list[str]]:
    """Rows of a table: output channels, parameters and MACs of each convolution and its norm, and in all."""
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
    return rows


def _cells(old, new) -> list[str]:
    cells = []
    for place, (before, after) in enumerate(zip(old, new, strict=True)):
        scale, pattern = (1e6, "{:,.1f}") if place == 2 else (1, "{:,.0f}")
        cells += [pattern.format(before / scale), "-> " + pattern.format(after / scale)]
    return cells


if __name__ == "__main__":
    run_script(lambda: main(parse_args()))
