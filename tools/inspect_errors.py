"""Where a network's errors come from: each missed word and each false alarm, sorted by its cause.

    python3 -m tools.inspect_errors CKPT SAMPLE --short-side 736 [--score-threshold P] [--out OUT]

CKPT: a checkpoint or an exported file. SAMPLE: a sample dataset; its test frames are used (--train: its training
frames). Prints precision, recall and hmean as test_sample.py does, and how many errors have each cause;
docs/evaluation.md defines the causes. Writes to --out a sheet of crops for each cause, with words (blue; missed ones
orange), detections (green; false alarms red) and don't-care words (grey dashes), and errors.jsonl, an error a line.
"""

import utils.runtime.openmp  # noqa: F401  # isort: skip  (PyTorch reads its setting when it is loaded)
import json
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from tqdm import tqdm

from datasets import open_dataset
from utils.base_detector import BaseDetector, words_in_frames
from utils.data.augmentation import NetworkInput
from utils.data.frames import FrameDataset, FrameInfo
from utils.data.images import UnreadableImage, write_image
from utils.data.problems import Problems
from utils.deploy.detectors import load_detector
from utils.errors import UserError, printable, run_script
from utils.evaluation.drawing import draw_detections, shrunk
from utils.evaluation.error_causes import Error, find_errors, format_errors
from utils.evaluation.protocol import Evaluation, evaluate
from utils.evaluation.result_files import whole_pixels
from utils.options.machine import add_backend_option, add_cache_option, add_machine_options
from utils.options.parser import Parser, flag, nonempty_path, nonempty_text, option
from utils.options.reading import add_reading_options, read_options
from utils.options.sample import add_format_option, sample_folders
from utils.options.view import add_detection_options
from utils.runtime.files import refuse_overlap, write_file
from utils.runtime.results import ResultFolder

LINES = "errors.jsonl"
TILE = 160, 240
"""Height and width of a crop on a sheet, in pixels."""
COLUMNS, MOST = 6, 48
"""Crops in a row of a sheet, and on a sheet."""
AROUND = 1.5
"""A crop shows the word and so many of its heights around it."""

_LONGEST_WARPED = 16_000
"""Longest side of what a crop is made from: OpenCV's warpAffine takes at most 32,766 pixels."""


class FrameErrors(NamedTuple):
    """A frame with its words, its detections and its errors."""

    info: FrameInfo
    quads: np.ndarray
    """(K, 4, 2) in whole pixels."""
    scores: np.ndarray
    errors: list[Error]

    def quad_of(self, error: Error) -> np.ndarray:
        """(4, 2): the missed word, or the false alarm."""
        return self.info.words.quads[error.number] if error.missed else self.quads[error.number]


def inspect(detector: BaseDetector, dataset: FrameDataset, problems: Problems) -> tuple[list[FrameErrors], Evaluation]:
    """The errors in all frames, and the evaluation; unreadable frames are added to the problems.

    dataset: its frames are inputs of the detector, made by its transform.
    """
    frames = []
    for index in tqdm(range(len(dataset)), desc="frames", unit="img", leave=False, disable=None):
        try:
            image, info, _ = dataset.frame(index)
        except UnreadableImage as error:
            problems.add("images unreadable, left out", str(error))
            continue
        whole = NetworkInput(image, info.matrix, info.size)
        ((quads, scores),) = words_in_frames(detector.predict([whole]), [whole], detector.thresholds)
        quads = whole_pixels(quads)
        scale = float(np.linalg.norm(info.matrix[:, 0]))
        frames.append(FrameErrors(info, quads, scores, find_errors(info.words, quads, scale)))
    if not frames:
        raise UserError(f"none of the images could be read:\n{problems}")
    return frames, evaluate([frame.info.words for frame in frames], [frame.quads for frame in frames])


def write_lines(path: Path, frames: list[FrameErrors]) -> None:
    """Write each error as a line of JSON."""
    lines = []
    for frame in frames:
        for error in frame.errors:
            score = {} if error.missed else {"score": round(float(frame.scores[error.number]), 4)}
            quad = np.round(frame.quad_of(error).astype(float), 2).tolist()
            kind = "missed word" if error.missed else "false alarm"
            record = {"image": str(frame.info.path), "kind": kind, "cause": error.cause, "iou": round(error.iou, 4)}
            lines.append(json.dumps(record | score | {"quad": quad}))
    write_file(path, "".join(f"{line}\n" for line in lines))


def write_sheets(results: ResultFolder, frames: list[FrameErrors]) -> int:
    """Write a sheet of crops for each cause; returns how many."""
    crops: dict[str, list[np.ndarray]] = {}
    for frame in tqdm(frames, desc="sheets", unit="img", leave=False, disable=None):
        names = [_sheet_of(error) for error in frame.errors]
        if all(len(crops.get(name, ())) >= MOST for name in names):
            continue
        picture = draw_detections(frame.info.picture(), frame.info.words, frame.quads)
        for name, error in zip(names, frame.errors, strict=True):
            if len(crops.setdefault(name, [])) < MOST:
                crops[name].append(crop(picture, frame.quad_of(error)))
    for name, tiles in crops.items():
        blank = np.full_like(tiles[0], 255)
        tiles += [blank] * (-len(tiles) % COLUMNS)
        rows = [np.hstack(tiles[start : start + COLUMNS]) for start in range(0, len(tiles), COLUMNS)]
        write_image(results.claim(name), np.vstack(rows))
    return len(crops)


def _sheet_of(error: Error) -> str:
    kind = "missed" if error.missed else "false"
    return f"{kind}_{error.cause.replace(' ', '_').replace(chr(39), '')}.png"


def crop(picture: np.ndarray, quad: np.ndarray) -> np.ndarray:
    """(*TILE, 3): the part of the (H, W, 3) picture around the quad, black beyond the picture."""
    low, high = quad.min(0), quad.max(0)
    size = high - low + 2 * AROUND * max(float((high - low).min()), 8)
    size = np.maximum(size, size[::-1] * [TILE[1] / TILE[0], TILE[0] / TILE[1]])
    scale = TILE[1] / size[0]
    centre = (low + high) / 2
    start = np.clip(np.floor(centre - size / 2), 0, np.array(picture.shape[1::-1]) - 1).astype(int)
    end = np.maximum(np.ceil(centre + size / 2).astype(int), start) + 1
    part = picture[start[1] : end[1], start[0] : end[0]]
    small = shrunk(part, _LONGEST_WARPED)
    shrinkage = np.array(part.shape[1::-1]) / small.shape[1::-1]
    offset = np.array(TILE[::-1]) / 2 - scale * (centre - start)
    matrix = np.column_stack([np.diag(scale * shrinkage), offset])
    tile = cv2.warpAffine(small, matrix, TILE[::-1], flags=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    return cv2.copyMakeBorder(tile[2:-2, 2:-2], 2, 2, 2, 2, cv2.BORDER_CONSTANT, value=(255, 255, 255))


def build_parser() -> Parser:
    parser = Parser(__doc__)
    text = "the checkpoint, original or pruned, or a file that export.py wrote"
    parser.add_argument("checkpoint", type=nonempty_text, metavar="CKPT", help=text)
    parser.add_argument("folder", type=Path, metavar="SAMPLE", help="annotated frames, see docs/data.md")
    flag(parser, "--train", "inspect the training frames, not the test frames")
    option(parser, "--out DIR", nonempty_path, None, f"folder for the sheets and {LINES}")
    add_detection_options(parser.add_argument_group("detection"), "--short-side", of_file=True)
    reading = parser.add_argument_group("pictures")
    add_format_option(reading)
    add_cache_option(reading)
    add_reading_options(reading)
    machine = parser.add_argument_group("machine")
    add_backend_option(machine)
    add_machine_options(machine, workers=False)
    return parser


def main() -> None:
    args = build_parser().parse_args()
    refuse_overlap([args.out], [args.folder], inside=False)
    names = "ngpus", "threads", "backend", "short_side", "score_threshold", "nms_threshold", "word_threshold"
    detector = load_detector(args.checkpoint, **{name: getattr(args, name) for name in names})
    detector.reading = read_options(args)
    more = {"transform": detector.transform, "cache_dir": args.cache_dir, **detector.reading._asdict()}
    dataset = open_dataset(None, sample_folders(args.folder, args.format), args.train, **more)
    refuse_overlap([args.out], dataset.folders)
    results = ResultFolder(args.out, "inspect_errors") if args.out else None
    problems = Problems.together([dataset.problems])
    print(f"device  {detector.runs_on}")
    frames, evaluation = inspect(detector, dataset, problems)
    if problems:
        print(f"left out or repaired:\n{problems}")
    shares = (f"{name} {getattr(evaluation, name):.4f}" for name in ("precision", "recall", "hmean"))
    print(f"{len(frames)} images, {'  '.join(shares)}\n")
    print(format_errors(error for frame in frames for error in frame.errors))
    if results:
        results.forget()
        write_lines(results.claim(LINES), frames)
        print(f"\n{printable(args.out)}: {write_sheets(results, frames)} sheets, {LINES}")


if __name__ == "__main__":
    run_script(main)
