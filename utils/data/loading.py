"""Datasets -> batches: which images an epoch draws, and the loader that reads them."""

from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from utils.data.augmentation import pad
from utils.data.frames import Frame, FrameDataset, FrameInfo
from utils.data.images import UnreadableImage
from utils.data.problems import Problems
from utils.data.targets import encode_batch
from utils.errors import UserError
from utils.maps import Target


class EpochSampler(Sampler):
    """Pairs (index, augmentation seed) of one epoch; `set_epoch` draws another epoch's.

    The same seed and epoch give the same pairs. The augmentation seed belongs to the position in the epoch, so
    batches do not depend on the number of workers.

    rank, world: with several processes, each process gets every `world`-th pair. even: all processes get equally many
    pairs (up to `world` - 1 images of the draw are left out).
    """

    def __init__(
        self,
        dataset: FrameDataset,
        seed: int = 0,
        *,
        rank: int = 0,
        world: int = 1,
        even: bool = True,
    ):
        if not 0 <= rank < world:
            raise UserError(f"rank {rank} of {world} processes; expected 0 to {world - 1}")
        self.dataset, self.seed, self.rank, self.world, self.even = dataset, seed, rank, world, even
        self.set_epoch(0)

    def set_epoch(self, epoch: int, start: int = 0) -> None:
        """Draw the epoch's pairs. start: skip so many of this rank's pairs (a resumed run has seen them)."""
        rng = np.random.default_rng([self.seed, epoch])
        indices = self.dataset.draw_epoch(rng)
        seeds = rng.integers(2**62, size=len(indices))
        if self.even and len(indices) < self.world:
            raise UserError(f"an epoch of {len(indices)} images for {self.world} processes; draw more")
        count = len(indices) // self.world * self.world if self.even else len(indices)
        part = slice(self.rank, count, self.world)
        self.draw = list(zip(indices[part].tolist(), seeds[part].tolist(), strict=True))[start:]

    def __len__(self) -> int:
        return len(self.draw)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(self.draw)


class Batch(NamedTuple):
    """Frames padded to one size; unreadable frames are missing."""

    images: torch.Tensor
    """(N, H, W, 3) uint8 RGB."""
    target: Target
    frames: list[FrameInfo]
    """Of each of the N images."""
    problems: Problems
    """What was left out while the frames were read."""

    def pin_memory(self) -> "Batch":
        target = Target(*(values.pin_memory() for values in self.target))
        return self._replace(images=self.images.pin_memory(), target=target)


def collate(items: list[Frame | Problems]) -> Batch | Problems:
    """Frames of any sizes -> one batch, padded right and below; the training mask is 0 in the padding.

    items: frames, and the problems of those that could not be read. Without any frame the problems are returned.
    """
    frames = [item for item in items if isinstance(item, Frame)]
    problems = Problems.together(item.problems if isinstance(item, Frame) else item for item in items)
    if not frames:
        return problems
    height, width = (max(sides) for sides in zip(*(frame.image.shape[:2] for frame in frames), strict=True))
    images = torch.from_numpy(np.stack([pad(frame.image, height, width) for frame in frames]))
    infos = [frame.info for frame in frames]
    words = [info.words_in_input() for info in infos]
    target = encode_batch(words, height, width, [info.size for info in infos])
    return Batch(images, target, infos, problems)


def make_loader(dataset: FrameDataset, sampler: Sampler, batch_size: int, workers: int) -> DataLoader:
    """A loader of `Batch` in the sampler's order, with `workers` processes that live as long as the loader.

    A batch none of whose frames can be read arrives as `Problems`.
    """
    return DataLoader(
        _DrawnFrames(dataset),
        batch_size,
        sampler=sampler,
        num_workers=workers,
        collate_fn=collate,
        pin_memory=torch.cuda.is_available(),
        persistent_workers=workers > 0,
        worker_init_fn=_use_one_thread,
    )


class _DrawnFrames(Dataset):
    """A dataset's frames, indexed by the sampler's (index, seed); unreadable ones become problems."""

    def __init__(self, dataset: FrameDataset):
        self.dataset = dataset

    def __getitem__(self, drawn: tuple[int, int]) -> Frame | Problems:
        try:
            return self.dataset.frame(*drawn)
        except UnreadableImage as error:
            problems = Problems()
            problems.add("images unreadable, left out", str(error))
            return problems


def _use_one_thread(_worker: int) -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
