"""Make the manual's pictures: detections and score maps on rendered frames.

    python3 -m benchmarks.pictures --pretrain-model CKPT --test-folder-sample demo/data/frames --short-side 192

Writes docs/detections.jpg (words as in test_sample.py's report) and docs/score_map.jpg.
"""

from pathlib import Path

import cv2
import numpy as np

from datasets import open_dataset
from utils.data.augmentation import WholeFrame
from utils.data.images import read_image, write_image
from utils.detector import Detector, load_detector
from utils.errors import UserError, run_script
from utils.evaluation.drawing import draw_detections, draw_score_map
from utils.maps import STRIDE
from utils.options.parser import Parser, option, whole_number

ZOOM = 2
"""Enlargement of the frames in the pictures."""


def build_parser() -> Parser:
    parser = Parser(__doc__)
    option(parser, "--pretrain-model CKPT", str, None, "the detector's checkpoint", required=True)
    option(parser, "--test-folder-sample DIR", str, None, "annotated frames", required=True)
    option(parser, "--short-side PX", whole_number(1), 280, "short side of the network's input")
    option(parser, "--frames N", whole_number(0), [0, 10, 20], "indices of test frames", nargs="+")
    option(parser, "--output-dir DIR", Path, Path("docs"), "folder for the pictures")
    return parser


def main() -> None:
    args = build_parser().parse_args()
    dataset = open_dataset(None, args.test_folder_sample, False, transform=WholeFrame(args.short_side))
    if max(args.frames) >= len(dataset):
        raise UserError(f"--frames {max(args.frames)}: {args.test_folder_sample} has {len(dataset)} test frames")
    detector = load_detector(args.pretrain_model, short_side=args.short_side)
    boxes, heat = [], []
    for number in args.frames:
        info = dataset.frame(number).info
        image = read_image(info.path)
        large = cv2.resize(image, None, fx=ZOOM, fy=ZOOM, interpolation=cv2.INTER_CUBIC)
        quads, _ = detector.detect(image)
        words = info.words._replace(quads=info.words.quads * ZOOM)
        boxes.append(draw_detections(large, words, quads * ZOOM))
        heat.append(draw_score_map(large, score_map(detector, image, large.shape[:2])))
    args.output_dir.mkdir(parents=True, exist_ok=True)
    for name, pictures in (("detections", boxes), ("score_map", heat)):
        write_image(args.output_dir / f"{name}.jpg", np.concatenate(pictures, 1))
    print(f"{args.output_dir}: detections.jpg, score_map.jpg")


def score_map(detector: Detector, image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Probabilities of text, enlarged to `size` (height, width)."""
    network_input = detector.transform(image)
    scores = detector.predict([network_input]).confidence[0, 0].sigmoid().cpu().numpy()
    height, width = (side // STRIDE for side in network_input.size)
    return cv2.resize(scores[:height, :width], size[::-1], interpolation=cv2.INTER_LINEAR)


if __name__ == "__main__":
    run_script(main)
