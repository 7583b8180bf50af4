"""A folder of annotated images in any format -> `Annotations`; the format is recognised by what the folder holds."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from utils.data.annotation_index import read_synthtext
from utils.data.annotations import TEXT_LAYOUTS, Annotations, Words, read_text_files
from utils.data.folder_contents import ANNOTATION_SUFFIXES, note_unused_files
from utils.data.formats.folder import Folder
from utils.data.formats.registry import FORMATS, read_entries, recognise
from utils.data.formats.split import choose_part, no_images
from utils.data.images import IMAGE_SUFFIXES
from utils.data.problems import Problems
from utils.errors import UserError

GT_MAT = "gt.mat"
FORMAT_NAMES = tuple(FORMATS)
"""What `format_name` may be, here and in the option --format."""


class SampleFolder(NamedTuple):
    """One folder of annotated frames, as a command line gives it."""

    path: str | Path
    ratio: float = 1.0
    """How many times an epoch draws each of its frames."""
    format_name: str | None = None
    """One of `FORMAT_NAMES`; None: recognised."""


def folder_names(synthtext: str | Path | None, samples: str | Path | Sequence[SampleFolder] | None) -> str:
    """The folders of a dataset, for messages."""
    several = [samples] if isinstance(samples, str | Path) else [folder.path for folder in samples or ()]
    return " and ".join(map(str, filter(None, [synthtext, *several])))


def open_sample(root: str | Path, train: bool, cache_dir: str | Path | None, format_name: str | None) -> Annotations:
    """A sample dataset's training or test frames.

    Tried in this order: the folders of `TEXT_LAYOUTS`, `train/gt.mat` and `test/gt.mat`, the formats of
    `utils.data.formats.registry`. format_name: only this one of `FORMAT_NAMES`. `source` of the result says which was
    chosen, and why. Raises `UserError`.
    """
    if format_name not in (None, *FORMAT_NAMES):
        raise UserError(f"--format {format_name}: there is no such format; expected {', '.join(FORMAT_NAMES)}")
    root, part = Path(root), 0 if train else 1
    if format_name in (None, "txt") and (found := _open_text_layout(root, part)):
        return found
    mats = [root / name / "gt.mat" for name in ("train", "test")]
    if format_name == GT_MAT or (format_name is None and any(mat.is_file() for mat in mats)):
        mat = root if format_name and is_synthtext(root) else mats[part]
        if mat == mats[part] and mats[1 - part].is_file() and not mat.is_file():
            raise no_images(root, mat.parent.name, f"there is {mats[1 - part].relative_to(root)} only")
        annotations = read_synthtext(mat, cache_dir)
        annotations.source = f"{GT_MAT}: {mats[part].parent.name}/gt.mat is there"
        return annotations
    if format_name is None:
        _refuse_half_a_layout(root, part)
    return _open_recognised(root, ("train", "test")[part], format_name)


def _open_text_layout(root: Path, part: int) -> Annotations | None:
    for layout in TEXT_LAYOUTS:
        if (root / layout.images[part]).is_dir():
            annotations = read_text_files(root / layout.images[part], root / layout.texts[part], layout.prefix)
            annotations.source = f"txt: the folder {layout.images[part]}/ is there"
            return annotations
    return None


def _refuse_half_a_layout(root: Path, part: int) -> None:
    """A folder with a layout's other part only: its images must not be taken for this part's."""
    for layout in TEXT_LAYOUTS:
        if (root / layout.images[1 - part]).is_dir():
            use, missing = ("training", "testing")[part], layout.images[part]
            raise UserError(
                f"{root}: no images for {use}: expected {missing}/ beside {layout.images[1 - part]}/; add it"
            )


def _open_recognised(root: Path, part: str, format_name: str | None) -> Annotations:
    folder, problems = Folder(root), Problems()
    recognised = recognise(folder, format_name)
    entries, rule = choose_part(read_entries(folder, recognised, problems, part), part, folder.root)
    if not folder.only:
        note_unused_files([folder.root / path for path in folder.paths], IMAGE_SUFFIXES | ANNOTATION_SUFFIXES, problems)
    words = [Words(entry.quads, entry.ignored) for entry in entries]
    annotations = Annotations(folder.root, [entry.name for entry in entries], words, problems)
    for other in recognised.others:
        example = f"{folder.root}: {other} beside {recognised.format.name}; --format chooses"
        problems.add("formats in the same folder, not read", example)
    annotations.source = f"{recognised.format.name}: {recognised.reason}; {rule}"
    return annotations


def is_synthtext(root: str | Path) -> bool:
    """Whether the path is SynthText's: a gt.mat, or a folder that holds one."""
    path = Path(root)
    return (path.is_file() and path.suffix == ".mat") or Path(root, GT_MAT).is_file()
