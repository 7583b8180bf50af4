"""How long each stage takes for a frame, from its file to its words."""

import itertools
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from utils.base_detector import BaseDetector, words_in_frames
from utils.data.images import read_image


class Timing(NamedTuple):
    """Medians over batches, in milliseconds per frame, and the resulting throughput."""

    read: float
    """File to pixels."""
    resize: float
    """Resizing and padding to the network's input size."""
    network: float
    """Transfer to the device, normalisation and the network."""
    decoding: float
    """Thresholds, merging, NMS, conversion to the frame's pixels."""
    images_per_second: float
    batch_size: int

    def describe(self) -> str:
        stages = ", ".join(f"{name} {value:.1f}" for name, value in zip(self._fields[:4], self[:4], strict=True))
        return f"{stages} ms per frame; {self.images_per_second:.1f} images/s at batch size {self.batch_size}"


def time_stages(
    detector: BaseDetector, paths: Sequence[Path], batch_size: int, *, batches: int = 15, seconds: float = 10
) -> Timing:
    """Times of a detector's stages on these pictures, repeated as often as needed, in this process.

    The first two batches are a warm-up. Measuring ends after `batches` more, or after `seconds` if five are complete.
    """
    endless = itertools.cycle(paths)
    stages: list[list[float]] = []
    start = time.perf_counter()
    while len(stages) < batches + 2 and (len(stages) < 7 or time.perf_counter() - start < seconds):
        clock = [time.perf_counter()]
        images = [read_image(path, detector.reading) for path in itertools.islice(endless, batch_size)]
        clock.append(time.perf_counter())
        inputs = [detector.transform(image) for image in images]
        clock.append(time.perf_counter())
        prediction = detector.predict(inputs)
        detector.synchronise()
        clock.append(time.perf_counter())
        words_in_frames(prediction, inputs, detector.thresholds)
        clock.append(time.perf_counter())
        stages.append([1000 * (end - begin) / batch_size for begin, end in itertools.pairwise(clock)])
    warm = stages[2:]
    read, resize, network, decoding = (statistics.median(values) for values in zip(*warm, strict=True))
    return Timing(read, resize, network, decoding, 1000 / statistics.median(map(sum, warm)), batch_size)
