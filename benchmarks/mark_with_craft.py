"""Add what CRAFT finds beside the annotated words of the training images as don't-care words (`###`).

    python3 -m benchmarks.mark_with_craft MLT --out mlt --short-side 640

As `tools.prelabel --ignore-unmatched`, which uses a detector of this suite. For data sets that leave words that cannot
be read without a mark. CRAFT runs in bf16 where the processor multiplies it. It needs
`pip install --no-deps -r benchmarks/requirements.txt`.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from benchmarks.contenders import open_craft
from tools.prelabel import Finder, mark_unmatched
from utils.data.augmentation import WholeFrame
from utils.data.images import read_image
from utils.data.problems import Problems
from utils.errors import run_script
from utils.labelling.writing import DRAFT_FORMATS
from utils.options.parser import Parser, nonempty_path, option, whole_number
from utils.runtime.device import cpu_multiplies_bf16


def build_parser() -> Parser:
    parser = Parser(__doc__)
    parser.add_argument("source", type=Path, metavar="FOLDER", help="annotated images")
    option(parser, "--out DIR", nonempty_path, None, "folder for the copy", required=True)
    option(parser, "--format", str, None, "annotation format (default: the source's)", choices=DRAFT_FORMATS)
    option(parser, "--short-side PX", whole_number(32), 640, "short side of the images, in pixels")
    return parser


def main(args: argparse.Namespace) -> None:
    problems = Problems()
    mark_unmatched(args, craft_finder, problems)
    if problems:
        print(f"left out or changed:\n{problems}")


def craft_finder(args: argparse.Namespace) -> Finder:
    """Finds what CRAFT does at the short side of the options."""
    craft, view = open_craft(torch.get_num_threads()), WholeFrame(args.short_side)

    def find(path: Path) -> np.ndarray:
        padded, matrix, (height, width) = view(read_image(path))
        with torch.autocast("cpu", torch.bfloat16, enabled=cpu_multiplies_bf16()):
            quads = craft.detect(np.ascontiguousarray(padded[:height, :width]))
        return (quads - matrix[:, 2]) / np.diag(matrix)

    return find


if __name__ == "__main__":
    run_script(lambda: main(build_parser().parse_args()))
