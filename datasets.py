"""Annotated images -> training samples: SynthText, frames of one's own videos, both together.

    dataset = MergedDataset("SynthText", "my_frames", train=True)
    image, target = dataset[0]        # (H, W, 3) uint8 RGB, utils.maps.Target
    loader = make_loader(dataset, EpochSampler(dataset, seed=0), batch_size=8, workers=2)
    for batch in loader: ...          # Batch

Each dataset draws its own epoch: SynthText a random part, a sample dataset all its frames.
"""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from utils.data.annotation_index import read_synthtext
from utils.data.annotations import Annotations, Words, inside_image
from utils.data.augmentation import TrainTransform, WholeFrame, pad, transform_points
from utils.data.images import UnreadableImage, read_picture
from utils.data.layouts import open_sample
from utils.data.problems import Problems
from utils.data.targets import encode_batch
from utils.errors import UserError
from utils.maps import STRIDE, Target

TRAIN_SHARE = 0.8
"""SynthText's list is split here: what comes first is for training, the rest for validation."""

SYNTHTEXT_DRAW = {True: 15_000, False: 3_500}
"""Images of SynthText that an epoch draws, for training and for validation."""


class Frame(NamedTuple):
    """One image as the network sees it, and the way back to the file that it comes from."""

    image: np.ndarray
    """(H, W, 3) uint8 RGB: in validation padded right and below to multiples of 32."""
    target: Target
    path: Path
    words: Words
    """The words in the file's own pixels."""
    matrix: np.ndarray
    """(2, 3): the file's pixels -> the input's."""
    size: tuple[int, int]
    """Height and width of the picture inside `image`."""
    problems: Problems
    index: int = -1
    """Its place in the dataset that a loader reads; -1 outside of one."""


def with_targets(frames: list[Frame]) -> list[Frame]:
    """The frames with their targets; those of one size are encoded together, in a fraction of the time."""
    groups = {}
    for number, frame in enumerate(frames):
        groups.setdefault((frame.image.shape[:2], frame.size), []).append(number)
    frames = list(frames)
    for (shape, size), numbers in groups.items():
        words = [
            Words(transform_points(frame.words.quads, frame.matrix), frame.words.ignored)
            for frame in (frames[number] for number in numbers)
        ]
        targets = encode_batch(words, *shape, frame=size)
        for number, *maps in zip(numbers, *targets, strict=True):
            frames[number] = frames[number]._replace(target=Target(*maps))
    return frames


class TextDataset(Dataset):
    """Images with word quads.

    annotations, indices: the images of it that belong to the dataset. transform: by default the training
    crop or the whole frame, see `utils.data.augmentation`. draw: images in an epoch; None for all.
    """

    def __init__(
        self,
        annotations: Annotations,
        train: bool = True,
        *,
        indices: np.ndarray | None = None,
        transform: Callable | None = None,
        draw: int | None = None,
    ):
        if draw is not None and draw < 1:
            raise UserError(f"images in an epoch: {draw}; expected 1 or more")
        self.annotations = annotations
        self.indices = annotations.usable(np.arange(len(annotations)) if indices is None else indices)
        self.transform = transform or (TrainTransform() if train else WholeFrame())
        self.draw = draw

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> tuple[np.ndarray, Target]:
        """(image, target). Raises `UnreadableImage`."""
        return self.frame(index)[:2]

    def frame(self, index: int, seed: int | None = None) -> Frame:
        """The image in full. seed: of the augmentation; by default from torch's random state."""
        return with_targets([self.view(index, seed)])[0]

    def view(self, index: int, seed: int | None = None) -> Frame:
        """The same still without its target."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"image {index} of {len(self)}")
        place = self.indices[index]
        path, words, problems = self.annotations.path(place), self.annotations.words(place), Problems()
        picture = read_picture(path, self.transform.shrinkage)
        inside = inside_image(words, *picture.size)
        if not inside.all():
            problems.add("words outside their image, left out", str(path), int((~inside).sum()))
            words = Words(words.quads[inside], words.ignored[inside])
        rng = np.random.default_rng(int(torch.randint(2**62, ())) if seed is None else seed)
        readable = words.quads[~words.ignored]
        image, matrix, size = self.transform(picture.image, rng, picture.size, picture.reduced, readable)
        return Frame(image, None, path, words, matrix, size, problems)

    def draw_epoch(self, rng: np.random.Generator) -> np.ndarray:
        """Indices of an epoch's images, in random order, none twice."""
        order = rng.permutation(len(self))
        return order if self.draw is None else order[: self.draw]

    @property
    def problems(self) -> Problems:
        return self.annotations.problems


class SynthText(TextDataset):
    """SynthText's `gt.mat` and images: the first 80 % of its list for training, the rest for validation.

    draw: images in an epoch, by default about 15,000 (training) or 3,500. cache_dir: folder of the
    annotation index, see `utils.data.annotation_index.read_synthtext`.
    """

    def __init__(
        self,
        root: str | Path,
        train: bool = True,
        *,
        draw: int | None = None,
        cache_dir: str | Path | None = None,
        **options,
    ):
        annotations = read_synthtext(root, cache_dir)
        split = int(len(annotations) * TRAIN_SHARE)
        indices = np.arange(len(annotations))[slice(split) if train else slice(split, None)]
        if not len(indices):
            part = "training (the first 80 %)" if train else "validation (the last 20 %)"
            raise UserError(f"{root}: {len(annotations)} images leave none for {part}; give it more")
        super().__init__(annotations, train, indices=indices, draw=draw or SYNTHTEXT_DRAW[train], **options)


class SampleDataset(TextDataset):
    """Annotated frames in one of three layouts, told by the folders that are there (see the README).

    train: the training frames; else the test frames. ratio: how many times an epoch draws each frame; 2.5 is
    twice all and once more a random half. cache_dir: as `SynthText`'s.
    """

    def __init__(
        self,
        root: str | Path,
        train: bool = True,
        *,
        ratio: float = 1.0,
        cache_dir: str | Path | None = None,
        **options,
    ):
        if not 0 < ratio < math.inf:
            raise UserError(f"sample ratio: {ratio}; expected a number above 0")
        self.ratio = ratio
        super().__init__(open_sample(root, train, cache_dir), train, **options)

    def draw_epoch(self, rng: np.random.Generator) -> np.ndarray:
        """Indices of an epoch's images, in random order."""
        frames = max(round(self.ratio * len(self)), 1)
        rounds = [super(SampleDataset, self).draw_epoch(rng) for _ in range(math.ceil(frames / len(self)))]
        return np.concatenate(rounds)[:frames]


class MergedDataset(Dataset):
    """SynthText and a sample dataset as one; options go to both, `draw` to SynthText, `sample_ratio` to the sample."""

    def __init__(
        self,
        root_syn: str | Path,
        root_sample: str | Path,
        train: bool = True,
        *,
        draw: int | None = None,
        sample_ratio: float = 1.0,
        **options,
    ):
        synthetic = SynthText(root_syn, train, draw=draw, **options)
        self.parts = [synthetic, SampleDataset(root_sample, train, ratio=sample_ratio, **options)]

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def __getitem__(self, index: int) -> tuple[np.ndarray, Target]:
        return self.frame(index)[:2]

    def frame(self, index: int, seed: int | None = None) -> Frame:
        return with_targets([self.view(index, seed)])[0]

    def view(self, index: int, seed: int | None = None) -> Frame:
        synthetic, sample = self.parts
        index = index + len(self) if index < 0 else index
        return synthetic.view(index, seed) if index < len(synthetic) else sample.view(index - len(synthetic), seed)

    def draw_epoch(self, rng: np.random.Generator) -> np.ndarray:
        synthetic, sample = self.parts
        return rng.permutation(np.r_[synthetic.draw_epoch(rng), len(synthetic) + sample.draw_epoch(rng)])

    @property
    def problems(self) -> Problems:
        problems = Problems()
        for part in self.parts:
            problems.update(part.problems)
        return problems


def open_dataset(
    synthtext: str | Path | None,
    sample: str | Path | None,
    train: bool,
    *,
    draw: int | None = None,
    sample_ratio: float = 1.0,
    **options,
) -> SynthText | SampleDataset | MergedDataset:
    """The dataset of one or both folders; `draw` is SynthText's, `sample_ratio` the sample's."""
    if synthtext and sample:
        return MergedDataset(synthtext, sample, train, draw=draw, sample_ratio=sample_ratio, **options)
    if synthtext:
        return SynthText(synthtext, train, draw=draw, **options)
    return SampleDataset(sample, train, ratio=sample_ratio, **options)


class EpochSampler(Sampler):
    """An epoch's draw as (index, seed of its augmentation), new with each `set_epoch`, the same for a seed.

    The seeds belong to the place in the epoch, so that batches do not depend on the number of workers.

    rank, world: of several processes with the same seed each gets its own part of the draw; with `even` all as
    many images (up to `world` - 1 images of the draw go to none).
    """

    def __init__(
        self,
        dataset: TextDataset | MergedDataset,
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
        """start: how many of this rank's images were had before the run was cut off; it goes on after them."""
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
    """Frames padded to one size. images: (N, H, W, 3) uint8 RGB. Frames that could not be read are missing."""

    images: torch.Tensor
    target: Target
    frames: list[Frame]
    """Without their pixels and maps."""
    problems: Problems

    def pin_memory(self) -> "Batch":
        target = Target(*(values.pin_memory() for values in self.target))
        return self._replace(images=self.images.pin_memory(), target=target)


class _Frames(Dataset):
    """A dataset's frames for the sampler's (index, seed); those that cannot be read become a problem."""

    def __init__(self, dataset: TextDataset | MergedDataset):
        self.dataset = dataset

    def __getitems__(self, drawn: list[tuple[int, int]]) -> list[Frame | Problems]:
        """A batch's, as DataLoader asks for them."""
        frames, problems = [], Problems()
        for index, seed in drawn:
            try:
                frames.append(self.dataset.view(index, seed)._replace(index=index))
            except UnreadableImage as error:
                problems.add("images unreadable, left out", str(error))
        return [*with_targets(frames), problems]


def collate(items: list[Frame | Problems]) -> Batch | Problems:
    """Frames of any sizes -> one batch, padded right and below, the padding masked out of the target."""
    frames = [item for item in items if isinstance(item, Frame)]
    problems = Problems()
    for item in items:
        problems.update(item.problems if isinstance(item, Frame) else item)
    if not frames:
        return problems
    height, width = (max(sides) for sides in zip(*(frame.image.shape[:2] for frame in frames), strict=True))
    images = torch.from_numpy(np.stack([pad(frame.image, height, width) for frame in frames]))
    maps = []
    for values in zip(*(frame.target for frame in frames), strict=True):
        batch = values[0].new_zeros(len(frames), len(values[0]), height // STRIDE, width // STRIDE)
        for place, value in zip(batch, values, strict=True):
            place[:, : value.shape[1], : value.shape[2]] = value
        maps.append(batch)
    light = [frame._replace(image=None, target=None, problems=None) for frame in frames]
    return Batch(images, Target(*maps), light, problems)


def make_loader(dataset, sampler: Sampler, batch_size: int, workers: int) -> DataLoader:
    """Batches in the sampler's order, read ahead by `workers` processes that live as long as the loader."""
    return DataLoader(
        _Frames(dataset),
        batch_size,
        sampler=sampler,
        num_workers=workers,
        collate_fn=collate,
        pin_memory=torch.cuda.is_available(),
        persistent_workers=workers > 0,
        worker_init_fn=_one_thread,
    )


def _one_thread(_worker: int) -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
