"""What a folder holds that is not used: counted, with a reason, so that nothing is passed over in silence."""

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from utils.data.images import OTHER_IMAGE_SUFFIXES
from utils.data.problems import Problems

ANNOTATION_SUFFIXES = {
    ".txt",
    ".json",
    ".jsonl",
    ".xml",
    ".csv",
    ".mat",
    ".gt",
    ".yaml",
    ".yml",
    ".gz",
    ".index",
    ".md",
}
_OF_THE_SYSTEM = {"thumbs.db", "desktop.ini"}


def note_unused_files(files: Iterable[Path], used_suffixes: Collection[str], problems: Problems) -> None:
    """Count the files that no reader takes, by their suffix. used_suffixes: of those that one takes."""
    for path in files:
        suffix = path.suffix.lower()
        if suffix in used_suffixes or path.name.startswith(".") or path.name.lower() in _OF_THE_SYSTEM:
            continue
        if suffix in OTHER_IMAGE_SUFFIXES:
            problems.add("pictures of a format that is not read (save them as PNG or JPEG), left out", str(path))
        else:
            problems.add("files of a type that is not read, left out", str(path))


def note_text_files(folder: Path, images_of: Mapping[Path, list[Path]], problems: Problems) -> None:
    """Count annotation files without an image, and those that several images share.

    folder: of the annotation files. images_of: the images of each annotation file that is used.
    """
    for text, images in images_of.items():
        if len(images) > 1:
            names = ", ".join(image.name for image in images)
            problems.add("annotation files that several images of one name share, used for each", f"{text}: {names}")
    for text in sorted(folder.rglob("*.[tT][xX][tT]")):
        if text not in images_of:
            problems.add("annotation files without an image, left out", str(text))
