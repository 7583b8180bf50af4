"""Where the milliseconds of a frame go, from its file to its words."""

import itertools
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from utils.data.images import read_image
from utils.detector import Detector, words_in_frames


class Timing(NamedTuple):
    """Medians over batches, in milliseconds a frame, and what the whole comes to."""

    read: float
    """From the file to its pixels."""
    resize: float
    """To the network's input size, with padding."""
    network: float
    """With the pixels' normalisation, and the way to the device."""
    decoding: float
    """Thresholds, merging, NMS, back to the frame's pixels."""
    images_per_second: float
    batch_size: int

    def describe(self) -> str:
        stages = ", ".join(f"{name} {value:.1f}" for name, value in zip(self._fields[:4], self[:4], strict=True))
        return f"{stages} ms a frame; {self.images_per_second:.1f} images/s at batch size {self.batch_size}"


def time_stages(
    detector: Detector, paths: Sequence[Path], batch_size: int, *, batches: int = 15, seconds: float = 10
) -> Timing:
    """Time a detector on these pictures, over and over, one stage after the other in this process.

    The first two batches warm up. It ends after so many batches, or seconds if five have gone by.
    """
    endless = itertools.cycle(paths)
    stages, start = [], time.perf_counter()
    while len(stages) < batches + 2 and (len(stages) < 7 or time.perf_counter() - start < seconds):
        clock = [time.perf_counter()]
        images = [read_image(path) for path in itertools.islice(endless, batch_size)]
        clock.append(time.perf_counter())
        views = [detector.view(image) for image in images]
        clock.append(time.perf_counter())
        prediction = detector.predict(views)
        if detector.device.type == "cuda":
            torch.cuda.synchronize(detector.device)
        clock.append(time.perf_counter())
        words_in_frames(prediction, views, detector.thresholds)
        clock.append(time.perf_counter())
        stages.append([1000 * (end - begin) / batch_size for begin, end in itertools.pairwise(clock)])
    warm = stages[2:]
    medians = [statistics.median(values) for values in zip(*warm, strict=True)]
    return Timing(*medians, 1000 / statistics.median(map(sum, warm)), batch_size)
