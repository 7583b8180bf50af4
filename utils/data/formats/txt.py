"""A `.txt` file an image, a word a line; see `utils.data.formats.text_lines` for the forms of a line.

The file of `img_1.jpg` is `gt_img_1.txt` or `img_1.txt`, beside the image or in the folder of annotations that
corresponds to the image's (see `Folder.find_stem`).
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from utils.data.formats.base import Finding, Format, Output, Source, first_written
from utils.data.formats.entries import DONT_CARE, Entry, Malformed, WordList
from utils.data.formats.folder import Folder
from utils.data.formats.text_files import head_text, read_text
from utils.data.formats.text_lines import add_lines, parse_line, recognise_form, split_lines
from utils.data.problems import Problems
from utils.runtime.files import write_file

PREFIX = "gt_"


def find(folder: Folder) -> Finding | None:
    """Files whose lines are words and whose names are images'."""
    files = folder.files(".txt")
    texts = {file for file in files if image_stem(file, folder)}
    for file in first_written(file for file in files if file in texts):
        if form := form_of(file):
            files = [file for file in files if file in texts or form_of(file)]  # also those whose image is missing
            return Finding(files, f"{folder.relative(file)} has lines of the form {form!r}")
    return None


def image_stem(file: Path, folder: Folder) -> str | None:
    """The stem of the image that a text file is about; None if there is no such image."""
    for stem in (file.stem, file.stem.removeprefix(PREFIX)):
        if folder.find_stem(stem, file):
            return stem
    return None


def form_of(file: Path) -> str | None:
    """The form of a file's lines; None if a line of it does not fit its form."""
    head = head_text(file, 1 << 14)
    lines = [line for _, line in split_lines(head)]
    form = recognise_form(lines)
    try:
        for line in lines[:-1] or lines:  # the last one may be cut off
            parse_line(line, form)
    except Malformed:
        return None
    return form if lines else None


def read(source: Source) -> Iterator[Entry]:
    stem = image_stem(source.file, source.folder)
    name = source.image_of_stem(stem or source.file.stem.removeprefix(PREFIX))
    if name is None:
        return
    entry, lines = read_words(source.file, name, source.problems)
    if lines and not len(entry.quads):
        source.problems.add("images whose annotation has no readable line, left out", f"{source.file}")
        return
    yield entry


def read_words(file: Path, name: str, problems: Problems) -> tuple[Entry, int]:
    """The words of one file and the number of its lines. Raises `Malformed` for a file that cannot be opened."""
    lines = split_lines(read_text(file, problems))
    words = WordList(str(file), problems)
    add_lines(lines, words)
    return words.entry(name), len(lines)


def write(output: Output, entries: Iterator[Entry]) -> int:
    """This project's own layout: `train_images1/`, `sample_train_annotation_txt/` and the same for test."""
    images, texts = output.root / f"{output.part}_images1", output.root / f"sample_{output.part}_annotation_txt"
    count = 0
    for entry in entries:
        file = texts / Path(entry.name).with_suffix(".txt")
        output.place_image(entry.name, images / entry.name)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_file(file, "".join(f"{line}\n" for line in word_lines(entry, output.problems)).encode())
        count += 1
    return count


def word_lines(entry: Entry, problems: Problems) -> Iterator[str]:
    """A line a word; the text of a don't-care becomes ###."""
    for quad, ignored, text in zip(entry.quads, entry.ignored, entry.texts, strict=True):
        if ignored and text.strip() != DONT_CARE:
            if text:
                problems.add("texts of don't-care words, written as ###", f"{entry.name}: {text!r}")
            text = DONT_CARE
        elif not ignored and text.strip() == DONT_CARE:
            problems.add("words with the text ### that are not don't-care, written without text", entry.name)
            text = ""
        yield ",".join([*map(shortest, quad.reshape(-1)), text])


def shortest(value: np.floating | float) -> str:
    """The fewest digits that give this number back."""
    return np.format_float_positional(value, trim="-")


FORMAT = Format("txt", find, read, write, one_file_an_image=True, empty_suffixes=(".txt",))
