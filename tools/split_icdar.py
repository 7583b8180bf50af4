"""Split ICDAR 2015's training images into training and test images, by symbolic links: nothing is copied.

    python3 -m tools.split_icdar ICDAR2015 OUT --train 800 [--replace]

OUT gets ICDAR 2015's layout: the first 800 images (in the order of their numbers) for training, the others as
test frames. OUT must be new or empty: two splits in one folder would have images in both parts. --replace removes an
earlier split first.
"""

from pathlib import Path

from utils.data.annotations import ICDAR2015_LAYOUT, list_images, text_file_of
from utils.data.problems import Problems
from utils.errors import UserError, printable, run_script
from utils.options.parser import Parser, flag, option, whole_number
from utils.runtime.data_folder import REPLACE_HELP, data_set_folder


def split(source: Path, out: Path, train: int, *, replace: bool = False) -> tuple[int, int, Problems]:
    """Link images and texts into `out`; returns the numbers of training and test images, and what is left out.

    Raises `UserError`.
    """
    layout, problems = ICDAR2015_LAYOUT, Problems()
    images_folder, texts_folder = source / layout.images[0], source / layout.texts[0]
    if not images_folder.is_dir():
        raise UserError(f"{source}: there is no {layout.images[0]}/; give the folder of ICDAR 2015's training set")
    pairs = []
    for image in list_images(images_folder):
        text = text_file_of(image.relative_to(images_folder), texts_folder, layout.prefix)
        if text is None:
            problems.add("images without annotation, left out", str(image))
        else:
            pairs.append((image, text))
    if not 0 < train < len(pairs):
        raise UserError(f"--train {train}: {source} has {len(pairs)} images; leave some for each part")
    with data_set_folder(out, [source], replace=replace) as folder:
        for number, (image, text) in enumerate(pairs):
            part = int(number >= train)
            link(image, folder / layout.images[part] / image.relative_to(images_folder))
            link(text, folder / layout.texts[part] / text.relative_to(texts_folder))
    return train, len(pairs) - train, problems


def link(file: Path, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(file.resolve())


def build_parser() -> Parser:
    parser = Parser(__doc__)
    parser.add_argument("source", type=Path, metavar="ICDAR2015", help="folder with ch4_training_images/")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder for the links")
    option(parser, "--train N", whole_number(1), 800, "images that remain for training")
    flag(parser, "--replace", REPLACE_HELP)
    return parser


def main() -> None:
    args = build_parser().parse_args()
    train, test, problems = split(args.source, args.out, args.train, replace=args.replace)
    print(f"{printable(args.out)}: {train} training and {test} test images, linked")
    if problems:
        print(f"left out:\n{problems}")


if __name__ == "__main__":
    run_script(main)
