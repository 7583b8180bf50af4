"""Write a checkpoint for publication: weights without the optimizer's state, convolutions in half precision.

    python3 -m tools.publish OUT/best.pt weights/narrow.pt --score-threshold 0.85

`--pretrain-model` accepts the file like any other checkpoint, and reads it into float32. It keeps the plan, the
metrics and the rejector. With --score-threshold, the best one of `test_sample.py --sweep`, all scores are shifted so
that the cells above it are those above the default threshold; users of the published network then need no option.
Scores are also weights in the merging of words, so words change slightly: measure the published file again.
"""

from pathlib import Path

import torch

from utils.checkpoint import FORMAT, describe_channels, load_model, write_atomically
from utils.decode import SCORE_THRESHOLD
from utils.errors import UserError, printable, run_script
from utils.network.rejector import ENTRY
from utils.options.parser import Parser, nonempty_path, number, option
from utils.runtime.files import refuse_overlap

KEPT = ("epoch", "metrics", ENTRY)


def publish(source: Path, destination: Path, score_threshold: float = SCORE_THRESHOLD) -> None:
    """Write the published form of the checkpoint `source` to `destination`.

    score_threshold: above 0 and below 1; the probability that is shifted to `SCORE_THRESHOLD`. If the scores are
    shifted, the metrics, which belong to the scores before, are left out. Raises `UserError` if the source is no
    checkpoint, if weights are not finite in half precision, or if the destination is the source.
    """
    refuse_overlap([destination], [source])
    network, contents = load_model(source)
    state = {name: tensor.half() if tensor.dim() == 4 else tensor for name, tensor in network.state_dict().items()}
    default, given = torch.tensor([SCORE_THRESHOLD, score_threshold]).logit()
    state["confidence.0.bias"] = state["confidence.0.bias"] + (default - given)
    if odd := [name for name, tensor in state.items() if tensor.is_floating_point() and not tensor.isfinite().all()]:
        raise UserError(f"{source}: {odd[0]} is not finite in half precision; publish another checkpoint")
    destination.parent.mkdir(parents=True, exist_ok=True)
    kept = {name: contents[name] for name in KEPT if name in contents}
    if score_threshold != SCORE_THRESHOLD:
        kept.pop("metrics", None)
    write_atomically(destination, {"format": FORMAT, "model": state, **describe_channels(network), **kept})


def build_parser() -> Parser:
    parser = Parser(__doc__)
    parser.add_argument("source", type=nonempty_path, metavar="CKPT", help="the checkpoint to publish")
    parser.add_argument("destination", type=nonempty_path, metavar="FILE", help="the file to write")
    text = "lowest probability of a text cell that is best for the checkpoint; it becomes the default threshold"
    option(parser, "--score-threshold P", number(0.001, 0.999), SCORE_THRESHOLD, text)
    return parser


def main() -> None:
    args = build_parser().parse_args()
    publish(args.source, args.destination, args.score_threshold)
    print(f"{printable(args.destination)}: {args.destination.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    run_script(main)
