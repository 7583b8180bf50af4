"""What a folder of annotated images contains, and what the network sees of it.

    python3 -m tools.inspect_data DIR [--test] [--out OUT] [--short-side 320 --crop 280 ...]

DIR: SynthText or a sample dataset, see docs/data.md. Prints counts, word sizes and angles, what is left out and why.
Writes sheets of samples to --out: the training crop with its words (green; don't-care grey), the score map (white:
text, grey: ignored by the loss, black: background), the angle in text cells (green: level, red: the right end is
higher, blue: lower). Crops are those of a training run with the same view options (`train_sample.py`).
"""

from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from datasets import TextDataset, open_folder
from utils.data.annotations import Annotations
from utils.data.frames import Frame
from utils.data.images import UnreadableImage, write_image
from utils.data.layouts import FORMAT_NAMES
from utils.data.problems import Problems
from utils.errors import printable, run_script
from utils.evaluation.drawing import DONT_CARE_COLOUR, MATCHED
from utils.geometry import min_area_rectangles
from utils.maps import Target
from utils.options.machine import add_cache_option
from utils.options.parser import Parser, flag, nonempty_path, option, whole_number
from utils.options.reading import add_reading_options, read_options
from utils.options.view import add_view_options, train_transform
from utils.runtime.files import refuse_overlap
from utils.runtime.results import ResultFolder

PERCENTILES = 1, 10, 50, 90, 99
_AT_ONCE = 100_000
_COLUMNS, _ROWS = 2, 4
_GAP = 6


def word_statistics(annotations: Annotations) -> dict[str, np.ndarray]:
    """Short side and long side (pixels) and rotation (degrees) of each word that is not don't-care."""
    counting = np.flatnonzero(~annotations.ignored)
    sizes, angles = [np.zeros((0, 2))], [np.zeros(0)]
    for start in range(0, len(counting), _AT_ONCE):  # in parts: SynthText has seven million words
        rectangles = min_area_rectangles(annotations.quads[counting[start : start + _AT_ONCE]])
        sizes.append(np.sort(rectangles.sizes, 1))
        angles.append(np.degrees(rectangles.theta))
    sizes = np.concatenate(sizes)
    return {
        "short side of a word, px": sizes[:, 0],
        "long side of a word, px": sizes[:, 1],
        "rotation of a word, degrees": np.concatenate(angles),
    }


def describe(annotations: Annotations) -> str:
    """A table of counts and percentiles."""
    words, ignored = len(annotations.quads), int(annotations.ignored.sum())
    per_image = np.diff(annotations.offsets)
    rows = [
        f"images       {len(annotations)}, {int((per_image == 0).sum())} of them without words",
        f"words        {words}, {ignored} of them don't-care",
        f"{'':32}" + "".join(f"{f'{share} %':>8}" for share in PERCENTILES),
    ]
    for name, values in {"words in an image": per_image, **word_statistics(annotations)}.items():
        if len(values):
            rows.append(f"{name:32}" + "".join(f"{value:8.1f}" for value in np.percentile(values, PERCENTILES)))
    return "\n".join(rows)


def draw_sample(frame: Frame, target: Target) -> np.ndarray:
    """(crop, 3 crop + 2 gaps, 3) uint8 RGB: the crop with its words, the score map, the angle."""
    crop = frame.image.copy()
    words = frame.info.words_in_input()
    for quad, ignored in zip(words.quads, words.ignored, strict=True):
        colour = DONT_CARE_COLOUR if ignored else MATCHED
        cv2.polylines(crop, [np.rint(quad).astype(np.int32)], True, colour, 1, cv2.LINE_AA)
    score, mask = target.score_map[0].numpy(), target.training_mask[0].numpy()
    trained = np.where(score > 0, 255, np.where(mask > 0, 0, 110)).astype(np.uint8)
    turn = np.clip(target.angle[0].numpy() / (np.pi / 2), 0, 1)  # 0.5: level
    shade = np.stack([turn, 1 - 2 * np.abs(turn - 0.5), 1 - turn], 2) * 255
    angle = np.where(score[..., None] > 0, shade, 0).astype(np.uint8)
    maps = np.repeat(trained[..., None], 3, 2), angle
    panels = [cv2.resize(each, crop.shape[1::-1], interpolation=cv2.INTER_NEAREST) for each in maps]
    gap = np.full((crop.shape[0], _GAP // 2, 3), 255, np.uint8)
    return np.concatenate([crop, gap, panels[0], gap, panels[1]], 1)


def read_samples(dataset: TextDataset, count: int, seed: int, problems: Problems) -> list[Frame]:
    """`count` random images of the dataset, or all if there are fewer; unreadable ones are added to problems."""
    chosen = np.random.default_rng(seed).permutation(len(dataset))[:count]
    samples = []
    for index in tqdm(chosen.tolist(), desc="samples", unit="img", leave=False, disable=None):
        try:
            samples.append(dataset.frame(index, seed))
        except UnreadableImage as error:
            problems.add("images unreadable, left out", str(error))
        else:
            problems.update(samples[-1].problems)
    return samples


def describe_samples(samples: list[Frame], targets: list[Target]) -> str:
    """Shares of text and of ignored cells in the crops, and how many crops have no text."""
    score = np.mean([target.score_map.mean().item() for target in targets])
    ignored = np.mean([1 - target.training_mask.mean().item() for target in targets])
    empty = sum(target.score_map.max().item() == 0 for target in targets)
    return (
        f"{len(samples)} samples: text {100 * score:.1f} %, ignored {100 * ignored:.1f} % of the crops' cells; "
        f"{empty} crops without text"
    )


def draw_sheet(pictures: list[np.ndarray]) -> np.ndarray:
    """Pictures of one size side by side, `_COLUMNS` in a row: (H, W, 3) uint8 RGB."""
    height, width = pictures[0].shape[:2]
    rows = -(-len(pictures) // _COLUMNS)
    sheet = np.full((rows * (height + _GAP), _COLUMNS * (width + 3 * _GAP), 3), 255, np.uint8)
    for number, picture in enumerate(pictures):
        top, left = number // _COLUMNS * (height + _GAP), number % _COLUMNS * (width + 3 * _GAP)
        sheet[top : top + height, left : left + width] = picture
    return sheet


def write_sheets(folder: Path, pictures: list[np.ndarray]) -> int:
    """Write sheet_1.png, sheet_2.png, ... and return how many. Raises `UserError` for files that are no such sheets."""
    results = ResultFolder(folder, "inspect_data")
    starts = range(0, len(pictures), _COLUMNS * _ROWS)
    for number, start in enumerate(starts, 1):
        write_image(results.claim(f"sheet_{number}.png"), draw_sheet(pictures[start : start + _COLUMNS * _ROWS]))
    return len(starts)


def build_parser() -> Parser:
    parser = Parser(__doc__)
    parser.add_argument("folder", type=Path, metavar="DIR", help="SynthText or a sample dataset")
    text = "a sample dataset's test frames, or SynthText's validation images"
    flag(parser, "--test", text)
    option(parser, "--out OUT", nonempty_path, None, "folder for sheet_1.png, sheet_2.png, ...")
    option(parser, "--samples N", whole_number(1), 16, "images to read")
    option(parser, "--seed N", whole_number(0), 0, "of the choice of images and of their crops")
    text = "annotation format of a sample dataset (default: recognised, and printed with the reason)"
    parser.add_argument("--format", choices=FORMAT_NAMES, help=text)
    add_cache_option(parser)
    add_reading_options(parser)
    add_view_options(parser.add_argument_group("training crops (pixels, degrees)"))
    return parser


def main() -> None:
    args = build_parser().parse_args()
    options = {"transform": train_transform(args), "cache_dir": args.cache_dir, **read_options(args)._asdict()}
    refuse_overlap([args.out], [args.folder], inside=False)
    dataset = open_folder(args.folder, not args.test, format_name=args.format, **options)
    refuse_overlap([args.out], dataset.folders)
    problems = Problems.together([dataset.problems])
    usable, unreadable = len(dataset), problems.count("images unreadable, left out")
    print(f"format       {printable(dataset.annotations.source)}")
    print(describe(dataset.annotations))
    samples = read_samples(dataset, args.samples, args.seed, problems)
    targets = [sample.target() for sample in samples]
    if samples:
        print(describe_samples(samples, targets))
    print(f"usable       {usable} of {usable + unreadable} {'test or validation' if args.test else 'training'} images")
    print(f"left out or repaired:\n{problems}" if problems else "left out or repaired: nothing")
    if args.out and samples:
        pictures = [draw_sample(sample, target) for sample, target in zip(samples, targets, strict=True)]
        print(f"{printable(args.out)}: {write_sheets(args.out, pictures)} sheets")


if __name__ == "__main__":
    run_script(main)
