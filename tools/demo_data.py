"""A small dataset to try everything on, drawn with OpenCV: SynthText's layout, and frames like a hand-held video's.

    python3 -m tools.demo_data --out demo/data [--replace]

Writes OUT/synthtext (numbered folders and a gt.mat) and OUT/frames (train_images1, test_images1 and their text files):
a camera moves over walls of signs; test frames show other walls than training frames. The same seed gives the same
pictures.
"""

from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from utils.data.annotations import DONT_CARE, Words, write_words
from utils.data.augmentation import transform_points
from utils.data.gt_mat import SynthTextImage, write_synthtext
from utils.data.images import write_image
from utils.errors import printable, run_script
from utils.geometry import bounding_boxes, min_area_rectangles
from utils.options.parser import Parser, flag, nonempty_path, option, whole_number
from utils.runtime.data_folder import REPLACE_HELP, data_set_folder

_WORDS = """
exit open closed push pull stop taxi hotel cafe bar bank books bread coffee pizza sale new old north south
east west gate platform station street avenue market museum library school office room floor stairs lift no
smoking parking private danger wet paint please wait here ring bell tickets info help desk way out in up down
left right
"""
VOCABULARY = _WORDS.split()
FONTS = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_COMPLEX, cv2.FONT_HERSHEY_TRIPLEX)
FONT_SCALE = 2.0
"""Words are drawn at this size, then warped into the picture."""
FRAME_HEIGHT, FRAME_WIDTH = 192, 256
WORD_HEIGHTS = 16.0, 40.0
"""Range of word heights in SynthText pictures, in pixels."""
UNREADABLE = 11.0
"""Words lower than this, in pixels, are marked don't-care."""


class Word(NamedTuple):
    """A drawn word."""

    text: str
    quad: np.ndarray
    """(4, 2) in the picture's pixels."""
    characters: np.ndarray
    """(characters, 4, 2)."""


def draw_background(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Smooth colour, some shapes, fine texture: (H, W, 3) uint8."""
    coarse = rng.uniform(30, 225, (rng.integers(2, 5), rng.integers(2, 5), 3)).astype(np.float32)
    picture = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    for _ in range(rng.integers(3, 9)):
        x, y = int(rng.integers(0, width)), int(rng.integers(0, height))
        size = rng.integers(5, max(width // 3, 6), 2).tolist()
        colour = rng.uniform(0, 255, 3).tolist()
        thickness = int(rng.choice([-1, 1, 2, 4]))
        if rng.random() < 0.5:
            cv2.rectangle(picture, (x, y), (x + size[0], y + size[1]), colour, thickness, cv2.LINE_AA)
        else:
            turn, end = rng.uniform(0, 180), rng.uniform(90, 360)
            cv2.ellipse(picture, (x, y), size, turn, 0, end, colour, thickness, cv2.LINE_AA)
    grain = rng.normal(0, rng.uniform(2, 10), (height // 2, width // 2, 3)).astype(np.float32)
    picture = picture + cv2.resize(grain, (width, height))
    return np.clip(cv2.GaussianBlur(picture, (3, 3), 0), 0, 255).astype(np.uint8)


class Placement(NamedTuple):
    """Where and how a word is drawn."""

    height: float
    """Of the word, in pixels."""
    centre: np.ndarray
    """(2,) x and y in the picture."""
    angle: float
    """Rotation in radians, positive when the right end is higher."""


def draw_word(rng: np.random.Generator, picture: np.ndarray, text: str, placement: Placement) -> Word | None:
    """Draw a word into the picture, in perspective; None, and nothing drawn, where it does not fit in."""
    mask, flat = _draw_flat(rng, text)
    height, width = mask.shape
    factor = placement.height / (flat[0, 2, 1] - flat[0, 0, 1])
    cos, sin = np.cos(placement.angle), np.sin(placement.angle)
    half = np.array([width, height]) * factor / 2
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half
    corners = corners + rng.normal(0, 0.03 * placement.height, (4, 2))
    corners = corners @ np.array([[cos, sin], [-sin, cos]]).T + placement.centre
    flat_corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    homography = cv2.getPerspectiveTransform(flat_corners, corners.astype(np.float32))
    quads = cv2.perspectiveTransform(flat.reshape(1, -1, 2), homography).reshape(-1, 4, 2)
    left, upper, right, lower = bounding_boxes(quads[:1])[0]
    if left < 2 or upper < 2 or right > picture.shape[1] - 3 or lower > picture.shape[0] - 3:
        return None
    shrunk = min(1.0, 2 * factor)  # area-averaged before the warp shrinks it further
    if shrunk < 1:
        mask = cv2.resize(mask, None, fx=shrunk, fy=shrunk, interpolation=cv2.INTER_AREA)
        homography = homography @ np.diag([width / mask.shape[1], height / mask.shape[0], 1])
    origin = np.floor([left, upper]).astype(int)
    size = np.ceil([right, lower]).astype(int) + 1 - origin
    moved = np.array([[1, 0, -origin[0]], [0, 1, -origin[1]], [0, 0, 1.0]]) @ homography
    cover = cv2.warpPerspective(mask, moved, size.tolist())[..., None] / 255.0
    window = picture[origin[1] : origin[1] + size[1], origin[0] : origin[0] + size[0]]
    colour = rng.uniform(0, 90, 3) if window.mean() > 127 else rng.uniform(165, 255, 3)
    window[:] = window * (1 - cover) + colour * cover
    return Word(text, quads[0], quads[1:])


def _draw_flat(rng: np.random.Generator, text: str) -> tuple[np.ndarray, np.ndarray]:
    """The word's ink (h, w) uint8 in a random font, and (1 + characters, 4, 2) its box and its characters'."""
    font, thickness = int(rng.choice(FONTS)), int(rng.integers(3, 8))
    (width, above), below = cv2.getTextSize(text, font, FONT_SCALE, thickness)
    descends = any(letter in "gjpqy" for letter in text)
    below = below if descends else thickness // 2
    margin = thickness
    mask = np.zeros((above + below + 2 * margin, width + 2 * margin), np.uint8)
    cv2.putText(mask, text, (margin, margin + above), font, FONT_SCALE, 255, thickness, cv2.LINE_AA)
    starts = [cv2.getTextSize(text[:count], font, FONT_SCALE, thickness)[0][0] for count in range(len(text) + 1)]
    ends = np.array(starts)
    x = margin + ends * width / max(ends[-1], 1)
    top, bottom = float(margin), float(margin + above + below)
    spans = [(x[0], x[-1]), *pairwise(x)]
    return mask, np.array([[[a, top], [b, top], [b, bottom], [a, bottom]] for a, b in spans])


def draw_scene(
    rng: np.random.Generator, height: int, width: int, count: int, heights: tuple[float, float]
) -> tuple[np.ndarray, list[Word]]:
    """A wall with up to `count` words that do not overlap: (H, W, 3) uint8, and the words.

    heights: range of the words' heights, in pixels.
    """
    picture, taken = draw_background(rng, height, width), np.zeros((height, width), bool)
    words: list[Word] = []
    for _ in range(count * 4):
        if len(words) == count:
            break
        text = str(rng.choice(VOCABULARY))
        if rng.random() < 0.15:
            text = str(rng.integers(1, 9999))
        text = [text, text.upper(), text.capitalize()][rng.integers(3)]
        size = float(np.exp(rng.uniform(*np.log(heights))))
        half = np.array([size * len(text) * 0.5, size * 0.8])
        if (2 * half > [width, height]).any():
            continue
        centre = rng.uniform(half, np.array([width, height]) - half)
        (left, top), (right, bottom) = (centre - half).astype(int), (centre + half).astype(int)
        if taken[max(top, 0) : bottom, max(left, 0) : right].any():
            continue
        if rng.random() < 0.3:  # on a sign
            colour = rng.uniform(0, 255, 3).tolist()
            cv2.rectangle(picture, (left, top), (right, bottom), colour, -1)
        word = draw_word(rng, picture, text, Placement(size, centre, rng.normal(0, 0.1)))
        if word:
            taken[max(top, 0) : bottom, max(left, 0) : right] = True
            words.append(word)
    return picture, words


def spoil(rng: np.random.Generator, picture: np.ndarray, motion: float) -> np.ndarray:
    """The picture with motion blur over `motion` pixels, other light and sensor noise."""
    length = max(1, round(motion))
    if length > 1:
        kernel = np.zeros((length, length), np.float32)
        angle = rng.uniform(0, np.pi)
        step = np.array([np.cos(angle), np.sin(angle)]) * (length - 1) / 2
        middle = np.array([(length - 1) / 2] * 2)
        ends = [tuple(round(float(value)) for value in middle + sign * step) for sign in (-1, 1)]
        cv2.line(kernel, ends[0], ends[1], 1.0)
        picture = cv2.filter2D(picture, -1, kernel / kernel.sum())
    light = picture * rng.uniform(0.75, 1.15) + rng.normal(0, rng.uniform(1, 6), picture.shape)
    return np.clip(light, 0, 255).astype(np.uint8)


def make_synthtext(folder: Path, count: int, seed: int) -> None:
    """Write `count` pictures and a gt.mat with SynthText's variables."""
    images = []
    for number in range(count):
        rng = np.random.default_rng([seed, 0, number])
        picture, words = draw_scene(rng, FRAME_HEIGHT, FRAME_WIDTH, int(rng.integers(2, 6)), WORD_HEIGHTS)
        while not words:
            picture, words = draw_scene(rng, FRAME_HEIGHT, FRAME_WIDTH, int(rng.integers(2, 6)), WORD_HEIGHTS)
        name = f"{number // 100 + 1}/scene_{number}.jpg"
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_image(folder / name, spoil(rng, picture, rng.uniform(0, 3)))
        quads = np.stack([word.quad for word in words]).astype(np.float32)
        characters = np.concatenate([word.characters for word in words]).astype(np.float32)
        images.append(SynthTextImage(name, quads, characters, [word.text for word in words]))
    write_synthtext(folder / "gt.mat", images)


def make_frames(folder: Path, train: int, test: int, seed: int, per_wall: int = 10) -> None:
    """Write frames of a camera that moves over walls; each wall gives `per_wall` frames."""
    for part, count in (("train", train), ("test", test)):
        images, texts = folder / f"{part}_images1", folder / f"sample_{part}_annotation_txt"
        images.mkdir(parents=True, exist_ok=True)
        texts.mkdir(parents=True, exist_ok=True)
        for number in range(count):
            if number % per_wall == 0:
                rng = np.random.default_rng([seed, 1, part == "test", number])
                wall, words = draw_scene(rng, 3 * FRAME_HEIGHT, 3 * FRAME_WIDTH, 28, (12.0, 46.0))
                start, step = rng.uniform(0.25, 0.75, 2), rng.normal(0, 0.04, 2)
            place = np.clip(start + step * (number % per_wall), 0.2, 0.8) * [3 * FRAME_WIDTH, 3 * FRAME_HEIGHT]
            camera = cv2.getRotationMatrix2D(place.tolist(), rng.normal(0, 4), rng.uniform(0.85, 1.15))
            camera[:, 2] = camera[:, 2] + (np.array([FRAME_WIDTH, FRAME_HEIGHT]) / 2 - place)
            frame = cv2.warpAffine(wall, camera, (FRAME_WIDTH, FRAME_HEIGHT), flags=cv2.INTER_LINEAR)
            quads = [transform_points(word.quad, camera) for word in words]
            frame = spoil(rng, frame, np.hypot(*step) * 40)
            write_frame(images / f"frame{number:04d}.jpg", texts / f"frame{number:04d}.txt", words, quads, frame)


def write_frame(image: Path, text: Path, words: list[Word], quads: list[np.ndarray], frame: np.ndarray) -> None:
    """Write a frame and its text file; words that the frame cuts or that are too small to read are don't-care."""
    kept, texts = [], []
    for word, quad in zip(words, quads, strict=True):
        whole = min_area_rectangles(quad[None]).sizes
        cut = min_area_rectangles(quad[None], (FRAME_WIDTH, FRAME_HEIGHT)).sizes
        share = cut.prod() / whole.prod() if np.isfinite(cut).all() else 0
        if share < 0.05:
            continue
        kept.append(quad)
        texts.append(word.text if share > 0.7 and whole.min() >= UNREADABLE else DONT_CARE)
    write_image(image, frame)
    write_words(text, Words(np.array(kept).reshape(-1, 4, 2), np.array([t == DONT_CARE for t in texts], bool)), texts)


def build_parser() -> Parser:
    parser = Parser(__doc__)
    option(parser, "--out DIR", nonempty_path, None, "folder for synthtext/ and frames/", required=True)
    option(parser, "--images N", whole_number(5), 600, "pictures in synthtext/")
    option(parser, "--train-frames N", whole_number(1), 60, "training frames in frames/")
    option(parser, "--test-frames N", whole_number(1), 40, "test frames in frames/")
    option(parser, "--seed N", whole_number(0), 0, "of the random numbers")
    flag(parser, "--replace", REPLACE_HELP)
    return parser


def main() -> None:
    args = build_parser().parse_args()
    with data_set_folder(args.out, replace=args.replace) as folder:
        make_synthtext(folder / "synthtext", args.images, args.seed)
        make_frames(folder / "frames", args.train_frames, args.test_frames, args.seed)
    frames = f"{args.train_frames} + {args.test_frames}"
    print(f"{printable(args.out)}: synthtext/ ({args.images} images), frames/ ({frames} frames)")


if __name__ == "__main__":
    run_script(main)
