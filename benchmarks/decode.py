"""Decoding and NMS: milliseconds of `utils.decode` and of plain Python versions, side by side.

    python3 -m benchmarks.decode
    python3 -m benchmarks.decode --pretrain-model CKPT --test-folder-sample SAMPLE --short-side 192

The first table decodes target maps of words on a 736x1280 frame, with noise. With a checkpoint and frames, a second
table compares the hmean of this project's merging with that of sequential merging, on the checkpoint's maps.
"""

import statistics
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from benchmarks.plain_decode import decode_plain, decode_sequential
from datasets import open_dataset
from utils.checkpoint import load_model
from utils.data.annotations import Words
from utils.data.augmentation import WholeFrame, invert, transform_points
from utils.data.frames import FrameDataset
from utils.data.targets import encode
from utils.decode import MERGE_THRESHOLD, NMS_THRESHOLD, SCORE_THRESHOLD, decode
from utils.errors import run_script
from utils.evaluation import evaluate
from utils.maps import Prediction, Target, hide_padding, normalise
from utils.network.base import TextNetwork
from utils.options.parser import Parser, option, whole_number
from utils.runtime.tables import format_table

FRAME = 736, 1280
THRESHOLDS = SCORE_THRESHOLD, NMS_THRESHOLD


def build_parser() -> Parser:
    parser = Parser(__doc__)
    option(parser, "--pretrain-model CKPT", str, None, "checkpoint for the second table")
    option(parser, "--test-folder-sample DIR", str, None, "annotated frames for the second table")
    option(parser, "--short-side PX", whole_number(1), WholeFrame.short_side, "short side of these frames")
    return parser


def main() -> None:
    args = build_parser().parse_args()
    print(format_table(time_decoding()))
    if args.pretrain_model and args.test_folder_sample:
        network, _ = load_model(args.pretrain_model)
        transform = WholeFrame(args.short_side)
        dataset = open_dataset(None, args.test_folder_sample, False, transform=transform)
        print(f"\n{format_table(compare_merging(network, dataset))}")


def time_decoding() -> list[list[str]]:
    """A table: milliseconds of each decoder on maps with few, many and large words."""
    rows = [["positive cells", "words", "ms", "plain ms", "times faster", "sequential ms", "times faster"]]
    for count, size in ((3, (200, 40)), (28, (200, 40)), (14, (600, 100))):
        target = encode(words_in_a_grid(count, size), *FRAME)
        maps = noisy_prediction([target])
        fast = milliseconds(decode, maps, 21)
        plain, sequential = (milliseconds(each, maps, 3) for each in (decode_plain, decode_sequential))
        times = [f"{fast:.1f}", f"{plain:.0f}", f"{plain / fast:.0f}", f"{sequential:.0f}", f"{sequential / fast:.0f}"]
        cells = int((maps.confidence.sigmoid() >= SCORE_THRESHOLD).sum())
        rows.append([f"{cells:,}", str(len(decode(maps)[0][0])), *times])
    return rows


def words_in_a_grid(count: int, size: tuple[int, int], seed: int = 0) -> Words:
    """`count` words of this (width, height) in pixels, each slightly rotated."""
    width, height = size
    angles = np.random.default_rng(seed).uniform(-0.03, 0.03, count)
    across = FRAME[1] // (width + 20)
    quads = []
    for number, angle in enumerate(angles):
        corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], float)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        quads.append(corners @ turn + [(number % across) * (width + 20) + 5, number // across * (height + 4) + 8])
    return Words(np.array(quads, np.float32), np.zeros(count, bool))


def noisy_prediction(targets: list[Target], seed: int = 0, noise: float = 1.0) -> Prediction:
    """The output of an imaginary good network: the target maps with noise."""
    generator = torch.Generator().manual_seed(seed)

    def noisy(maps: torch.Tensor, deviation: float) -> torch.Tensor:
        return maps + torch.randn(maps.shape, generator=generator) * deviation * noise

    score_map, distances, angle, _ = (torch.stack(maps) for maps in zip(*targets, strict=True))
    return Prediction(noisy(score_map * 8 - 4, 0.8), noisy(distances, 2).clamp(0.1), noisy(angle, 0.02))


def milliseconds(decoder: Callable, maps: Prediction, repeats: int) -> float:
    """Median time after one run as warm-up."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        decoder(maps, *THRESHOLDS)
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times[1:])


@torch.inference_mode()
def compare_merging(network: TextNetwork, dataset: FrameDataset) -> list[list[str]]:
    """A table: precision, recall and hmean of each decoder on the maps of one network."""
    decoders = {"this suite's": decode, "plain": decode_plain}
    for threshold in (0.5, MERGE_THRESHOLD):
        decoders[f"sequential, IoU {threshold}"] = partial(decode_sequential, merge_threshold=threshold)
    words: list[Words] = []
    found: dict[str, list[np.ndarray]] = {name: [] for name in decoders}
    for index in range(len(dataset)):
        image, info, _ = dataset.frame(index)
        images = torch.from_numpy(image)[None]
        maps = hide_padding(network(normalise(images)), [info.size])
        words.append(info.words)
        for name, decoder in decoders.items():
            quads = decoder(maps, *THRESHOLDS)[0][0]
            found[name].append(np.rint(transform_points(quads, invert(info.matrix))))
    rows = [["merge", "precision", "recall", "hmean"]]
    for name, quads in found.items():
        rows.append([name, *(f"{value:.4f}" for value in evaluate(words, quads)[:3])])
    return rows


if __name__ == "__main__":
    run_script(main)
