"""Sample datasets from the txt layout to SynthText's gt.mat form, and back, without loss.

    python3 -m tools.convert SOURCE OUT [--copy]

SOURCE with train_images1/ or test_images1/ (or ICDAR 2015's folders): OUT/train/gt.mat and OUT/test/gt.mat with
the images beside them. SOURCE with train/gt.mat or test/gt.mat (or a gt.mat itself, taken as training images):
OUT/train_images1/, OUT/sample_train_annotation_txt/ and the same for test. Images are linked, or copied.

A gt.mat written here has two variables that SynthText's has not: `transcription`, a string an image with a line
a word (in `txt` a word's spaces at its end are lost), and `dontcare`, 1 for each word that is `###`.
"""

import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy.io
from tqdm import tqdm

from utils.data.annotation_index import damage_as_user_error, file_name_of, quads_of_cell, read_columns
from utils.data.annotations import DONT_CARE, SAMPLE_LAYOUT, TEXT_LAYOUTS, list_images, read_transcriptions
from utils.data.mat_cells import Cell
from utils.data.problems import Problems
from utils.errors import UserError, run_script
from utils.options.parser import Parser

PARTS = "train", "test"


class Image(NamedTuple):
    """An annotated image as its file says, nothing repaired."""

    name: str
    """Path relative to the images' folder."""
    quads: np.ndarray
    """(M, 4, 2)."""
    texts: list[str]
    """M transcriptions."""


def read_text_layout(images: Path, texts: Path, prefix: str, problems: Problems) -> Iterator[Image]:
    for image in list_images(images):
        name = image.relative_to(images)
        text = texts / name.parent / f"{prefix}{name.stem}.txt"
        if not text.is_file():
            problems.add("images without annotation, left out", f"{image}: there is no {text}")
            continue
        words, transcriptions = read_transcriptions(text, problems)
        yield Image(name.as_posix(), words.quads, transcriptions)


def read_mat(file: Path, problems: Problems) -> Iterator[Image]:
    columns = read_columns(file, ("imnames", "wordBB", "txt", "transcription"))
    names, boxes = columns["imnames"][1], columns["wordBB"][1]
    count = columns["imnames"][0]
    exact = columns["transcription"][1] if "transcription" in columns else [None] * count
    spaced = columns["txt"][1] if "txt" in columns else [None] * count
    for number, (name, box, lines, text) in enumerate(zip(names, boxes, exact, spaced, strict=True)):
        name, quads = file_name_of(name, file), quads_of_cell(box)
        if not name or quads is None:
            example = f"{file.name}: imnames[{number}], wordBB[{number}] of shape {box.shape}"
            problems.add("images without a name or with malformed words, left out", example)
            continue
        texts = _texts(lines, text, len(quads))
        if texts is None:
            problems.add("images whose txt doesn't fit their words: words written as 'word'", f"txt[{number}]")
            texts = ["word"] * len(quads)
        yield Image(name, quads, texts)


def _texts(lines: Cell | None, text: Cell | None, count: int) -> list[str] | None:
    """A text a word: from our own `transcription`, else from SynthText's `txt`, words between white space."""
    if lines is not None and lines.text is not None:
        texts = lines.text.split("\n")[:-1]
        return texts if len(texts) == count else None
    if count == 0:
        return []
    rows = text.values if text is not None and isinstance(text.values, list) else []
    words = [word for row in rows for word in row.split()]
    for texts in (words, [row.strip() for row in rows]):
        if len(texts) == count:
            return texts
    return None


def write_mat(path: Path, images: Iterable[Image]) -> None:
    """imnames, wordBB, txt as SynthText has them; transcription and dontcare."""
    images = list(images)
    columns = {
        "imnames": [np.array([image.name]) for image in images],
        "wordBB": [_box_cell(image.quads) for image in images],
        "txt": [np.array(image.texts or [""]) for image in images],
        "transcription": [np.array(["".join(f"{text}\n" for text in image.texts)]) for image in images],
        "dontcare": [np.array([text.strip() == DONT_CARE for text in image.texts], np.uint8) for image in images],
    }
    contents = {}
    for name, values in columns.items():
        contents[name] = np.empty((1, len(values)), object)
        contents[name][0, :] = values
    path.parent.mkdir(parents=True, exist_ok=True)
    scipy.io.savemat(path, contents, do_compression=True)


def _box_cell(quads: np.ndarray) -> np.ndarray:
    """(M, 4, 2) -> (2, 4, M), or (2, 4) for one word; float32 where it writes the same numbers."""
    single = quads.astype(np.float32)
    if all(float(_number(value)) == wide for value, wide in zip(single.flat, quads.flat, strict=True)):
        quads = single
    return quads[0].T if len(quads) == 1 else quads.transpose(2, 1, 0)


def _number(value: np.floating) -> str:
    """The fewest digits that give this number back."""
    return np.format_float_positional(value, trim="-")


def write_text(path: Path, image: Image) -> None:
    rows = (",".join(map(_number, quad.reshape(-1))) for quad in image.quads)
    lines = [f"{row},{text}\n" for row, text in zip(rows, image.texts, strict=True)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("".join(lines).encode())


def place_image(source: Path, out: Path, copy: bool) -> None:
    if not source.is_file():
        raise UserError(f"{source}: the annotation names this image, but there is none; put it there or drop its entry")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.unlink(missing_ok=True)
    if copy:
        shutil.copyfile(source, out)
    else:
        os.symlink(source.resolve(), out)


def convert(source: Path, out: Path, copy: bool = False) -> tuple[dict[str, int], Problems]:
    """How many images went to each part, and what was left out."""
    problems, counts = Problems(), {}
    for number, part in enumerate(PARTS):
        folders = [(source / layout.images[number], source / layout.texts[number], layout.prefix)
                   for layout in TEXT_LAYOUTS if (source / layout.images[number]).is_dir()]  # fmt: skip
        mats = [file for file in (source / part / "gt.mat", *([source / "gt.mat"] * (part == "train")), source)
                if file.is_file() and file.suffix == ".mat" and (part == "train" or file.parent != source)]  # fmt: skip
        if folders:
            images = list(read_text_layout(*folders[0], problems))
            for image in tqdm(images, desc=part, leave=False, disable=None):
                place_image(folders[0][0] / image.name, out / part / image.name, copy)
            write_mat(out / part / "gt.mat", images)
            counts[part] = len(images)
        elif mats:
            with damage_as_user_error(mats[0]):
                counts[part] = _mat_to_text(mats[0], out, number, copy, problems)
    if not counts:
        raise UserError(f"{source}: nothing to convert; expected the folders of a sample dataset or a gt.mat")
    return counts, problems


def _mat_to_text(file: Path, out: Path, part: int, copy: bool, problems: Problems) -> int:
    images, texts = out / SAMPLE_LAYOUT.images[part], out / SAMPLE_LAYOUT.texts[part]
    written = set()
    for image in tqdm(read_mat(file, problems), desc=PARTS[part], leave=False, disable=None):
        text = Path(image.name).with_suffix(".txt")
        if text in written:
            raise UserError(f"{file}: two images would share {text}; rename {image.name}")
        written.add(text)
        inside = [folder / image.name for folder in (file.parent, file.parent / "images")]
        place_image(next(filter(Path.is_file, inside), inside[0]), images / image.name, copy)
        write_text(texts / text, image)
    return len(written)


def main() -> None:
    parser = Parser(__doc__)
    parser.add_argument("source", type=Path, metavar="SOURCE")
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("--copy", action="store_true", help="copy the images instead of linking them")
    args = parser.parse_args()
    if args.out.resolve() == args.source.resolve():
        raise UserError(f"{args.out}: it is the source; give another folder")
    counts, problems = convert(args.source, args.out, args.copy)
    print(f"{args.out}: " + ", ".join(f"{count} {part} images" for part, count in counts.items()))
    if problems:
        print(f"left out or changed:\n{problems}")


if __name__ == "__main__":
    run_script(main)
