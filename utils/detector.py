"""Pictures in, words out: what lies around the network when it is used.

    from detect import load_detector

    detector = load_detector("best.pt", short_side=280)
    quads, scores = detector.detect("street.jpg")     # or (H, W, 3) uint8 RGB

`test_sample.py` and validation look at frames through the same functions.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import nn

from utils.checkpoint import load_model
from utils.data.augmentation import NetworkInput, WholeFrame, invert, pad, transform_points
from utils.data.images import read_image
from utils.decode import NMS_THRESHOLD, SCORE_THRESHOLD, Thresholds, decode
from utils.errors import UserError
from utils.geometry import signed_areas
from utils.maps import Prediction, hide_padding, normalise
from utils.network.inference import for_inference


class FrameGeometry(Protocol):
    """How an image of a batch was made from a frame, as in `NetworkInput` and in the frames of a `Batch`."""

    @property
    def matrix(self) -> np.ndarray:
        """(2, 3) affine map from the frame's pixels to the network's input."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the frame in the network's input, without padding."""


class Detector:
    """A trained network ready for use: batch norms folded into its convolutions, no gradients.

    model: as `load_model` gives it; it is left as it is. device: where it runs.
    """

    def __init__(
        self,
        model: nn.Module,
        short_side: int = WholeFrame.short_side,
        score_threshold: float = SCORE_THRESHOLD,
        nms_threshold: float = NMS_THRESHOLD,
        device: torch.device | str = "cpu",
    ):
        self.view = WholeFrame(short_side)
        self.thresholds = Thresholds(score_threshold, nms_threshold)
        self.device = torch.device(device)
        self.model = for_inference(model, self.device)

    def detect(self, image: np.ndarray | str | Path) -> tuple[np.ndarray, np.ndarray]:
        """Word quads (K, 4, 2) float32 in the image's pixels, clockwise from top-left, within the image, and
        scores (K,) in 0 to 1, best first.

        image: a picture's file, or uint8 RGB (H, W, 3) or grey (H, W). Raises `UnreadableImage` for a file
        that is no picture, `UserError` for an array that is none.
        """
        return self.detect_batch([image])[0]

    def detect_batch(self, images: Sequence[np.ndarray | str | Path]) -> list[tuple[np.ndarray, np.ndarray]]:
        """`detect` of several images in one pass; they may differ in size."""
        views = [self.view(check_picture(image)) for image in images]
        return words_in_frames(self.predict(views), views, self.thresholds)

    @torch.inference_mode()
    def predict(self, views: Sequence[NetworkInput]) -> Prediction:
        """The network's maps; the smaller ones of a batch are padded to the largest."""
        height, width = np.max([view.image.shape[:2] for view in views], axis=0)
        images = torch.from_numpy(np.stack([pad(view.image, height, width) for view in views]))
        return self.model(normalise(images.to(self.device)).contiguous(memory_format=torch.channels_last))


def load_detector(path: str | Path, **options) -> Detector:
    """The detector of a checkpoint, original or pruned. options: those of `Detector`, by keyword."""
    return Detector(load_model(path)[0], **options)


def check_picture(image: np.ndarray | str | Path) -> np.ndarray:
    """(H, W, 3) uint8 RGB of a file or array."""
    if isinstance(image, str | Path):
        return read_image(image)
    image = np.asarray(image)
    if image.ndim == 2:
        image = np.stack([image] * 3, 2)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise UserError(
            f"an image of type {image.dtype} and shape {image.shape}; expected uint8 (height, width, 3) in RGB "
            "or (height, width)"
        )
    return image


def words_in_frames(
    prediction: Prediction, frames: Sequence[FrameGeometry], thresholds: Thresholds
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Word quads (K, 4, 2) float32 in the pixels of each frame, within the frame, and scores (K,), best first.

    prediction: the network's maps for a batch. frames: how each image of the batch was made from its frame. Text in
    the padding of an image is ignored.
    """
    found = decode(hide_padding(prediction, [frame.size for frame in frames]), *thresholds)
    return [to_frame(*words, frame) for words, frame in zip(found, frames, strict=True)]


def to_frame(quads: np.ndarray, scores: np.ndarray, view: FrameGeometry) -> tuple[np.ndarray, np.ndarray]:
    """Words in the network's input -> float32 in the frame's pixels, 0 to width - 1 and 0 to height - 1.

    Corners beyond the frame move to its border; words that are wholly outside go.
    """
    back = invert(view.matrix)
    height, width = view.size
    last = np.rint(transform_points(np.array([width - 0.5, height - 0.5]), back) - 0.5)
    quads = np.clip(transform_points(quads, back), 0, last)
    inside = signed_areas(quads) > 0
    return quads[inside].astype(np.float32), scores[inside]
