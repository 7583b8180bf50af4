"""Pictures in, words out with an exported network; PyTorch is not needed."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from utils.base_detector import BaseDetector, rejection_threshold
from utils.data.augmentation import NetworkInput, WholeFrame, pad
from utils.decode import NMS_THRESHOLD, Thresholds
from utils.deploy.engines import DEFAULT_ENGINE, EngineSettings, open_engine
from utils.deploy.file_info import ExportedInfo, read_info
from utils.errors import UserError
from utils.maps import Prediction


@dataclass(frozen=True)
class FixedFrame(WholeFrame):
    """The whole frame, aspect ratio kept, as large as fits into a fixed size, and padded to it."""

    size: tuple[int, int] = (736, 1312)
    """Height and width."""

    def padded_size(self, height: int, width: int) -> tuple[int, int]:
        """See `WholeFrame.padded_size`."""
        return self.size

    def shrinkage(self, height: int, width: int) -> float:
        """See `WholeFrame.shrinkage`."""
        return max(height / self.size[0], width / self.size[1])


class ExportedDetector(BaseDetector):
    """The detector of an exported file.

    short_side, score_threshold: None for the file's own. nms_threshold: see `utils.decode.Thresholds`. engine: what
    runs the file. Frames are rejected only after `use_rejector`. Raises `UserError`.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        short_side: int | None = None,
        score_threshold: float | None = None,
        nms_threshold: float = NMS_THRESHOLD,
        engine: EngineSettings = DEFAULT_ENGINE,
    ):
        self.path = path = Path(path)
        self.info = info = read_info(path)
        score = info.score_threshold if score_threshold is None else score_threshold
        super().__init__(input_transform(path, info, short_side), Thresholds(score, nms_threshold))
        self.engine = open_engine(path, info, engine)
        self.runs_on = f"CPU, {self.engine.name}, {info.precision}"
        self._tables = normalisation_tables(info)

    def use_rejector(self, below: float | None = None) -> None:
        """Reject frames whose probability of text is lower than `below`; None: the threshold of the file's rejector.

        Raises `UserError` if the file has no rejector and `below` is above 0.
        """
        self.reject_below = rejection_threshold(self.path, self.info.reject_below, below)

    def predict(self, inputs: Sequence[NetworkInput]) -> Prediction:
        """See `BaseDetector.predict`."""
        return self.run(self.prepare(inputs))

    def prepare(self, inputs: Sequence[NetworkInput]) -> np.ndarray:
        """The normalised batch (N, 3, H, W) float32; smaller inputs are padded to the size of the largest."""
        height, width = np.max([each.image.shape[:2] for each in inputs], axis=0)
        images = np.empty((len(inputs), 3, height, width), np.float32)
        for planes, each in zip(images, inputs, strict=True):
            channels = cv2.split(pad(each.image, height, width))
            for plane, channel, table in zip(planes, channels, self._tables, strict=True):
                cv2.LUT(channel, table, plane)
        return images

    def run(self, images: np.ndarray) -> Prediction:
        """The maps of normalised pictures (N, 3, H, W) float32; those of a fixed size are run one by one."""
        if self.info.size is None or len(images) == 1:
            return self._without_rejected(self.engine.run(images, self.reject_below))
        # An engine may reuse the memory of its outputs in its next run.
        alone = [
            [np.array(maps) for maps in self.engine.run(images[number : number + 1], self.reject_below)]
            for number in range(len(images))
        ]
        return self._without_rejected([np.concatenate(maps) for maps in zip(*alone, strict=True)])

    def _without_rejected(self, found: list[Any]) -> Prediction:
        """The maps of an engine's output, without text in rejected pictures, which are counted."""
        confidence, distances, angle, *text = found
        if text and (rejected := text[0] < np.float32(self.reject_below)).any():
            self.rejected += int(rejected.sum())
            confidence = np.where(rejected[:, None, None, None], np.float32(-np.inf), confidence)
        maps: list[Any] = [confidence, distances, angle]
        return Prediction(*maps)


def input_transform(path: Path, info: ExportedInfo, short_side: int | None) -> WholeFrame:
    """How pictures become inputs. Raises `UserError` for a short side that a file of fixed size cannot have."""
    if info.size is None:
        return WholeFrame(short_side or info.short_side)
    if short_side not in (None, min(info.size), info.short_side):
        raise UserError(
            f"--short-side {short_side}: {path} has the fixed size {info.size[0]}x{info.size[1]}; "
            "leave the option out, or export the checkpoint without --size"
        )
    return FixedFrame(min(info.size), info.size)


def normalisation_tables(info: ExportedInfo) -> np.ndarray:
    """(3, 256) float32: the normalised value of each pixel value, by channel; the numbers of `utils.maps.normalise`."""
    mean, std = (np.array(values, np.float32)[:, None] * np.float32(255) for values in (info.mean, info.std))
    return (np.arange(256, dtype=np.float32) - mean) / std
