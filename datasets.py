"""Datasets of annotated images: SynthText, frames of one's own videos, both merged.

    dataset = open_dataset("SynthText", "my_frames", train=True)
    image, target = dataset[0]        # (H, W, 3) uint8 RGB, utils.maps.Target
    loader = make_loader(dataset, EpochSampler(dataset, seed=0), batch_size=8, workers=2)
    for batch in loader: ...          # Batch

`open_dataset` is the one place where folders become datasets: a dataset that is added there trains, validates, tests,
prunes and is inspected. `dataset.frame(index)` gives an image with its path, words and geometry.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from utils.data.annotation_index import read_synthtext
from utils.data.annotations import Annotations, Words, inside_image
from utils.data.augmentation import TrainTransform, Transform, WholeFrame
from utils.data.frames import Frame, FrameDataset, FrameInfo, WordCounts
from utils.data.image_types import ReadOptions
from utils.data.images import read_picture
from utils.data.layouts import SampleFolder, is_synthtext, open_sample
from utils.data.loading import Batch, EpochSampler, collate, make_loader
from utils.data.problems import Problems
from utils.data.synthtext_split import split_synthtext
from utils.errors import UserError

__all__ = [
    "Batch",
    "EpochSampler",
    "MergedDataset",
    "SampleDataset",
    "SampleFolder",
    "SynthText",
    "TextDataset",
    "collate",
    "make_loader",
    "open_dataset",
    "open_folder",
    "require_words",
]

SYNTHTEXT_DRAW = {True: 15_000, False: 3_500}
"""Images of SynthText that an epoch draws, for training (True) and for validation."""


class TextDataset(FrameDataset):
    """Images with word quads; `dataset[index]` is (image, target).

    annotations: images and words. train: selects the default transform. indices: positions in `annotations` of the
    images that belong to the dataset; None: all. transform: None is `TrainTransform()` or, for validation,
    `WholeFrame()`. draw: images that an epoch draws; None: all. reading: the fields of
    `utils.data.image_types.ReadOptions` (`max_pixels`, `background`), by keyword.
    """

    def __init__(
        self,
        annotations: Annotations,
        train: bool = True,
        *,
        indices: np.ndarray | None = None,
        transform: Transform | None = None,
        draw: int | None = None,
        **reading,
    ):
        if draw is not None and draw < 1:
            raise UserError(f"images in an epoch: {draw}; expected 1 or more")
        self.annotations, self.reading = annotations, ReadOptions(**reading)
        chosen = np.arange(len(annotations)) if indices is None else indices
        self.indices = annotations.usable(chosen, self.reading)
        self.transform: Transform = transform or (TrainTransform() if train else WholeFrame())
        self.draw = draw

    def __len__(self) -> int:
        return len(self.indices)

    def frame(self, index: int, seed: int | None = None) -> Frame:
        if not -len(self) <= index < len(self):
            raise IndexError(f"image {index} of {len(self)}")
        position = self.indices[index]
        path, words, problems = self.annotations.path(position), self.annotations.words(position), Problems()
        picture = read_picture(path, self.transform.shrinkage, self.reading)
        inside = inside_image(words, *picture.size)
        if not inside.all():
            problems.add("words outside their image, left out", str(path), int((~inside).sum()))
            words = Words(words.quads[inside], words.ignored[inside])
        rng = np.random.default_rng(int(torch.randint(2**62, ())) if seed is None else seed)
        readable = words.quads[~words.ignored]
        image, matrix, size = self.transform(picture.image, rng, picture.size, picture.reduced, readable)
        return Frame(image, FrameInfo(path, words, matrix, size, index % len(self), self.reading), problems)

    def draw_epoch(self, rng: np.random.Generator) -> np.ndarray:
        """Indices of the images of one epoch, in random order, without repetition."""
        order = rng.permutation(len(self))
        return order if self.draw is None else order[: self.draw]

    @property
    def problems(self) -> Problems:
        return self.annotations.problems

    def count_words(self) -> WordCounts:
        """The words of all images, as the annotation gives them."""
        readable, ignored = (
            np.concatenate([[0], np.cumsum(marks)])[self.annotations.offsets]
            for marks in (~self.annotations.ignored, self.annotations.ignored)
        )
        return WordCounts(*(int(np.diff(counts)[self.indices].sum()) for counts in (readable, ignored)))

    @property
    def folders(self) -> list[Path]:
        """The folders of the images."""
        return [self.annotations.root]


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
        annotations.source = (
            "gt.mat: SynthText; the first 80 % of its images are for training, the others for validation"
        )
        indices = split_synthtext(annotations, train)
        if not len(indices):
            part = "training (the first 80 %)" if train else "validation (the last 20 %)"
            raise UserError(f"{root}: {len(annotations)} images leave none for {part}; give it more")
        super().__init__(annotations, train, indices=indices, draw=draw or SYNTHTEXT_DRAW[train], **options)


class SampleDataset(TextDataset):
    """Annotated frames in one of the formats of `utils.data.layouts`, recognised by what the folder holds.

    train: the training frames; False: the test frames. ratio: how many times an epoch draws each frame; 2.5 draws all
    frames twice and a random half of them once more. format_name: only this format. cache_dir: as `SynthText`'s.
    options: `TextDataset`'s.
    """

    def __init__(
        self,
        root: str | Path,
        train: bool = True,
        *,
        ratio: float = 1.0,
        format_name: str | None = None,
        cache_dir: str | Path | None = None,
        **options,
    ):
        if not 0 < ratio < math.inf:
            raise UserError(f"sample ratio: {ratio}; expected a number above 0")
        self.ratio = ratio
        super().__init__(open_sample(root, train, cache_dir, format_name), train, **options)

    def draw_epoch(self, rng: np.random.Generator) -> np.ndarray:
        """Indices of the images of one epoch: `ratio` times each, in random order within each round."""
        frames = max(round(self.ratio * len(self)), 1)
        rounds = [super(SampleDataset, self).draw_epoch(rng) for _ in range(math.ceil(frames / len(self)))]
        return np.concatenate(rounds)[:frames]


class MergedDataset(FrameDataset):
    """SynthText's images (if any), then those of one or several sample datasets.

    root_sample: a folder, a `SampleFolder`, or several of them. draw: as `SynthText`'s. sample_ratio: `SampleDataset`'s
    ratio of each plain folder. options: go to all parts.
    """

    def __init__(
        self,
        root_syn: str | Path | None,
        root_sample: "Sample",
        train: bool = True,
        *,
        draw: int | None = None,
        sample_ratio: float = 1.0,
        **options,
    ):
        self.parts: list[TextDataset] = [SynthText(root_syn, train, draw=draw, **options)] if root_syn else []
        for folder in sample_folders(root_sample, sample_ratio):
            name = folder.format_name
            self.parts.append(SampleDataset(folder.path, train, ratio=folder.ratio, format_name=name, **options))
        self.starts = np.cumsum([0, *map(len, self.parts)]).tolist()

    def __len__(self) -> int:
        return self.starts[-1]

    def frame(self, index: int, seed: int | None = None) -> Frame:
        if not -len(self) <= index < len(self):
            raise IndexError(f"image {index} of {len(self)}")
        index %= len(self)
        part = int(np.searchsorted(self.starts, index, "right")) - 1
        image, info, problems = self.parts[part].frame(index - self.starts[part], seed)
        return Frame(image, info._replace(dataset_index=index), problems)

    def draw_epoch(self, rng: np.random.Generator) -> np.ndarray:
        drawn = [start + part.draw_epoch(rng) for start, part in zip(self.starts, self.parts, strict=False)]
        return rng.permutation(np.concatenate(drawn))

    @property
    def problems(self) -> Problems:
        return Problems.together([part.problems for part in self.parts])

    def count_words(self) -> WordCounts:
        """The words of all images, as the annotations give them."""
        return WordCounts(*map(sum, zip(*(part.count_words() for part in self.parts), strict=True)))

    @property
    def folders(self) -> list[Path]:
        """The folders of the images of all parts."""
        return [part.annotations.root for part in self.parts]


Sample = str | Path | SampleFolder | Sequence[str | Path | SampleFolder]
"""One sample folder or several."""


def sample_folders(sample: Sample | None, ratio: float = 1.0) -> list[SampleFolder]:
    """The folders as a list; those without a ratio of their own get this one."""
    if not sample:
        return []
    several = [sample] if isinstance(sample, str | Path | SampleFolder) else sample
    return [each if isinstance(each, SampleFolder) else SampleFolder(each, ratio) for each in several]


def open_dataset(
    synthtext: str | Path | None,
    sample: Sample | None,
    train: bool,
    *,
    draw: int | None = None,
    sample_ratio: float = 1.0,
    **options,
) -> TextDataset | MergedDataset:
    """The dataset of all folders together, as the command lines name them.

    synthtext: SynthText's folder, or None. sample: the folder of a sample dataset, a `SampleFolder` (with its own ratio
    and format), several of either, or None. train: the training images; False: SynthText's validation images and the
    samples' test frames. draw: images of SynthText that an epoch draws. sample_ratio: how many times an epoch draws
    each frame of the plain folders. options: `transform` (such as `utils.data.augmentation.WholeFrame(short_side)`) and
    `cache_dir`, `max_pixels`, `background`, for all. Raises `UserError`.
    """
    folders = sample_folders(sample, sample_ratio)
    if synthtext and not folders:
        return SynthText(synthtext, train, draw=draw, **options)
    if len(folders) == 1 and not synthtext:
        (folder,) = folders
        return SampleDataset(folder.path, train, ratio=folder.ratio, format_name=folder.format_name, **options)
    if not folders:
        raise UserError("no dataset: give the folder of SynthText, of a sample dataset, or both")
    return MergedDataset(synthtext, folders, train, draw=draw, **options)


def require_words(dataset: FrameDataset, purpose: str) -> None:
    """Raise `UserError` if the dataset has no word that counts: nothing can be learned or measured then.

    purpose: what the dataset is for, such as "training".
    """
    readable, ignored = dataset.count_words()
    if not readable:
        raise UserError(
            f"{purpose} data: not a single word that counts in {len(dataset)} images ({ignored} don't-care words); "
            "check the annotations, as `python3 -m tools.inspect_data` shows them"
        )


def open_folder(folder: str | Path, train: bool, *, format_name: str | None = None, **options) -> TextDataset:
    """The dataset of one folder: SynthText if it holds a gt.mat, else a sample dataset.

    format_name: the sample dataset's, see `utils.data.layouts`. options: `open_dataset`'s.
    """
    whole = is_synthtext(folder) and format_name in (None, "gt.mat")
    sample = None if whole else SampleFolder(folder, format_name=format_name)
    dataset = open_dataset(folder if whole else None, sample, train, **options)
    assert isinstance(dataset, TextDataset)  # two folders would be merged
    return dataset
