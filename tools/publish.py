"""A checkpoint's weights alone, small enough to hand around: convolutions in half precision.

    python3 -m tools.publish OUT/best.pt weights/narrow.pt --score-threshold 0.85

`--pretrain-model weights/narrow.pt` takes the file as any other checkpoint; it is read back into float32. Its
plan and metrics stay, the optimizer's state goes. With the threshold that `test_sample.py --sweep` found best,
all scores are moved so that the cells above it are those above the default threshold: who uses the published
network needs no option. Scores are weights, too, so the words change a little: measure the published file again.
"""

from pathlib import Path

import torch

from utils.checkpoint import FORMAT, describe_channels, load_model, write_atomically
from utils.decode import SCORE_THRESHOLD
from utils.errors import UserError, run_script
from utils.options.parser import Parser, given_path, number, option

KEPT = ("epoch", "metrics")


def publish(source: Path, destination: Path, score_threshold: float = SCORE_THRESHOLD) -> None:
    """score_threshold: above 0, below 1; the cells' probability that becomes `SCORE_THRESHOLD`. Metrics of other
    scores are left out.

    Raises `UserError` if the source is no checkpoint or weights are beyond half precision's range.
    """
    model, contents = load_model(source)
    now, before = torch.tensor([SCORE_THRESHOLD, score_threshold]).logit()
    model.confidence[0].bias.data += now - before
    state = {name: tensor.half() if tensor.dim() == 4 else tensor for name, tensor in model.state_dict().items()}
    if odd := [name for name, tensor in state.items() if tensor.is_floating_point() and not tensor.isfinite().all()]:
        raise UserError(f"{source}: {odd[0]} is not finite in half precision; publish another checkpoint")
    destination.parent.mkdir(parents=True, exist_ok=True)
    kept = {name: contents[name] for name in KEPT if name in contents}
    if score_threshold != SCORE_THRESHOLD:
        kept.pop("metrics", None)
    write_atomically(destination, {"format": FORMAT, "model": state, **describe_channels(model), **kept})


def main() -> None:
    parser = Parser(__doc__)
    parser.add_argument("source", type=given_path, metavar="CKPT")
    parser.add_argument("destination", type=given_path, metavar="FILE")
    text = "least probability of a text cell until now, of the published network it is the default's"
    option(parser, "--score-threshold", number(0.001, 0.999), SCORE_THRESHOLD, "P", text)
    args = parser.parse_args()
    publish(args.source, args.destination, args.score_threshold)
    print(f"{args.destination}: {args.destination.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    run_script(main)
