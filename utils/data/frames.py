"""One image as a dataset gives it to the network, and what links it to its file."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch.utils.data import Dataset

from utils.data.annotations import Words
from utils.data.augmentation import transform_points
from utils.data.image_types import DEFAULT_READING, ReadOptions
from utils.data.images import read_image
from utils.data.problems import Problems
from utils.data.targets import encode
from utils.maps import Target


class FrameInfo(NamedTuple):
    """Where a network input comes from."""

    path: Path
    """The image file."""
    words: Words
    """The words in the file's pixels."""
    matrix: np.ndarray
    """(2, 3) affine map: the file's pixels -> the input's pixels."""
    size: tuple[int, int]
    """(height, width) of the picture inside the input; the rest, right and below, is padding."""
    dataset_index: int
    """Index of the image in the dataset that was asked for it."""
    reading: ReadOptions = DEFAULT_READING
    """How the file was read."""

    def picture(self) -> np.ndarray:
        """The file's picture, (H, W, 3) uint8 RGB. Raises `utils.data.images.UnreadableImage`."""
        return read_image(self.path, self.reading)

    def words_in_input(self) -> Words:
        """The words in the input's pixels."""
        return Words(transform_points(self.words.quads, self.matrix), self.words.ignored)


class Frame(NamedTuple):
    """A network input, not normalised yet."""

    image: np.ndarray
    """(H, W, 3) uint8 RGB: a training crop, or a whole frame padded to multiples of 32."""
    info: FrameInfo
    problems: Problems
    """What was left out while the image was read."""

    def target(self) -> Target:
        """The target maps of this image alone, each (C, H / 4, W / 4) float32."""
        height, width = self.image.shape[:2]
        return encode(self.info.words_in_input(), height, width, self.info.size)


class WordCounts(NamedTuple):
    """How many words a dataset has."""

    readable: int
    """Words that count."""
    ignored: int
    """Don't-care words."""


class FrameDataset(Dataset, ABC):
    """What `utils.data.loading` needs of a dataset; `dataset[index]` is (image, target)."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def frame(self, index: int, seed: int | None = None) -> Frame:
        """The image at `index`. Raises `utils.data.images.UnreadableImage`.

        seed: of the augmentation; None draws one from torch's global random state.
        """

    @abstractmethod
    def draw_epoch(self, rng: np.random.Generator) -> np.ndarray:
        """Indices of the images of one epoch, in random order."""

    @abstractmethod
    def count_words(self) -> WordCounts:
        """The words of all images, as the annotation gives them."""

    @property
    @abstractmethod
    def problems(self) -> Problems:
        """What was repaired or left out when the dataset was opened."""

    def __getitem__(self, index: int) -> tuple[np.ndarray, Target]:
        frame = self.frame(index)
        return frame.image, frame.target()
