"""Datasets -> batches: which images an epoch draws, and the loader that reads them."""

import sys
from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler, get_worker_info

from utils.data.augmentation import pad
from utils.data.frames import Frame, FrameDataset, FrameInfo
from utils.data.images import UnreadableImage
from utils.data.problems import Problems
from utils.data.targets import encode_batch
from utils.errors import UserError
from utils.maps import Target
from utils.runtime.shared_memory import describe_shortage, measure_shared_memory, needed_bytes
from utils.runtime.workers import WorkerGuard, WorkerLost, begin_worker

_PREFETCHED = 2
"""Batches that each worker prepares."""


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

    @property
    def tensors(self) -> tuple[torch.Tensor, ...]:
        return self.images, *self.target

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

    Batches are in pinned memory if this process computes on a GPU already. A batch none of whose frames can be read
    arrives as `Problems`. Iterating raises `WorkerLost` if a worker process ends, or if the shared memory is too small
    for the batches.
    """
    return _GuardedLoader(
        _DrawnFrames(dataset),
        batch_size,
        sampler=sampler,
        num_workers=workers,
        collate_fn=_collate_shared if workers else collate,
        pin_memory=torch.cuda.is_initialized(),
        persistent_workers=workers > 0,
        prefetch_factor=_PREFETCHED if workers else None,
        worker_init_fn=_begin_worker,
        multiprocessing_context="fork" if workers and sys.platform == "linux" else None,  # Python 3.14: forkserver
        generator=torch.Generator(),  # else the first of its iterators, or each, draws from the global one
    )


class _Undeliverable(NamedTuple):
    """What a worker sends instead of a batch for which there is no shared memory."""

    reason: str


class _GuardedLoader(DataLoader):
    """A loader that never waits for a batch which a worker cannot deliver."""

    _guard: WorkerGuard | None = None

    def __iter__(self) -> Iterator[Batch | Problems]:  # type: ignore[override]
        if not self.num_workers:
            yield from super().__iter__()
            return
        if self._guard is None:
            self._guard = WorkerGuard()
            with self._guard.starting():
                batches = super().__iter__()
        else:
            batches = self._guard.wait(super().__iter__)
        while (batch := self._guard.wait(lambda: next(batches, None))) is not None:
            if isinstance(batch, _Undeliverable):
                self._guard.end()
                raise WorkerLost(batch.reason)
            yield batch


def _collate_shared(items: list[Frame | Problems]) -> Batch | Problems | _Undeliverable:
    """`collate` in a worker: the batch's tensors are in shared memory, if there is enough of it."""
    batch, worker = collate(items), get_worker_info()
    if isinstance(batch, Problems) or worker is None:
        return batch
    size = sum(tensor.nbytes for tensor in batch.tensors)
    plan = size, worker.num_workers, _PREFETCHED
    memory = measure_shared_memory()
    if memory and memory.size < needed_bytes(*plan):
        return _Undeliverable(describe_shortage(*plan))
    try:
        for tensor in batch.tensors:
            tensor.share_memory_()
    except RuntimeError:  # so PyTorch reports that there is no space
        return _Undeliverable(describe_shortage(*plan))
    return batch


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


def _begin_worker(_worker: int) -> None:
    begin_worker()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
