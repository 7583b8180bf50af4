"""Convert annotated images from any format that is read to one of those that are written.

    python3 -m tools.convert SOURCE OUT [--to FORMAT] [--format NAME] [--copy] [--replace]

SOURCE: a folder in one of the formats of docs/data.md (the format is recognised, --format overrules that), or its
annotation file. Without --to, a gt.mat becomes txt, and everything else gt.mat. Training and test images stay what they
are for train_sample.py; those of a gt.mat of which nothing says which they are become training images. Images are
linked, or copied with --copy.

Texts, don't-cares and coordinates stay as they are where the new format can say them; what it cannot say is counted
and printed.
"""

import functools
import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from tqdm import tqdm

from utils.data.formats.base import Format, Output
from utils.data.formats.entries import Entry
from utils.data.formats.folder import Folder
from utils.data.formats.names import clean_name, short_name
from utils.data.formats.registry import FORMATS, Recognised, iterate_entries, recognise
from utils.data.formats.shared_names import SharedNames
from utils.data.formats.sizes import picture_size
from utils.data.formats.split import with_parts
from utils.data.images import UnreadableImage
from utils.data.problems import Problems
from utils.errors import UserError, printable, run_script
from utils.options.parser import Parser, flag
from utils.runtime.data_folder import REPLACE_HELP, data_set_folder
from utils.runtime.files import copy_file

PARTS = "train", "test"
WRITTEN = sorted(name for name, each in FORMATS.items() if each.write)
"""Formats with a writer."""


class Conversion:
    """One run: where the images come from and where they go."""

    def __init__(self, source: Path, out: Path, *, name: str | None = None, copy: bool = False):
        """name: the source's format; None: recognised. Raises `UserError`."""
        self.folder, self.out, self.copy = Folder(source), out, copy
        self.recognised: Recognised = recognise(self.folder, name)
        self.problems = Problems()
        self.edit: Callable[[Entry, Path], Entry] | None = None
        """Changes a training image's entry before it is written; it gets the image's file, too."""
        self._sources: dict[tuple[str, str], Path] = {}

    def run(self, to: str | None = None, *, replace: bool = False) -> dict[str, int]:
        """Write both parts; returns the number of images of each. Raises `UserError`.

        to: the format's name; None: txt for a gt.mat, else gt.mat. replace: an earlier data set in `out` is replaced.
        """
        to = to or ("txt" if self.recognised.format.name == "gt.mat" else "gt.mat")
        with data_set_folder(
            self.out, [self.folder.only or self.folder.root, self.folder.root], replace=replace
        ) as place:
            return self._write_parts(FORMATS[to], place)

    def _write_parts(self, to: Format, place: Path) -> dict[str, int]:
        counts = {}
        test: list[Entry] = []
        assert to.write
        for part, entries in zip(PARTS, (self._training_entries(to, test), iter(test)), strict=True):
            if (first := next(entries, None)) is not None:
                counts[part] = to.write(self._output(place, part), itertools.chain([first], entries))
        if not counts:
            name = self.recognised.format.name
            raise UserError(f"{self.folder.root}: nothing to convert ({name}){self.problems.first()}")
        return counts

    def _output(self, root: Path, part: str) -> Output:
        place, size = functools.partial(self._place, part), functools.partial(self._size, part)
        return Output(root, part, self.problems, place, size)

    def refuse_shared_names(self, to: str) -> None:
        """Read the annotations, and raise `UserError` if two images would share a file in the format `to`.

        `run` does the same as it comes to them: an `edit` that takes long has edited the images before by then.
        """
        for _ in self._named_entries(FORMATS[to], Problems()):
            pass

    def _named_entries(self, to: Format, problems: Problems) -> Iterator[tuple[str, Entry]]:
        """(name in the source, entry) of all images, with their names in the output and their parts."""
        shared = {part: SharedNames(to) for part in PARTS}
        entries: Iterable[Entry] = iterate_entries(self.folder, self.recognised, problems)
        if self.recognised.format.name != "gt.mat":  # which may have millions of images
            entries, _ = with_parts(list(entries), self.folder.root)
        for entry in entries:
            name, part = clean_name(short_name(entry.name), problems), entry.part or PARTS[0]
            shared[part].add(entry.name, name)
            yield entry.name, entry._replace(name=name, part=part)

    def _training_entries(self, to: Format, test: list[Entry]) -> Iterator[Entry]:
        """The training images, their names without the folders that say the part; the test images go to `test`."""
        named = self._named_entries(to, self.problems)
        for source, entry in tqdm(named, desc="images", unit="img", leave=False, disable=None):
            path = self._sources[str(entry.part), entry.name] = self.folder.root / source
            if entry.part == PARTS[0]:
                yield self.edit(entry, path) if self.edit else entry
            else:
                test.append(entry)

    def _place(self, part: str, name: str, target: Path) -> None:
        """Put the image of an entry at `target`: a symbolic link, or a copy."""
        source = self._sources[part, name]
        target.parent.mkdir(parents=True, exist_ok=True)
        if self.copy:
            copy_file(source, target)
        else:
            os.symlink(source.resolve(), target)

    def _size(self, part: str, name: str) -> tuple[int, int]:
        try:
            return picture_size(self._sources[part, name])
        except UnreadableImage as error:
            raise UserError(f"{error}; repair the image or remove it") from None


def build_parser() -> Parser:
    parser = Parser(__doc__)
    parser.add_argument("source", type=Path, metavar="SOURCE", help="folder of annotated images, or an annotation file")
    parser.add_argument("out", type=Path, metavar="OUT", help="new folder for the converted dataset")
    parser.add_argument("--to", choices=WRITTEN, help="format to write (default: gt.mat, or txt for a gt.mat)")
    parser.add_argument("--format", choices=list(FORMATS), help="format of SOURCE (default: recognised)")
    flag(parser, "--copy", "copy the images instead of linking them")
    flag(parser, "--replace", REPLACE_HELP)
    return parser


def main() -> None:
    args = build_parser().parse_args()
    conversion = Conversion(args.source, args.out, name=args.format, copy=args.copy)
    counts, problems = conversion.run(args.to, replace=args.replace), conversion.problems
    print(f"{printable(args.out)}: " + ", ".join(f"{count} {part} images" for part, count in counts.items()))
    if problems:
        print(f"left out or changed:\n{problems}")


if __name__ == "__main__":
    run_script(main)
