"""A dataset's folder: its files, listed once, and the image that an annotation names."""

import itertools
import os
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path, PurePosixPath

from utils.data.formats.names import apart, inner_folders, part_of, part_of_word
from utils.data.images import IMAGE_SUFFIXES
from utils.errors import UserError


class Folder:
    """The regular files under a folder, in natural order (img_2 before img_10). Hidden files are left out.

    path: the folder, or one annotation file in it; then no other file counts as annotation.
    """

    def __init__(self, path: str | Path):
        path = Path(path)
        if not path.exists():
            raise UserError(f"{path}: there is no such file or folder; check the path")
        self.only = None if path.is_dir() else path
        self.root = path if path.is_dir() else path.parent

    @cached_property
    def paths(self) -> list[Path]:
        """All files, relative to the root."""
        return sorted(map(Path, _walk(self.root)), key=lambda path: natural_order(path.as_posix()))

    def files(self, *suffixes: str) -> list[Path]:
        """Paths of the files with these suffixes (lower case, with the dot)."""
        if self.only:
            return [self.only] if self.only.suffix.lower() in suffixes else []
        return [self.root / path for path in self.paths if path.suffix.lower() in suffixes]

    def relative(self, path: Path) -> str:
        """Path relative to the root, with forward slashes."""
        return path.relative_to(self.root).as_posix()

    @cached_property
    def images(self) -> list[str]:
        """All images, relative to the root."""
        return [path.as_posix() for path in self.paths if path.suffix.lower() in IMAGE_SUFFIXES]

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        found = defaultdict(list)
        for name in self.images:
            found[PurePosixPath(name).name.lower()].append(name)
        return found

    @cached_property
    def _by_stem(self) -> dict[str, list[str]]:
        found = defaultdict(list)
        for name in self.images:
            found[PurePosixPath(name).stem].append(name)
        return found

    @cached_property
    def _known(self) -> set[str]:
        return set(self.images)

    def find_image(self, name: str, near: Path) -> str | None:
        """The image that an annotation file names.

        The name is tried relative to the file `near`, to the root, to the root's parent (PPOCRLabel), under
        `images/`; then a file of that name anywhere in the folder, in the folders that are named or, where there is
        none, in any; if there is one only.
        """
        name = name.replace("\\", "/")
        beside = os.path.relpath(near.parent, self.root)
        inside = name.removeprefix(f"{self.root.resolve().name}/")
        for place in (f"{beside}/{name}", name, inside, f"images/{name}", f"{beside}/images/{name}"):
            if (path := os.path.normpath(place).replace(os.sep, "/")) in self._known:
                return path
        names, file = self._by_name.get(PurePosixPath(name).name.lower(), []), self.relative(near)
        names = [each for each in names if f"/{each}".endswith(f"/{name}")] or names
        of_one_image = near.stem == PurePosixPath(name).stem
        return choose_near([each for each in names if not of_one_image or self._belongs(each, file)], file)

    def find_stem(self, stem: str, near: Path) -> str | None:
        """The image `stem`.* that belongs to an annotation file of that name.

        Its folders are those of the file, without the ones that are part of a layout (images/a/1.jpg, labels/a/1.txt).
        Else the two differ in one folder, such as photos/ and notes/, and that of the file holds no images.
        """
        file = self.relative(near)
        folders = _folders(file)
        names = self._by_place.get((inner_folders(folders), stem), [])
        names = [name for name in names if not apart(_folders(name), folders)]
        return choose_near(names or [name for name in self._by_stem.get(stem, []) if self._belongs(name, file)], file)

    @cached_property
    def _by_place(self) -> dict[tuple[tuple[str, ...], str], list[str]]:
        """Images by their folders without those of a layout, and by their stem."""
        found = defaultdict(list)
        for name in self.images:
            found[inner_folders(_folders(name)), PurePosixPath(name).stem].append(name)
        return found

    @cached_property
    def _image_folders(self) -> set[tuple[str, ...]]:
        """The folders of images and those above them; ("a", "") if there are images directly in a."""
        direct = {(*_folders(name), "") for name in self.images}
        return {folders[:count] for folders in direct for count in range(1, len(folders) + 1)}

    def _belongs(self, name: str, file: str) -> bool:
        """Whether an image may be the one of an annotation file of its stem, by their folders.

        Without the ones of a layout, these are the same; or they differ in one, and the file's holds no images.
        """
        ours, theirs = _folders(name), _folders(file)
        if apart(ours, theirs):
            return False
        if inner_folders(ours) == inner_folders(theirs):
            return True
        pairs = zip(ours, theirs, strict=False)
        after = 1 + sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
        same_after = inner_folders(ours[after:]) == inner_folders(theirs[after:])
        return same_after and (*theirs, "")[:after] not in self._image_folders


def _folders(name: str) -> tuple[str, ...]:
    return tuple(name.split("/")[:-1])


def choose_near(names: list[str], file: str) -> str | None:
    """Of several paths the one beside the file, or in the same part (train, test); None if that is not one."""
    part = part_of(file) or part_of_word(PurePosixPath(file).stem)
    for alike in (
        lambda name: PurePosixPath(name).parent == PurePosixPath(file).parent,
        lambda name: part_of(name) == part,
        lambda name: True,
    ):
        chosen = [name for name in names if alike(name)]
        if len(chosen) == 1:
            return chosen[0]
        if chosen:
            names = chosen
    return names[0] if names and len({PurePosixPath(name).parent for name in names}) == 1 else None


def natural_order(name: str) -> list:
    """Sorting key with numbers by value: img_2 before img_10."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]


def _walk(root: Path) -> Iterator[str]:
    """Relative paths of the regular files; a folder that links back to one above it is entered once."""
    pending, seen = [""], set()
    while pending:
        place = pending.pop()
        try:
            state = os.stat(root / place)
            if (state.st_dev, state.st_ino) in seen:
                continue
            seen.add((state.st_dev, state.st_ino))
            with os.scandir(root / place) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    if entry.is_dir():
                        pending.append(f"{place}{entry.name}/")
                    elif entry.is_file():
                        yield f"{place}{entry.name}"
        except OSError as error:
            raise UserError(f"{root / place}: cannot be listed ({error.strerror}); change its mode") from None
