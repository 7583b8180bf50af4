"""The layouts of sample datasets: folders of annotated images -> `Annotations`."""

from pathlib import Path

from utils.data.annotation_index import read_synthtext
from utils.data.annotations import TEXT_LAYOUTS, Annotations, read_text_files
from utils.errors import UserError


def open_sample(root: str | Path, train: bool, cache_dir: str | Path | None = None) -> Annotations:
    """A sample dataset's training or test frames; the layout is detected from the folder names.

    A new layout gets its line here, or in `utils.data.annotations.TEXT_LAYOUTS` if it is one of text files. Raises
    `UserError` if no layout fits.
    """
    root = Path(root)
    part = 0 if train else 1
    mat = root / ("train", "test")[part] / "gt.mat"
    for layout in TEXT_LAYOUTS:
        if (root / layout.images[part]).is_dir():
            return read_text_files(root / layout.images[part], root / layout.texts[part], layout.prefix)
    if not mat.is_file():
        expected = " or ".join([*(f"{layout.images[part]}/" for layout in TEXT_LAYOUTS), f"{mat.parent.name}/gt.mat"])
        raise UserError(f"{root}: no sample dataset: expected {expected} in it; see docs/data.md")
    return read_synthtext(mat, cache_dir)


def is_synthtext(root: str | Path) -> bool:
    """Whether the path is SynthText's: a gt.mat, or a folder that holds one."""
    return Path(root).is_file() or Path(root, "gt.mat").is_file()
