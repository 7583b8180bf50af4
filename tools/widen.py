"""Start a wider network from a trained narrow one: the same outputs, with more channels to learn with.

    python3 -m tools.widen weights/narrow.pt wide.pt --width 0.625
    python3 train_sample.py --pretrain-model wide.pt --prune ...

Training a wide network takes long; most of it can be done at a small width. Added channels are copies of trained ones
whose weights are divided among the copies, so that the outputs do not change (Net2Net: Chen et al., ICLR 2016).
"""

from utils.checkpoint import load_model, save_successor
from utils.errors import UserError, printable, run_script
from utils.network.channels import uniform_plan
from utils.network.cost import count_parameters
from utils.network.widening import widen
from utils.options.parser import Parser, nonempty_path, number, option, whole_number
from utils.runtime.files import refuse_overlap


def build_parser() -> Parser:
    parser = Parser(__doc__)
    parser.add_argument("source", type=nonempty_path, metavar="CKPT", help="the trained checkpoint")
    parser.add_argument("destination", type=nonempty_path, metavar="FILE", help="the checkpoint to write")
    text = "the new network's share of the original's widths"
    option(parser, "--width SHARE", number(0.001, 1), None, text, required=True)
    option(parser, "--seed N", whole_number(0), 0, "of the random choices")
    return parser


def main() -> None:
    args = build_parser().parse_args()
    refuse_overlap([args.destination], [args.source])
    source, others = load_model(args.source)
    try:
        network = widen(source, uniform_plan(args.width), args.seed)
    except UserError as error:
        raise UserError(f"--width {args.width:g}: {error}; give a larger one") from None
    save_successor(args.destination, network, others)
    print(f"{printable(args.destination)}: {count_parameters(network):,} parameters")


if __name__ == "__main__":
    run_script(main)
