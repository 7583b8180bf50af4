"""Annotation files -> image names and word quads, checked once, in flat arrays.

Flat arrays, unlike lists of arrays, are shared with DataLoader workers without being copied page by page. SynthText's
`gt.mat` is read by `utils.data.annotation_index`.
"""

import os
from array import array
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from utils.data.folder_contents import ANNOTATION_SUFFIXES, note_text_files, note_unused_files
from utils.data.formats import txt
from utils.data.formats.entries import DONT_CARE, Malformed
from utils.data.formats.folder import natural_order
from utils.data.image_types import DEFAULT_READING, ReadOptions
from utils.data.images import IMAGE_SUFFIXES, image_problem
from utils.data.problems import Problems
from utils.errors import UserError
from utils.geometry import self_crossing, signed_areas, sort_around_centre
from utils.runtime.files import write_file

MIN_AREA = 1.0
"""Square pixels; a quad with less area is left out."""


class TextLayout(NamedTuple):
    """Folder names of images and of their text files, each (for training, for tests)."""

    images: tuple[str, str]
    texts: tuple[str, str]
    prefix: str
    """A text file's name is this, then the image's name."""


SAMPLE_LAYOUT = TextLayout(
    ("train_images1", "test_images1"), ("sample_train_annotation_txt", "sample_test_annotation_txt"), ""
)
ICDAR2015_LAYOUT = TextLayout(
    ("ch4_training_images", "ch4_test_images"),
    ("ch4_training_localization_transcription_gt", "Challenge4_Test_Task1_GT"),
    "gt_",
)
TEXT_LAYOUTS = SAMPLE_LAYOUT, ICDAR2015_LAYOUT


class Words(NamedTuple):
    """The words of one image, M of them."""

    quads: np.ndarray
    """(M, 4, 2) float32 corners (x, y) in pixels, clockwise."""
    ignored: np.ndarray
    """(M,) bool: don't-care (`###`)."""


class Names(Sequence[str]):
    """A sequence of strings in one array of UTF-8 bytes: about 50 bytes per image name, and shared like an array.

    offsets: (N + 1,) where each string starts. data: (bytes,) uint8.
    """

    def __init__(self, offsets: np.ndarray, data: np.ndarray):
        self.offsets, self.data = offsets, data

    @classmethod
    def pack(cls, strings: Iterable[str]) -> "Names":
        """The strings' bytes, one after the other."""
        offsets, data = array("q", [0]), bytearray()
        for string in strings:
            data += string.encode("utf-8", errors="surrogatepass")  # a file's name may be no UTF-8
            offsets.append(len(data))
        return cls(np.frombuffer(offsets, np.int64), np.frombuffer(data, np.uint8))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> str:  # type: ignore[override]  # slices are not supported
        if not -len(self) <= index < len(self):
            raise IndexError(f"name {index} of {len(self)}")
        index = index % len(self)
        return self.data[self.offsets[index] : self.offsets[index + 1]].tobytes().decode("utf-8", "surrogatepass")


class Annotations:
    """N images of one folder and their words.

    root: the folder. names: image paths relative to it. words: of each image; they are checked here. problems: counts
    what is repaired or left out.

    Attributes: `quads` (total, 4, 2) float32 and `ignored` (total,) bool of all images' words, and `offsets` (N + 1,),
    where each image's words start.
    """

    _emptied = np.zeros(0, int)
    """Positions of the images that are `EMPTIED`: they must not pass for images without words."""

    source = ""
    """The format of the annotation, and by what it was recognised."""

    def __init__(self, root: Path, names: Iterable[str], words: list[Words], problems: Problems):
        self.root, self.names, self.problems = Path(root), Names.pack(map(str, names)), problems
        offsets = np.cumsum([0, *(len(each.quads) for each in words)])
        quads = np.concatenate([np.zeros((0, 4, 2)), *(each.quads for each in words)])
        ignored = np.concatenate([np.zeros(0, bool), *(each.ignored for each in words)])
        self.quads, self.ignored, self.offsets = check_words(quads, ignored, offsets, self.names, problems)
        self._emptied = np.flatnonzero(emptied(offsets, self.offsets))

    def __len__(self) -> int:
        return len(self.names)

    def path(self, index: int) -> Path:
        """The image file."""
        return self.root / self.names[index]

    def words(self, index: int) -> Words:
        """The image's words, in the file's pixels."""
        span = slice(self.offsets[index], self.offsets[index + 1])
        return Words(self.quads[span], self.ignored[span])

    def usable(
        self,
        indices: np.ndarray,
        reading: ReadOptions = DEFAULT_READING,
        at_most: int = 20_000,
        sample: int = 1_000,
    ) -> np.ndarray:
        """Those of the images whose files are complete, judged by their first and last bytes. Raises `UserError`.

        Of more than `at_most` images only `sample`, evenly spread, are checked; the loader leaves out and counts
        unreadable ones among the others.
        """
        indices = np.asarray(indices)
        if (found := np.isin(indices, self._emptied)).any():
            self.problems.add(EMPTIED, str(self.path(indices[found][0])), int(found.sum()))
            indices = indices[~found]
        count = len(indices) if len(indices) <= at_most else sample
        checked = np.unique(np.linspace(0, len(indices) - 1, count).astype(int))
        broken = []
        for position in checked:
            path = self.path(indices[position])
            if problem := image_problem(path, reading):
                broken.append(position)
                self.problems.add("images unreadable, left out", f"{path}: {problem}")
        if len(broken) == len(checked):
            first = f", e.g.\n{self.problems}" if broken else ""
            raise UserError(f"{self.root}: no usable image among {len(indices)} in the annotation{first}")
        return np.delete(indices, broken)


EMPTIED = "images without a single valid word, left out"
"""A kind of problem: all words that the annotation gives are invalid."""


def emptied(given: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """(N,) bool, from the offsets (N + 1,) of all words and of the valid ones: images with words, but no valid one."""
    return (np.diff(given) > 0) & (np.diff(valid) == 0)


def check_words(
    quads: np.ndarray, ignored: np.ndarray, offsets: np.ndarray, names: Sequence[str], problems: Problems
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Quads, ignored and offsets as in `Annotations`, corner orders repaired and invalid quads left out.

    names: of the images that the offsets belong to, for the examples in problems.
    """

    def note(kind: str, found: np.ndarray) -> None:
        if found.any():
            image = names[int(np.searchsorted(offsets, np.argmax(found), "right")) - 1]
            problems.add(kind, image, int(found.sum()))

    quads = quads.astype(np.float64)
    finite = (np.abs(quads) < 1e6).all((1, 2))  # also false for nan
    note("words with corners that are no numbers, left out", ~finite)
    quads[~finite] = 0
    crossing = self_crossing(quads)
    note("words with crossing sides, corners put in order", crossing)
    quads[crossing] = sort_around_centre(quads[crossing])
    areas = signed_areas(quads)
    anticlockwise = areas <= -MIN_AREA
    note("words with corners anticlockwise, turned round", anticlockwise)
    quads[anticlockwise] = quads[anticlockwise][:, [0, 3, 2, 1]]
    no_area = finite & (np.abs(areas) < MIN_AREA)
    note("words without area, left out", no_area)
    kept = finite & ~no_area
    offsets = np.concatenate([[0], np.cumsum(kept)])[offsets]
    return quads[kept].astype(np.float32), ignored[kept].astype(bool), offsets


def inside_image(words: Words, height: int, width: int) -> np.ndarray:
    """(M,) bool: words whose bounding box overlaps an image of that size."""
    return ((words.quads.max(1) > 0) & (words.quads.min(1) < (width, height))).all(1)


def read_text_files(images: Path, texts: Path, prefix: str = "") -> Annotations:
    """A folder of images and one of `<prefix><image name>.txt` files (or without the prefix, or with `gt_`).

    A word a line, in one of the forms of `utils.data.formats.text_lines`. An image without a file is left out and
    counted, as is one none of whose lines can be read.
    """
    for folder in (images, texts):
        if not folder.is_dir():
            raise UserError(f"{folder}: there is no such folder; docs/data.md shows the layouts")
    problems, names, words = Problems(), [], []
    images_of: dict[Path, list[Path]] = {}
    for image in list_images(images):
        name = image.relative_to(images)
        text = text_file_of(name, texts, prefix)
        if text is None:
            missing = texts / name.parent / f"{prefix}{name.stem}.txt"
            problems.add("images without annotation, left out", f"{image}: there is no {missing}")
            continue
        images_of.setdefault(text, []).append(image)
        try:
            entry, lines = txt.read_words(text, name.as_posix(), problems)
        except Malformed as error:
            raise UserError(f"{text}: {error}; repair it or remove its image") from None
        if lines and not len(entry.quads):
            problems.add("images whose annotation has no readable line, left out", str(text))
            continue
        names.append(entry.name)
        words.append(Words(entry.quads, entry.ignored))
    note_unused_files(list_files(images), IMAGE_SUFFIXES | ANNOTATION_SUFFIXES, problems)
    note_text_files(texts, images_of, problems)
    if not names:
        raise UserError(f"{images}: no image with a readable .txt in {texts}; see docs/data.md{problems.first()}")
    return Annotations(images, names, words, problems)


def text_file_of(name: Path, texts: Path, prefix: str) -> Path | None:
    """The annotation file of an image (path relative to the images' folder); None if there is none."""
    for start in dict.fromkeys((prefix, "", "gt_")):
        for suffix in (".txt", ".TXT"):
            if (text := texts / name.parent / f"{start}{name.stem}{suffix}").is_file():
                return text
    return None


def write_words(path: Path, words: Words, texts: list[str] | None = None) -> None:
    """Write the words to a `.txt` file that `read_text_files` reads, with integer coordinates as in ICDAR's files.

    texts: the transcriptions; None: "word", or `###` for don't-care words.
    """
    texts = texts or [DONT_CARE if ignored else "word" for ignored in words.ignored]
    corners = np.rint(words.quads).astype(int).reshape(-1, 8)
    lines = [",".join([*map(str, row), text]) for row, text in zip(corners, texts, strict=True)]
    write_file(path, "".join(f"{line}\n" for line in lines))


def list_files(folder: Path) -> list[Path]:
    """All files in the folder and its sub-folders."""
    return [Path(parent, name) for parent, _, names in os.walk(folder, followlinks=True) for name in names]


def list_images(folder: Path) -> list[Path]:
    """The image files in the folder and its sub-folders, in natural order: img_2 before img_10."""
    images = [path for path in list_files(folder) if path.suffix.lower() in IMAGE_SUFFIXES]
    return sorted(images, key=lambda path: natural_order(str(path.relative_to(folder))))
