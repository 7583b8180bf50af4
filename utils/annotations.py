"""Annotation files -> image names and word quads, checked once, kept in flat arrays.

Flat arrays (not lists of arrays) are shared with DataLoader workers without being copied page by page.
"""

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy.io

from utils.errors import UserError
from utils.geometry import bounding_boxes, self_crossing, signed_areas, sort_around_centre
from utils.images import IMAGE_SUFFIXES, image_problem
from utils.problems import Problems

DONT_CARE = "###"
MIN_AREA = 1.0
"""Square pixels; a quad with less is no word."""


class TextLayout(NamedTuple):
    """Folders of images and of their texts, each (for training, for tests)."""

    images: tuple[str, str]
    texts: tuple[str, str]
    prefix: str
    """What a text's name has before the image's."""


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
    """The words of one image."""

    quads: np.ndarray
    """(M, 4, 2) float32 corners (x, y) in pixels, clockwise."""
    ignored: np.ndarray
    """(M,) bool: don't-care (`###`)."""


class Annotations:
    """Images of one folder and their words.

    names: (N,) image paths relative to `root`. offsets: (N + 1,) where each image's words start in
    quads (total, 4, 2) float32 and ignored (total,) bool. problems: what was repaired or left out.
    """

    def __init__(self, root: Path, names, words: list[Words], problems: Problems):
        self.root = Path(root)
        self.names = np.asarray(names, dtype=np.str_)
        self.problems = problems
        self.offsets = np.cumsum([0, *(len(each.quads) for each in words)])
        quads = np.concatenate([np.zeros((0, 4, 2)), *(each.quads for each in words)])
        ignored = np.concatenate([np.zeros(0, bool), *(each.ignored for each in words)])
        quads, kept = self._check(quads)
        self.quads, self.ignored = quads[kept].astype(np.float32), ignored[kept].astype(bool)
        self.offsets = np.concatenate([[0], np.cumsum(kept)])[self.offsets]

    def __len__(self) -> int:
        return len(self.names)

    def path(self, index: int) -> Path:
        return self.root / self.names[index]

    def words(self, index: int) -> Words:
        span = slice(self.offsets[index], self.offsets[index + 1])
        return Words(self.quads[span], self.ignored[span])

    def usable(self, indices: np.ndarray, at_most: int = 20_000) -> np.ndarray:
        """Those of the images that are there and whole, judged by their first and last bytes.

        Of more than `at_most` images, that many are looked at, evenly spread; the others are taken on
        trust (a worker that meets a broken one leaves it out, counted).
        """
        indices = np.asarray(indices)
        looked_at = np.unique(np.linspace(0, len(indices) - 1, min(len(indices), at_most)).astype(int))
        broken = []
        for position in looked_at:
            path = self.path(indices[position])
            if problem := image_problem(path):
                broken.append(position)
                self.problems.add("images unreadable, left out", f"{path}: {problem}")
        if len(broken) == len(looked_at):
            first = f", e.g.\n{self.problems}" if broken else ""
            raise UserError(f"{self.root}: no usable image among {len(indices)} in the annotation{first}")
        return np.delete(indices, broken)

    def _check(self, quads: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Repair corner orders; tell which quads are words at all."""

        def note(kind: str, found: np.ndarray) -> None:
            if found.any():
                image = self.names[np.searchsorted(self.offsets, np.argmax(found), "right") - 1]
                self.problems.add(kind, str(image), int(found.sum()))

        finite = np.isfinite(quads).all((1, 2)) & (np.abs(quads) < 1e6).all((1, 2))
        note("words with corners that are no numbers, left out", ~finite)
        quads = np.where(finite[:, None, None], quads, 0)
        crossing = self_crossing(quads)
        note("words with crossing sides, corners put in order", crossing)
        quads[crossing] = sort_around_centre(quads[crossing])
        areas = signed_areas(quads)
        anticlockwise = areas <= -MIN_AREA
        note("words with corners anticlockwise, turned round", anticlockwise)
        quads[anticlockwise] = quads[anticlockwise][:, [0, 3, 2, 1]]
        no_area = finite & (np.abs(areas) < MIN_AREA)
        note("words without area, left out", no_area)
        return quads, finite & ~no_area


def inside_image(words: Words, height: int, width: int) -> np.ndarray:
    """(M,) bool: which words have a part inside an image of that size."""
    left, top, right, bottom = bounding_boxes(words.quads).T
    return (right > 0) & (bottom > 0) & (left < width) & (top < height)


def read_synthtext(path: Path) -> Annotations:
    """SynthText's `gt.mat` (a file, or the folder that holds it); images beside it or in `images/`."""
    path = Path(path)
    file = path / "gt.mat" if path.is_dir() else path
    if not file.is_file():
        raise UserError(f"{path}: there is no gt.mat; give the folder that holds SynthText's gt.mat")
    try:
        contents = scipy.io.loadmat(file, variable_names=["imnames", "wordBB"])
        names = [str(cell.item()) for cell in contents["imnames"].flat]
        boxes = list(contents["wordBB"].flat)
    except Exception as error:  # scipy raises whatever a damaged byte leads to
        raise UserError(
            f"{file}: cannot be read ({type(error).__name__}: {error}); expected a MATLAB v5 file with imnames "
            "and wordBB, so it may be cut off: copy it again"
        ) from None
    if len(names) != len(boxes):
        raise UserError(f"{file}: {len(names)} imnames but {len(boxes)} wordBB cells; copy the file again")
    for name in names:
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise UserError(f"{file}: image name {name!r} leaves the dataset's folder; correct imnames")
    root = file.parent
    if (root / "images").is_dir() and names and not (root / names[0]).exists():
        root = root / "images"
    problems, kept, words = Problems(), [], []
    for index, cell in enumerate(boxes):
        quads = _quads_of_cell(cell)
        if quads is None:
            example = f"{file.name}: wordBB[{index}] has shape {np.shape(cell)}; expected (2, 4) or (2, 4, M)"
            problems.add("images with malformed words, left out", example)
        else:
            kept.append(names[index])
            words.append(Words(quads, np.zeros(len(quads), bool)))
    return Annotations(root, kept, words, problems)


def _quads_of_cell(cell: np.ndarray) -> np.ndarray | None:
    """A wordBB cell, (2, 4) for one word or (2, 4, M), -> (M, 4, 2); None if it is neither."""
    cell = np.asarray(cell)
    if cell.size == 0:
        return np.zeros((0, 4, 2), np.float32)
    if cell.shape[:2] != (2, 4) or cell.ndim > 3 or cell.dtype.kind not in "fiu":
        return None
    return cell.reshape(2, 4, -1).transpose(2, 1, 0)


def read_text_files(images: Path, texts: Path, prefix: str = "") -> Annotations:
    """A folder of images and one of `<prefix><image name>.txt` files, a word a line.

    Lines: `x1,y1,x2,y2,x3,y3,x4,y4,text` in UTF-8, text may hold commas, `###` = don't care.
    """
    for folder in (images, texts):
        if not folder.is_dir():
            raise UserError(f"{folder}: there is no such folder; see 'Data layouts' in the README")
    problems, names, words = Problems(), [], []
    for image in list_images(images):
        text = texts / f"{prefix}{image.stem}.txt"
        if text.is_file():
            names.append(image.name)
            words.append(read_words(text, problems))
        else:
            problems.add("images without annotation, left out", f"{image}: there is no {text}")
    if not names:
        raise UserError(f"{images}: no image with a .txt of its name in {texts}; see 'Data layouts' in the README")
    return Annotations(images, names, words, problems)


def read_words(path: Path, problems: Problems) -> Words:
    """The words of one `.txt` file; a line that is none is left out and counted."""
    quads, ignored = [], []
    content = path.read_bytes().decode("utf-8-sig", errors="replace")
    for number, line in enumerate(content.splitlines(), 1):
        if not line.strip():
            continue
        fields = line.split(",", 8)
        try:
            quads.append(np.array(fields[:8], dtype=np.float64).reshape(4, 2))
        except ValueError:
            example = f"{path}:{number}: {line[:60]!r}; expected 8 numbers and the text, separated by commas"
            problems.add("malformed lines, left out", example)
            continue
        ignored.append(len(fields) == 9 and fields[8].strip() == DONT_CARE)
    return Words(np.array(quads).reshape(-1, 4, 2), np.array(ignored, dtype=bool))


def write_words(path: Path, words: Words, texts: list[str] | None = None) -> None:
    """The reverse of `read_words`, with whole-number coordinates as ICDAR's files have them."""
    texts = texts or [DONT_CARE if ignored else "word" for ignored in words.ignored]
    corners = np.rint(words.quads).astype(int).reshape(-1, 8)
    lines = [",".join([*map(str, row), text]) for row, text in zip(corners, texts, strict=True)]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def list_images(folder: Path) -> list[Path]:
    """The folder's images in natural order: img_2 before img_10."""
    images = [path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES]
    return sorted(images, key=_natural_order)


def _natural_order(path: Path) -> list:
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", path.name)]
