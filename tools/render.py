"""Training data in SynthText's layout, rendered: words on photographs, or on drawn walls.

    python3 -m tools.render --out SYN --images 20000 [--backgrounds DIR] [--fonts DIR] [--words FILE] [--replace]

Writes SYN/gt.mat (imnames, wordBB, charBB, txt) and SYN/1/render_0.jpg ... The same seed gives the same bytes with any
number of processes. Without folders it uses what the installed packages contain: Pillow's own font and OpenCV's
Hershey fonts on drawn backgrounds. The idea is SynthText's (Gupta et al., CVPR 2016), without its depth maps.
"""

import contextlib
import sys

from tqdm import tqdm

from utils.data.gt_mat import write_synthtext
from utils.errors import printable, run_script
from utils.options.parser import Parser, flag, nonempty_path, number, option, whole_number
from utils.rendering.engine import Renderer, load_studio, render
from utils.rendering.scenes import Style
from utils.runtime.cores import available_cores
from utils.runtime.data_folder import REPLACE_HELP, data_set_folder
from utils.runtime.signals import StopRequest


def build_parser() -> Parser:
    parser = Parser(__doc__)
    option(parser, "--out DIR", nonempty_path, None, "folder for gt.mat and the images", required=True)
    option(parser, "--images N", whole_number(1), None, "how many images", required=True)
    option(parser, "--backgrounds DIR", nonempty_path, None, "photographs without text (default: drawn walls)")
    option(parser, "--fonts DIR", nonempty_path, None, ".ttf and .otf files (default: Pillow's font and OpenCV's)")
    option(parser, "--words FILE", nonempty_path, None, "a word a line, UTF-8 (default: a built-in vocabulary)")
    option(parser, "--size H W", whole_number(64, 8192), (450, 600), "size of the images, in pixels")
    text = "share of images with small, large, steep and wide words among things that look like words"
    option(parser, "--hard SHARE", number(0, 1), 0.0, text)
    flag(parser, "--textless", "pictures without words and without gt.mat, for train_sample.py --rejector --textless")
    option(parser, "--seed N", whole_number(0), 0, "of the random numbers")
    option(parser, "--workers N", whole_number(1, 1024), None, "processes (default: one per core)")
    flag(parser, "--replace", REPLACE_HELP)
    return parser


def main() -> None:
    args = build_parser().parse_args()
    studio = load_studio(args.backgrounds, args.fonts, args.words)
    workers = args.workers or available_cores()
    style = Style(size=tuple(args.size), words=(0, 0) if args.textless else Style.words, hard=args.hard)
    done = []
    with contextlib.ExitStack() as stack:
        inputs = args.backgrounds, args.fonts, args.words
        folder = stack.enter_context(data_set_folder(args.out, inputs, replace=args.replace))
        renderer = Renderer(folder, studio, style, args.seed)
        stop = stack.enter_context(StopRequest())
        images = stack.enter_context(contextlib.closing(render(renderer, args.images, workers)))
        for image in tqdm(images, desc=printable(args.out), total=args.images, unit="img", disable=None):
            done.append(image)
            if stop.requested:
                break
        if not args.textless:
            write_synthtext(folder / "gt.mat", done)
    words = sum(len(image.quads) for image in done)
    print(f"{printable(args.out)}: {len(done)} images, {words} words")
    if len(done) < args.images:
        place = "the folder" if args.textless else "gt.mat"
        print(f"interrupted: {place} has the {len(done)} of {args.images} images that are written", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    run_script(main)
