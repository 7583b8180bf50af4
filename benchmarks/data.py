"""Training samples per second of one worker, compared with a lower bound of the time and with a slow pipeline.

    python3 -m benchmarks.data [--frames 48] [--seconds 8]

Renders frames of SynthText's size (600x450) and of a video's (1280x720) and takes crops of 280x280 from them. Floor:
`cv2.imread` and one `warpAffine`. Slow: `benchmarks.slow`. Ours: batches of crops and targets, ready for the network.
All run in one process on one thread, in turns; medians of twelve rounds. In a worker: ours in a worker process, the
transfer of the batches included.
"""

import tempfile
import time
from collections.abc import Callable
from itertools import cycle
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader

from benchmarks.slow import slow_sample
from datasets import EpochSampler, TextDataset, make_loader
from tools.demo_data import draw_scene
from utils.data.annotations import Annotations, Words
from utils.data.augmentation import TrainTransform
from utils.data.images import write_image
from utils.data.problems import Problems
from utils.errors import run_script
from utils.options.parser import Parser, option, whole_number

BATCH = 16
SIZES = (450, 600), (720, 1280)
WORDS = 9
"""SynthText's mean is 8.5 an image."""


def render(folder: Path, height: int, width: int, count: int) -> Annotations:
    """Write `count` rendered frames and return their annotations."""
    names, words = [], []
    for number in range(count):
        rng = np.random.default_rng([height, number])
        picture, drawn = draw_scene(rng, height, width, WORDS, (0.035 * height, 0.12 * height))
        names.append(f"{height}_{number}.jpg")
        write_image(folder / names[-1], np.clip(picture, 0, 255).astype(np.uint8))
        quads = np.array([word.quad for word in drawn]).reshape(-1, 4, 2)
        words.append(Words(quads, np.zeros(len(quads), bool)))
    return Annotations(folder, names, words, Problems())


def floor_sample(path: Path, transform: TrainTransform) -> np.ndarray:
    image = cv2.imread(str(path))
    assert image is not None, path
    factor = transform.short_side / min(image.shape[:2])
    matrix = np.array([[factor, 0.05, -10], [-0.05, factor, -10]])
    return cv2.warpAffine(image, matrix, (transform.crop, transform.crop))


def samples_per_second(sample: Callable[[int], object], count: int, seconds: float) -> float:
    start, done = time.perf_counter(), 0
    for number in cycle(range(count)):
        sample(number)
        done += 1
        if time.perf_counter() - start > seconds:
            break
    return done / (time.perf_counter() - start)


def loader_samples_per_second(loader: DataLoader, sampler: EpochSampler, count: int) -> float:
    """Over complete epochs, `count` images or more, after one epoch that is not counted."""
    sum(1 for _ in loader)
    images = 0
    start = time.perf_counter()
    while images < count:
        sampler.set_epoch(images + 1)
        images += sum(len(batch.images) for batch in loader)
    return images / (time.perf_counter() - start)


def measure(annotations: Annotations, seconds: float, rounds: int = 12) -> dict[str, np.ndarray]:
    """Samples per second of each pipeline in each round."""
    dataset, transform, rng = TextDataset(annotations), TrainTransform(), np.random.default_rng(0)
    paths = [annotations.path(number) for number in range(len(annotations))]
    ways = {
        "floor": lambda number: floor_sample(paths[number], transform),
        "slow": lambda number: slow_sample(paths[number], annotations.words(number), transform, rng),
    }
    samplers = {"ours": EpochSampler(dataset), "ours, in a worker": EpochSampler(dataset)}
    loaders = {
        name: make_loader(dataset, sampler, BATCH, workers) for workers, (name, sampler) in enumerate(samplers.items())
    }
    found: dict[str, list[float]] = {name: [] for name in (*ways, *loaders)}
    for _ in range(rounds):
        for name, way in ways.items():
            found[name].append(samples_per_second(way, len(paths), seconds / rounds))
        for name, loader in loaders.items():
            count = round(250 * seconds / rounds)
            found[name].append(loader_samples_per_second(loader, samplers[name], count))
    return {name: np.array(values) for name, values in found.items()}


def build_parser() -> Parser:
    parser = Parser(__doc__)
    option(parser, "--frames N", whole_number(2), 48, "frames of each size")
    option(parser, "--seconds S", whole_number(1), 8, "seconds for each pipeline and size")
    return parser


def main() -> None:
    args = build_parser().parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    print("| frames | floor/s | ours/s | ours/s, in a worker | slow/s | time of ours / floor | ours / slow |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for height, width in SIZES:
            found = measure(render(Path(folder), height, width, args.frames), args.seconds)
            names = "floor", "ours", "ours, in a worker", "slow"
            speeds = " | ".join(f"{np.median(found[name]):.0f}" for name in names)
            to_floor, to_slow = (np.median(found[name] / found[other]) for name, other in (names[:2], names[1::2]))
            ratios = f"{to_floor:.2f} | {to_slow:.1f}"
            print(f"| {width}x{height} | {speeds} | {ratios} |")


if __name__ == "__main__":
    run_script(main)
