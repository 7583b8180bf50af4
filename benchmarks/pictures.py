"""The README's pictures: detections and score map on rendered frames.

    python3 -m benchmarks.pictures --pretrain-model CKPT --test-folder-sample demo/data/frames --short-side 192

Writes docs/detections.jpg (words as in test_sample.py's report) and docs/score_map.jpg.
"""

from pathlib import Path

import cv2
import numpy as np

from datasets import SampleDataset
from utils.data.augmentation import WholeFrame
from utils.data.images import read_image, write_image
from utils.detector import load_detector
from utils.errors import UserError, run_script
from utils.evaluation.drawing import draw_detections, draw_score_map
from utils.maps import STRIDE
from utils.options.parser import Parser, whole_number

ZOOM = 2


def main() -> None:
    parser = Parser(__doc__)
    parser.add_argument("--pretrain-model", required=True, metavar="CKPT")
    parser.add_argument("--test-folder-sample", required=True, metavar="DIR")
    parser.add_argument("--short-side", type=whole_number(1), default=280, metavar="PX")
    parser.add_argument("--frames", type=whole_number(0), nargs="+", default=[0, 10, 20], metavar="N")
    parser.add_argument("--output-dir", type=Path, default=Path("docs"), metavar="DIR")
    args = parser.parse_args()
    dataset = SampleDataset(args.test_folder_sample, train=False, transform=WholeFrame(args.short_side))
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


def score_map(detector, image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Probabilities of text, enlarged to the picture's size (height, width)."""
    network_input = detector.transform(image)
    scores = detector.predict([network_input]).confidence[0, 0].sigmoid().cpu().numpy()
    height, width = (side // STRIDE for side in network_input.size)
    return cv2.resize(scores[:height, :width], size[::-1], interpolation=cv2.INTER_LINEAR)


if __name__ == "__main__":
    run_script(main)
