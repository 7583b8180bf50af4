"""Datasets of annotated images: SynthText, frames of one's own videos, both merged.

    dataset = open_dataset("SynthText", "my_frames", train=True)
    image, target = dataset[0]        # (H, W, 3) uint8 RGB, utils.maps.Target
    loader = make_loader(dataset, EpochSampler(dataset, seed=0), batch_size=8, workers=2)
    for batch in loader: ...          # Batch

`open_dataset` is the one place where folders become datasets: a dataset that is added there trains, validates, tests,
prunes and is inspected. `dataset.frame(index)` gives an image with its path, words and geometry.
"""

import math
from pathlib import Path

import numpy as np
import torch

from utils.data.annotation_index import read_synthtext
from utils.data.annotations import Annotations, Words, inside_image
from utils.data.augmentation import TrainTransform, Transform, WholeFrame
from utils.data.frames import Frame, FrameDataset, FrameInfo
from utils.data.images import read_picture
from utils.data.layouts import is_synthtext, open_sample
from utils.data.loading import Batch, EpochSampler, collate, make_loader
from utils.data.problems import Problems
from utils.errors import UserError

__all__ = [
    "Batch",
    "EpochSampler",
    "MergedDataset",
    "SampleDataset",
    "SynthText",
    "TextDataset",
    "collate",
    "make_loader",
    "open_dataset",
    "open_folder",
]

TRAIN_SHARE = 0.8
"""SynthText's list is split here: the first images are for training, the rest for validation."""

SYNTHTEXT_DRAW = {True: 15_000, False: 3_500}
"""Images of SynthText that an epoch draws, for training (True) and for validation."""


class TextDataset(FrameDataset):
    """Images with word quads; `dataset[index]` is (image, target).

    annotations: images and words. train: selects the default transform. indices: positions in `annotations` of the
    images that belong to the dataset; None: all. transform: None is `TrainTransform()` or, for validation,
    `WholeFrame()`. draw: images that an epoch draws; None: all.
    """

    def __init__(
        self,
        annotations: Annotations,
        train: bool = True,
        *,
        indices: np.ndarray | None = None,
        transform: Transform | None = None,
        draw: int | None = None,
    ):
        if draw is not None and draw < 1:
            raise UserError(f"images in an epoch: {draw}; expected 1 or more")
        self.annotations = annotations
        self.indices = annotations.usable(np.arange(len(annotations)) if indices is None else indices)
        self.transform: Transform = transform or (TrainTransform() if train else WholeFrame())
        self.draw = draw

    def __len__(self) -> int:
        return len(self.indices)

    def frame(self, index: int, seed: int | None = None) -> Frame:
        if not -len(self) <= index < len(self):
            raise IndexError(f"image {index} of {len(self)}")
        position = self.indices[index]
        path, words, problems = self.annotations.path(position), self.annotations.words(position), Problems()
        picture = read_picture(path, self.transform.shrinkage)
        inside = inside_image(words, *picture.size)
        if not inside.all():
            problems.add("words outside their image, left out", str(path), int((~inside).sum()))
            words = Words(words.quads[inside], words.ignored[inside])
        rng = np.random.default_rng(int(torch.randint(2**62, ())) if seed is None else seed)
        readable = words.quads[~words.ignored]
        image, matrix, size = self.transform(picture.image, rng, picture.size, picture.reduced, readable)
        return Frame(image, FrameInfo(path, words, matrix, size, index % len(self)), problems)

    def draw_epoch(self, rng: np.random.Generator) -> np.ndarray:
        """Indices of the images of one epoch, in random order, without repetition."""
        order = rng.permutation(len(self))
        return order if self.draw is None else order[: self.draw]

    @property
    def problems(self) -> Problems:
        return self.annotations.problems


class SynthText(TextDataset):
    """SynthText's `gt.mat` and images: the first 80 % of its list for training, the rest for validation.

    root: the folder of gt.mat, or the file. draw: images that an epoch draws; None: 15,000 (training) or 3,500.
    cache_dir: folder of the annotation index, see `utils.data.annotation_index.read_synthtext`. options:
    `TextDataset`'s.
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
    """Annotated frames in one of the layouts of `utils.data.layouts`, detected from the folder names.

    train: the training frames; False: the test frames. ratio: how many times an epoch draws each frame; 2.5 draws all
    frames twice and a random half of them once more. cache_dir: as `SynthText`'s. options: `TextDataset`'s.
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
        """Indices of the images of one epoch: `ratio` times each, in random order within each round."""
        frames = max(round(self.ratio * len(self)), 1)
        rounds = [super(SampleDataset, self).draw_epoch(rng) for _ in range(math.ceil(frames / len(self)))]
        return np.concatenate(rounds)[:frames]


class MergedDataset(FrameDataset):
    """SynthText's images, then a sample dataset's.

    draw: as `SynthText`'s. sample_ratio: `SampleDataset`'s ratio. options: go to both.
    """

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
        self.synthetic = SynthText(root_syn, train, draw=draw, **options)
        self.sample = SampleDataset(root_sample, train, ratio=sample_ratio, **options)

    def __len__(self) -> int:
        return len(self.synthetic) + len(self.sample)

    def frame(self, index: int, seed: int | None = None) -> Frame:
        index = index + len(self) if index < 0 else index
        if index < len(self.synthetic):
            return self.synthetic.frame(index, seed)
        image, info, problems = self.sample.frame(index - len(self.synthetic), seed)
        return Frame(image, info._replace(dataset_index=index), problems)

    def draw_epoch(self, rng: np.random.Generator) -> np.ndarray:
        drawn = [self.synthetic.draw_epoch(rng), len(self.synthetic) + self.sample.draw_epoch(rng)]
        return rng.permutation(np.concatenate(drawn))

    @property
    def problems(self) -> Problems:
        return Problems.together([self.synthetic.problems, self.sample.problems])


def open_dataset(
    synthtext: str | Path | None,
    sample: str | Path | None,
    train: bool,
    *,
    draw: int | None = None,
    sample_ratio: float = 1.0,
    **options,
) -> TextDataset | MergedDataset:
    """The dataset of one or both folders, as the command lines name them.

    synthtext: SynthText's folder, or None. sample: a sample dataset's folder, or None. train: the training images;
    False: SynthText's validation images and the sample's test frames. draw: images of SynthText that an epoch draws.
    sample_ratio: how many times an epoch draws each sample frame. options: `transform` (such as
    `utils.data.augmentation.WholeFrame(short_side)`) and `cache_dir`, for both. Raises `UserError`.
    """
    if synthtext and sample:
        return MergedDataset(synthtext, sample, train, draw=draw, sample_ratio=sample_ratio, **options)
    if synthtext:
        return SynthText(synthtext, train, draw=draw, **options)
    if sample:
        return SampleDataset(sample, train, ratio=sample_ratio, **options)
    raise UserError("no dataset: give the folder of SynthText, of a sample dataset, or both")


def open_folder(folder: str | Path, train: bool, **options) -> TextDataset:
    """The dataset of one folder: SynthText if it holds a gt.mat, else a sample dataset. options: `open_dataset`'s."""
    synthtext, sample = (folder, None) if is_synthtext(folder) else (None, folder)
    dataset = open_dataset(synthtext, sample, train, **options)
    assert isinstance(dataset, TextDataset)  # two folders would be merged
    return dataset
