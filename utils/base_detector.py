"""Pictures in, words out, whatever runs the network: PyTorch (`utils.detector`) or an exported file (`utils.deploy`).

Nothing here needs PyTorch. Validation, the timing of stages and TensorBoard use `words_in_frames`, too, to get from a
prediction to words.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from utils.data.augmentation import NetworkInput, WholeFrame, invert, transform_points
from utils.data.image_types import DEFAULT_READING, ReadOptions
from utils.data.images import read_image
from utils.decode import Thresholds, decode
from utils.errors import UserError
from utils.geometry import signed_areas
from utils.maps import Prediction, hide_padding


class FrameGeometry(Protocol):
    """How a network input was made from a frame, as `NetworkInput` and `utils.data.frames.FrameInfo` have it."""

    @property
    def matrix(self) -> np.ndarray:
        """(2, 3) affine map from the frame's pixels to the input's pixels."""

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the frame in the input, without padding."""


class BaseDetector(ABC):
    """The chain from pictures to words around a network.

    transform: makes the network's inputs. thresholds: decide which words the maps contain.
    """

    runs_on: str
    """What runs the network, in words, for the header of a run."""

    reject_below = 0.0
    """Probability of text below which a frame is rejected: it has no words, and most of the network is not computed."""
    rejected = 0
    """Frames rejected so far."""

    def __init__(self, transform: WholeFrame, thresholds: Thresholds):
        self.transform = transform
        self.thresholds = thresholds
        """They may be replaced."""
        self.reading = DEFAULT_READING
        """How picture files are read; it may be replaced."""

    @abstractmethod
    def predict(self, inputs: Sequence[NetworkInput]) -> Prediction:
        """The network's maps for a batch; smaller inputs are padded to the size of the largest."""

    def detect(self, image: np.ndarray | str | Path) -> tuple[np.ndarray, np.ndarray]:
        """Word quads (K, 4, 2) float32 and scores (K,) float32 in 0 to 1, best first.

        The quads are in the image's pixels, clockwise from top-left, within the image.

        image: a picture file, or uint8 RGB (H, W, 3) or grey (H, W). Raises `UnreadableImage` for a file that is no
        picture, `UserError` for an array of another type or shape.
        """
        return self.detect_batch([image])[0]

    def detect_batch(self, images: Sequence[np.ndarray | str | Path]) -> list[tuple[np.ndarray, np.ndarray]]:
        """As `detect`, for several images of any sizes in one forward pass."""
        inputs = [self.transform(as_rgb(image, self.reading)) for image in images]
        return words_in_frames(self.predict(inputs), inputs, self.thresholds)

    def synchronise(self) -> None:  # noqa: B027 - only a GPU needs it
        """Wait until the device is done, so that times can be measured."""


def rejection_threshold(path: str | Path, own: float | None, asked: float | None) -> float:
    """The probability below which frames are rejected.

    own: the threshold of the file's rejector, None if it has none. asked: for another one. Raises `UserError`.
    """
    if own is None and asked:
        raise UserError(f"--reject-below {asked}: {path} has no rejector; train one with train_sample.py --rejector")
    return (own if asked is None else asked) or 0.0


def as_rgb(image: np.ndarray | str | Path, reading: ReadOptions) -> np.ndarray:
    """(H, W, 3) uint8 RGB of a picture file, or of a uint8 array (H, W, 3) or (H, W)."""
    if isinstance(image, str | Path):
        return read_image(image, reading)
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
    """For each frame of a batch: word quads (K, 4, 2) float32 in the frame's pixels and scores (K,), best first.

    Text in the padding of an input is ignored, and the quads lie within their frame. frames: how each input of the
    batch was made.
    """
    found = decode(hide_padding(prediction, [frame.size for frame in frames]), *thresholds)
    return [to_frame(*words, frame) for words, frame in zip(found, frames, strict=True)]


def to_frame(quads: np.ndarray, scores: np.ndarray, frame: FrameGeometry) -> tuple[np.ndarray, np.ndarray]:
    """Quads (K, 4, 2) in input pixels -> float32 in the frame's pixels, 0 to width - 1 and 0 to height - 1.

    Corners outside the frame are moved to its border; words that lie entirely outside are removed, with their scores.
    """
    to_pixels = invert(frame.matrix)
    height, width = frame.size
    last = np.rint(transform_points(np.array([width - 0.5, height - 0.5]), to_pixels) - 0.5)
    quads = np.clip(transform_points(quads, to_pixels), 0, last)
    inside = signed_areas(quads) > 0
    return quads[inside].astype(np.float32), scores[inside]
