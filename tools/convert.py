"""Convert a sample dataset from text files to SynthText's gt.mat layout, or back, without loss.

    python3 -m tools.convert SOURCE OUT [--copy]

SOURCE with train_images1/ or test_images1/ (or ICDAR 2015's folders): writes OUT/train/gt.mat and OUT/test/gt.mat with
the images beside them. SOURCE with train/gt.mat or test/gt.mat (or a gt.mat itself, read as training images): writes
OUT/train_images1/, OUT/sample_train_annotation_txt/ and the same for test. Images are linked, or copied with --copy.

A gt.mat written here has two variables that SynthText's has not: `transcription`, a string per image with a line per
word (`txt` loses the spaces at the end of a word), and `dontcare`, 1 for each word that is `###`.
"""

import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from utils.data.annotations import DONT_CARE, SAMPLE_LAYOUT, TEXT_LAYOUTS, list_images, read_transcriptions
from utils.data.gt_mat import (
    cell_of_quads,
    damage_as_user_error,
    file_name_of,
    quads_of_cell,
    read_columns,
    write_gt_mat,
)
from utils.data.mat_cell_writer import CellValue
from utils.data.mat_cells import Cell
from utils.data.problems import Problems
from utils.errors import UserError, run_script
from utils.options.parser import Parser, flag

PARTS = "train", "test"


class Image(NamedTuple):
    """An annotated image as in its file, nothing repaired."""

    name: str
    """Path relative to the images' folder."""
    quads: np.ndarray
    """(M, 4, 2)."""
    texts: list[str]
    """M transcriptions."""


def read_text_layout(images: Path, texts: Path, prefix: str, problems: Problems) -> Iterator[Image]:
    """The images of a folder with text files; those without a text are added to problems."""
    for image in list_images(images):
        name = image.relative_to(images)
        text = texts / name.parent / f"{prefix}{name.stem}.txt"
        if not text.is_file():
            problems.add("images without annotation, left out", f"{image}: there is no {text}")
            continue
        words, transcriptions = read_transcriptions(text, problems)
        yield Image(name.as_posix(), words.quads, transcriptions)


def read_mat(file: Path, problems: Problems) -> Iterator[Image]:
    """The images of a gt.mat; malformed ones are added to problems."""
    columns = read_columns(file, ("imnames", "wordBB", "txt", "transcription"))
    names, boxes = columns["imnames"][1], columns["wordBB"][1]
    count = columns["imnames"][0]
    missing: list[None] = [None] * count
    exact: Iterable[Cell | None] = columns["transcription"][1] if "transcription" in columns else missing
    spaced: Iterable[Cell | None] = columns["txt"][1] if "txt" in columns else missing
    for number, (cell, box, lines, text) in enumerate(zip(names, boxes, exact, spaced, strict=True)):
        name, quads = file_name_of(cell, file), quads_of_cell(box)
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
    """A text per word: from our own `transcription`, else from SynthText's `txt`, split at white space.

    None if neither has as many texts as there are words.
    """
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


def write_mat(path: Path, images: Sequence[Image]) -> None:
    """Write imnames, wordBB and txt as SynthText has them, and transcription and dontcare."""
    marks = ([text.strip() == DONT_CARE for text in image.texts] for image in images)
    columns: dict[str, Iterable[CellValue]] = {
        "imnames": (image.name for image in images),
        "wordBB": (cell_of_quads(_narrowed(image.quads)) for image in images),
        "txt": (image.texts for image in images),
        "transcription": ("".join(f"{text}\n" for text in image.texts) for image in images),
        "dontcare": (np.array(each, np.uint8) for each in marks),
    }
    write_gt_mat(path, columns, len(images))


def _narrowed(quads: np.ndarray) -> np.ndarray:
    """The quads in float32 if their decimal digits stay the same, else as they are."""
    single = quads.astype(np.float32)
    same = all(float(_number(value)) == wide for value, wide in zip(single.flat, quads.flat, strict=True))
    return single if same else quads


def _number(value: np.floating) -> str:
    """The fewest digits that give this number back."""
    return np.format_float_positional(value, trim="-")


def write_text(path: Path, image: Image) -> None:
    """Write the image's text file; coordinates keep every digit."""
    rows = (",".join(map(_number, quad.reshape(-1))) for quad in image.quads)
    lines = [f"{row},{text}\n" for row, text in zip(rows, image.texts, strict=True)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("".join(lines).encode())


def place_image(source: Path, out: Path, copy: bool) -> None:
    """Put the image at `out`: a symbolic link, or a copy."""
    if not source.is_file():
        raise UserError(
            f"{source}: the annotation names this image, but the file does not exist; add it or remove its entry"
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    out.unlink(missing_ok=True)
    if copy:
        shutil.copyfile(source, out)
    else:
        os.symlink(source.resolve(), out)


def convert(source: Path, out: Path, copy: bool = False) -> tuple[dict[str, int], Problems]:
    """Convert both parts; returns how many images each part has, and what was left out."""
    problems, counts = Problems(), {}
    for number, part in enumerate(PARTS):
        layout = next((each for each in TEXT_LAYOUTS if (source / each.images[number]).is_dir()), None)
        mat = _mat_of_part(source, part)
        if layout:
            folder = source / layout.images[number]
            images = list(read_text_layout(folder, source / layout.texts[number], layout.prefix, problems))
            for image in tqdm(images, desc=part, leave=False, disable=None):
                place_image(folder / image.name, out / part / image.name, copy)
            write_mat(out / part / "gt.mat", images)
            counts[part] = len(images)
        elif mat:
            with damage_as_user_error(mat):
                counts[part] = _mat_to_text(mat, out, number, copy, problems)
    if not counts:
        raise UserError(f"{source}: nothing to convert; expected the folders of a sample dataset or a gt.mat")
    return counts, problems


def _mat_of_part(source: Path, part: str) -> Path | None:
    """The gt.mat of a part; one directly in the source, or the source itself, is the training part's."""
    candidates = [source / part / "gt.mat"]
    if part == "train":
        candidates += [source / "gt.mat", source]
    return next((file for file in candidates if file.is_file() and file.suffix == ".mat"), None)


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


def build_parser() -> Parser:
    parser = Parser(__doc__)
    parser.add_argument("source", type=Path, metavar="SOURCE", help="folder of a sample dataset, or a gt.mat")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder for the converted dataset")
    flag(parser, "--copy", "copy the images instead of linking them")
    return parser


def main() -> None:
    args = build_parser().parse_args()
    if args.out.resolve() == args.source.resolve():
        raise UserError(f"{args.out}: it is the source; give another folder")
    counts, problems = convert(args.source, args.out, args.copy)
    print(f"{args.out}: " + ", ".join(f"{count} {part} images" for part, count in counts.items()))
    if problems:
        print(f"left out or changed:\n{problems}")


if __name__ == "__main__":
    run_script(main)
