"""Split ICDAR 2015's training images into training and test images, by symbolic links: nothing is copied.

    python3 -m tools.split_icdar ICDAR2015 OUT --train 800

OUT gets ICDAR 2015's layout: the first 800 images (in the order of their numbers) for training, the others as
test frames.
"""

from pathlib import Path

from utils.data.annotations import ICDAR2015_LAYOUT, list_images
from utils.errors import UserError, printable, run_script
from utils.options.parser import Parser, option, whole_number


def split(source: Path, out: Path, train: int) -> tuple[int, int]:
    """Link images and texts into `out`; returns the numbers of training and test images."""
    layout = ICDAR2015_LAYOUT
    if not (source / layout.images[0]).is_dir():
        raise UserError(f"{source}: there is no {layout.images[0]}/; give the folder of ICDAR 2015's training set")
    images = list_images(source / layout.images[0])
    if not 0 < train < len(images):
        raise UserError(f"--train {train}: {source} has {len(images)} images; leave some for each part")
    for number, image in enumerate(images):
        part = int(number >= train)
        text = source / layout.texts[0] / f"{layout.prefix}{image.stem}.txt"
        for file, folder in ((image, layout.images[part]), (text, layout.texts[part])):
            link = out / folder / file.name
            link.parent.mkdir(parents=True, exist_ok=True)
            link.unlink(missing_ok=True)
            link.symlink_to(file.resolve())
    return train, len(images) - train


def build_parser() -> Parser:
    parser = Parser(__doc__)
    parser.add_argument("source", type=Path, metavar="ICDAR2015", help="folder with ch4_training_images/")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder for the links")
    option(parser, "--train N", whole_number(1), 800, "images that remain for training")
    return parser


def main() -> None:
    args = build_parser().parse_args()
    counts = split(args.source, args.out, args.train)
    print(f"{printable(args.out)}: {counts[0]} training and {counts[1]} test images, linked")


if __name__ == "__main__":
    run_script(main)
