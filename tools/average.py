"""Average the weights of two checkpoints of a network: before a fine-tuning and after it.

    python3 -m tools.average weights/narrow.pt tuned/ema.pt both.pt [--share 0.5]

A network that is fine-tuned for some pictures, of one size for example, becomes worse on others. The average of the
weights before and after keeps most of both (WiSE-FT: "Robust fine-tuning of zero-shot models", Wortsman et al., CVPR
2022). BatchNorm statistics are averaged, too. The default score threshold may have to be chosen again.
"""

import torch

from utils.checkpoint import load_model, save_successor
from utils.errors import UserError, printable, run_script
from utils.network.base import TextNetwork
from utils.options.parser import Parser, nonempty_path, number, option
from utils.runtime.files import refuse_overlap


def average(before: TextNetwork, after: TextNetwork, share: float = 0.5) -> TextNetwork:
    """`after`, changed in place to the average of both. share: the weight of `after`, 0 to 1.

    Raises `UserError` if they do not have the same channels of the same network: their weights mean different things.
    """
    if before.plan != after.plan or before.origin.within(after.origin) is None:
        raise UserError("two different networks; give checkpoints of one network before and after a fine-tuning")
    start = before.state_dict()
    for name, values in after.state_dict().items():
        if values.is_floating_point():
            values.copy_(torch.lerp(start[name], values, share))
    return after


def build_parser() -> Parser:
    parser = Parser(__doc__)
    parser.add_argument("before", type=nonempty_path, metavar="BEFORE", help="the checkpoint before the fine-tuning")
    parser.add_argument("after", type=nonempty_path, metavar="AFTER", help="the checkpoint after it")
    parser.add_argument("destination", type=nonempty_path, metavar="FILE", help="the checkpoint to write")
    option(parser, "--share SHARE", number(0, 1), 0.5, "weight of the network after the fine-tuning")
    return parser


def main() -> None:
    args = build_parser().parse_args()
    refuse_overlap([args.destination], [args.before, args.after])
    (before, _), (after, others) = load_model(args.before), load_model(args.after)
    try:
        network = average(before, after, args.share)
    except UserError as error:
        raise UserError(f"{args.before}, {args.after}: {error}") from None
    save_successor(args.destination, network, others)
    print(f"{printable(args.destination)}: {args.share:g} of {printable(args.after)}")


if __name__ == "__main__":
    run_script(main)
