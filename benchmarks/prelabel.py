"""How much of the labelling `tools.prelabel` saves: drafts and carried corrections against rendered truth.

    python3 -m benchmarks.prelabel --pretrain-model weights/narrow.pt --short-side 480
    python3 -m benchmarks.prelabel --pretrain-model CKPT --backgrounds PHOTOS --fonts FONTS --clips 6

A camera moves over rendered walls: pan, zoom, rotation, perspective, blur, noise, video compression. Every Nth frame
is drafted. Then every 10th drafted frame gets its true words, as a user corrects it, and these are carried over.
The table compares the boxes of the other drafted frames with the truth by ICDAR 2015's protocol (IoU above 0.5).
"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from tqdm import tqdm

from utils.data.annotations import DONT_CARE, Words
from utils.data.formats.entries import Entry
from utils.data.image_types import DEFAULT_READING
from utils.data.problems import Problems
from utils.data.video import VideoWriter
from utils.detector import load_detector
from utils.errors import run_script
from utils.evaluation import evaluate
from utils.geometry import min_area_rectangles
from utils.labelling.drafts import DraftFrame, make_drafts, read_record, write_record
from utils.labelling.frames import Chooser, iterate_frames
from utils.labelling.propagation import propagate, quads_of
from utils.labelling.writing import DraftFolder, read_drafted, replace_annotations
from utils.options.parser import Parser, nonempty_path, nonempty_text, option, whole_number
from utils.rendering.engine import load_studio
from utils.rendering.scenes import Scene, Studio, Style, draw_scene, photograph
from utils.runtime.tables import format_table
from utils.tracking.tracker import visible_parts, visible_shares

HEIGHT, WIDTH = 540, 960
WALL = Style(size=(1400, 2400), words=(50, 80), heights=(14.0, 90.0), usual_height=28.0)
LEAST_HEIGHT = 9.0
"""Lower words, in pixels, are don't-care; so are words of which less than half is visible."""


class Clip(NamedTuple):
    """A rendered video and its true words."""

    path: Path
    truth: list[Entry]
    """Of each frame."""


def build_parser() -> Parser:
    parser = Parser(__doc__)
    option(parser, "--pretrain-model CKPT", nonempty_text, None, "the detector's checkpoint", required=True)
    option(parser, "--short-side PX", whole_number(32), 480, "short side of the detector's input")
    option(parser, "--clips N", whole_number(1), 4, "rendered videos")
    option(parser, "--frames N", whole_number(20), 300, "frames of each video")
    option(parser, "--every N", whole_number(1), 1, "draft every Nth frame")
    option(parser, "--backgrounds DIR", nonempty_path, None, "photographs behind the words (default: drawn walls)")
    option(parser, "--fonts DIR", nonempty_path, None, "TrueType fonts (default: OpenCV's)")
    return parser


def main() -> None:
    args = build_parser().parse_args()
    detector = load_detector(args.pretrain_model, short_side=args.short_side)
    studio = load_studio(args.backgrounds, args.fonts, None)
    scores = Scores()
    with tempfile.TemporaryDirectory() as folder:
        for number in tqdm(range(args.clips), desc="clips", leave=False, disable=None):
            clip = film(studio, Path(folder) / f"clip{number}.mp4", args.frames, seed=number)
            label(clip, Path(folder) / f"drafts{number}", detector.detect, args.every, scores)
    print(format_table(scores.table()))


class Scores:
    """Boxes of each way of labelling, with the truth of their frames."""

    def __init__(self) -> None:
        self.found: dict[str, tuple[list[Words], list[np.ndarray]]] = {}
        self.seconds: dict[str, float] = {}

    def add(self, name: str, truth: Entry, quads: np.ndarray) -> None:
        words, boxes = self.found.setdefault(name, ([], []))
        words.append(Words(truth.quads, truth.ignored))
        boxes.append(np.asarray(quads, np.float64).reshape(-1, 4, 2))

    def table(self) -> list[list[str]]:
        rows = [["boxes", "frames", "words", "words with a right box", "boxes that are right", "hmean"]]
        for name, (words, boxes) in self.found.items():
            result = evaluate(words, boxes)
            shares = [f"{value:.3f}" for value in (result.recall, result.precision, result.hmean)]
            rows.append([name, str(len(words)), str(result.words), *shares])
        return rows


def label(clip: Clip, folder: Path, detect: Callable, every: int, scores: Scores) -> None:
    """Draft a clip, correct every 10th drafted frame, carry the corrections over; compare each with the truth."""
    found: list[np.ndarray] = []

    def detect_and_note(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        result = detect(image)
        found.append(result[0])
        return result

    problems = Problems()
    output = DraftFolder(folder, "labelme")
    frames = iterate_frames(clip.path, DEFAULT_READING, problems)
    drafts = make_drafts(frames, Chooser(every), detect_and_note, keep=output.keep)
    output.write(clip.path, drafts, problems)
    corrected = drafts[::10]
    others = [draft for draft in drafts if draft not in corrected]
    for draft, quads in zip(drafts, found, strict=True):
        if draft in others:
            truth = clip.truth[draft.number]
            scores.add("detections, frame by frame", truth, quads)
            scores.add("drafts", truth, quads_of(draft.words))
            scores.add("drafts, certain ones", truth, quads_of([word for word in draft.words if not word.ignored]))
    correct(folder, corrected, clip)
    final = read_drafted(folder, "labelme", drafts, problems)
    for draft in others:
        counted = [text != DONT_CARE for text in final[draft.name].texts]
        scores.add("after correcting every 10th", clip.truth[draft.number], final[draft.name].quads[counted])


def correct(folder: Path, corrected: Sequence[DraftFrame], clip: Clip) -> None:
    """Give drafted frames their true words, then carry them over, as `tools.prelabel --propagate` does."""
    source, file_format, drafts = read_record(folder)
    truth = [clip.truth[draft.number]._replace(name=draft.name, part="train") for draft in corrected]
    replace_annotations(folder, file_format, truth, drafts)
    entries = read_drafted(folder, file_format, drafts, Problems())
    for draft in corrected:
        frames = iterate_frames(clip.path, DEFAULT_READING, Problems())
        changed = {each.name: each for each in propagate(drafts, entries, draft.number, frames)}
        replace_annotations(folder, file_format, [each.entry() for each in changed.values()], drafts)
    write_record(folder, source, file_format, drafts)


def film(studio: Studio, path: Path, count: int, seed: int) -> Clip:
    """Render a wall and a camera's flight over it."""
    rng = np.random.default_rng(seed)
    wall = draw_scene(rng, studio, WALL)
    truth = []
    with VideoWriter(path, 25) as writer:
        for number, view in enumerate(flight(rng, count)):
            frame = cv2.warpPerspective(wall.picture, view, (WIDTH, HEIGHT), flags=cv2.INTER_AREA)
            writer.write(photograph(np.random.default_rng([seed, number]), frame, 0.5))
            truth.append(true_words(wall, view))
    return Clip(path, truth)


def flight(rng: np.random.Generator, count: int) -> Iterator[np.ndarray]:
    """Homographies (3, 3) from the wall to the frames of a hand-held camera."""
    height, width = WALL.size
    phases, speeds = rng.uniform(0, 2 * np.pi, 6), rng.uniform(0.6, 1.4, 6) * 2 * np.pi / 250
    for number in range(count):
        x, y, zoom, turn, lean, rise = np.sin(phases + speeds * number)
        shake = rng.normal(0, 1.0, 2)
        centre = np.array([width, height]) / 2 + np.array([x, y]) * [0.27 * width, 0.22 * height] + shake
        half = np.array([WIDTH, HEIGHT]) / 2 * np.exp(0.3 * zoom)
        corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], float)
        corners = corners * (1 + 0.08 * corners[:, [0]] * lean + 0.05 * corners[:, [1]] * rise) * half
        angle = 0.08 * turn
        corners = corners @ np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) + centre
        target = np.array([[0, 0], [WIDTH, 0], [WIDTH, HEIGHT], [0, HEIGHT]], np.float32)
        yield cv2.getPerspectiveTransform(corners.astype(np.float32), target)


def true_words(wall: Scene, view: np.ndarray) -> Entry:
    """The wall's words in a frame, as far as it shows them; too small ones, and mostly hidden ones, are don't-care."""
    quads = cv2.perspectiveTransform(wall.quads.reshape(1, -1, 2).astype(np.float64), view).reshape(-1, 4, 2)
    shares = visible_shares(quads, (HEIGHT, WIDTH))
    seen = shares > 0.02
    ignored = (shares < 0.5) | (min_area_rectangles(quads).sizes.min(1) < LEAST_HEIGHT)
    texts: Sequence[str] = [DONT_CARE if mark else text for mark, text in zip(ignored, wall.words, strict=True)]
    kept = [text for text, visible in zip(texts, seen, strict=True) if visible]
    return Entry("", visible_parts(quads[seen], (HEIGHT, WIDTH)), ignored[seen], kept)


if __name__ == "__main__":
    run_script(main)
