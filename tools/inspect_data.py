"""What a folder of annotated images holds, and what the network will see of it.

    python3 -m tools.inspect_data DIR [--test] [--out OUT]

DIR: SynthText or a sample dataset, see 'Data layouts' in the README. Prints counts, sizes, angles, what was left
out and why. Writes to --out sheets of samples: the training crop with its words (green; don't-care grey), the
score map (white: text, grey: ignored by the loss, black: background), the angle in the text's cells (green: level,
red: the right end is higher, blue: lower).
"""

from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from utils.data.annotations import Annotations, Words, inside_image
from utils.data.augmentation import TrainTransform, transform_points
from utils.data.images import UnreadableImage, read_picture, write_image
from utils.data.layouts import open_any
from utils.data.problems import Problems
from utils.data.targets import encode
from utils.errors import run_script
from utils.evaluation.drawing import DONT_CARE_COLOUR, MATCHED
from utils.geometry import min_area_rectangles
from utils.maps import Target
from utils.options.machine import add_cache_option
from utils.options.parser import Parser, whole_number

PERCENTILES = 1, 10, 50, 90, 99
_AT_ONCE = 100_000
_COLUMNS, _ROWS = 2, 4
_GAP = 6


def word_statistics(annotations: Annotations) -> dict[str, np.ndarray]:
    """Of each word that counts: short side and long side (pixels), rotation (degrees)."""
    counting = np.flatnonzero(~annotations.ignored)
    sizes, angles = [np.zeros((0, 2))], [np.zeros(0)]
    for start in range(0, len(counting), _AT_ONCE):  # SynthText's seven million in little memory
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


class Sample:
    """One crop as training sees it."""

    def __init__(self, annotations: Annotations, index: int, transform: TrainTransform, seed: int):
        """Raises `UnreadableImage`."""
        picture = read_picture(annotations.path(index), transform.shrinkage)
        words = annotations.words(index)
        inside = inside_image(words, *picture.size)
        self.outside = int((~inside).sum())
        rng = np.random.default_rng(seed)
        self.image, matrix, size = transform(picture.image, rng, picture.size, picture.reduced)
        self.words = Words(transform_points(words.quads[inside], matrix), words.ignored[inside])
        self.target: Target = encode(self.words, *self.image.shape[:2], frame=size)
        self.size = picture.size

    def draw(self) -> np.ndarray:
        """(crop, 3 crop + 2 gaps, 3) uint8 RGB: the crop, the score map, the angle."""
        crop = self.image.copy()
        for quad, ignored in zip(self.words.quads, self.words.ignored, strict=True):
            colour = DONT_CARE_COLOUR if ignored else MATCHED
            cv2.polylines(crop, [np.rint(quad).astype(np.int32)], True, colour, 1, cv2.LINE_AA)
        score, mask = self.target.score_map[0].numpy(), self.target.training_mask[0].numpy()
        seen = np.where(score > 0, 255, np.where(mask > 0, 0, 110)).astype(np.uint8)
        turn = np.clip(self.target.angle[0].numpy() / (np.pi / 2), 0, 1)  # 0.5: level
        shade = np.stack([turn, 1 - 2 * np.abs(turn - 0.5), 1 - turn], 2) * 255
        angle = np.where(score[..., None] > 0, shade, 0).astype(np.uint8)
        panels = [cv2.resize(each, crop.shape[1::-1], interpolation=cv2.INTER_NEAREST)
                  for each in (np.repeat(seen[..., None], 3, 2), angle)]  # fmt: skip
        gap = np.full((crop.shape[0], _GAP // 2, 3), 255, np.uint8)
        return np.concatenate([crop, gap, panels[0], gap, panels[1]], 1)


def draw_samples(annotations: Annotations, count: int, seed: int, problems: Problems) -> list[Sample]:
    """`count` images at random (all, if there are fewer); what can't be read goes to problems."""
    chosen = np.random.default_rng(seed).permutation(len(annotations))[:count]
    samples = []
    for index in tqdm(chosen.tolist(), desc="samples", unit="img", leave=False, disable=None):
        try:
            samples.append(Sample(annotations, index, TrainTransform(), seed))
        except UnreadableImage as error:
            problems.add("images unreadable, left out", str(error))
            continue
        problems.add("words outside their image, left out", str(annotations.path(index)), samples[-1].outside)
    return samples


def describe_samples(samples: list[Sample]) -> str:
    sizes = [f"{width}x{height}" for height, width in (sample.size for sample in samples)]
    commonest = sorted(set(sizes), key=sizes.count, reverse=True)
    score = np.mean([sample.target.score_map.mean().item() for sample in samples])
    ignored = np.mean([1 - sample.target.training_mask.mean().item() for sample in samples])
    empty = sum(sample.target.score_map.max().item() == 0 for sample in samples)
    return (
        f"{len(samples)} samples: sizes {', '.join(commonest[:4])}{', ...' if len(commonest) > 4 else ''}; "
        f"text {100 * score:.1f} %, ignored {100 * ignored:.1f} % of the crop's cells; {empty} crops without text"
    )


def draw_sheet(samples: list[Sample]) -> np.ndarray:
    """Samples side by side, `_COLUMNS` in a row: (H, W, 3) uint8 RGB."""
    pictures = [sample.draw() for sample in samples]
    height, width = pictures[0].shape[:2]
    rows = -(-len(pictures) // _COLUMNS)
    sheet = np.full((rows * (height + _GAP), _COLUMNS * (width + 3 * _GAP), 3), 255, np.uint8)
    for number, picture in enumerate(pictures):
        top, left = number // _COLUMNS * (height + _GAP), number % _COLUMNS * (width + 3 * _GAP)
        sheet[top : top + height, left : left + width] = picture
    return sheet


def main() -> None:
    parser = Parser(__doc__)
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--test", action="store_true", help="a sample dataset's test frames, not those for training")
    parser.add_argument("--out", type=Path, metavar="OUT", help="folder for sheet_1.png, sheet_2.png, ...")
    parser.add_argument("--samples", type=whole_number(1), default=16, metavar="N",
                        help="images to read for sizes and sheets (default %(default)s)")  # fmt: skip
    parser.add_argument("--seed", type=whole_number(0), default=0, help="(default %(default)s)")
    add_cache_option(parser)
    args = parser.parse_args()
    annotations = open_any(args.folder, not args.test, args.cache_dir)
    usable = annotations.usable(np.arange(len(annotations)))
    print(describe(annotations))
    problems = Problems()
    problems.update(annotations.problems)
    samples = draw_samples(annotations, args.samples, args.seed, problems)
    if samples:
        print(describe_samples(samples))
    print(f"usable       {len(usable)} of {len(annotations)} images")
    print(f"left out or repaired:\n{problems}" if problems else "left out or repaired: nothing")
    if args.out and samples:
        args.out.mkdir(parents=True, exist_ok=True)
        per_sheet = _COLUMNS * _ROWS
        for number, start in enumerate(range(0, len(samples), per_sheet), 1):
            write_image(args.out / f"sheet_{number}.png", draw_sheet(samples[start : start + per_sheet]))
        print(f"{args.out}: {number} sheets")


if __name__ == "__main__":
    run_script(main)
