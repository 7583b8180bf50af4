"""Images that would share a file in a data set that is written."""

from pathlib import PurePosixPath

from utils.data.formats.base import Format
from utils.errors import UserError


class SharedNames:
    """Refuses the second of two images of a part that would share a picture or an annotation file.

    Writers do not check it: their images are added here first.
    """

    def __init__(self, of_format: Format):
        self._format = of_format
        self._taken: dict[str, str] = {}

    def add(self, source: str, name: str) -> None:
        """source: the image's name in the input, for the message. name: in the output. Raises `UserError`."""
        one_file_an_image = self._format.one_file_an_image
        shared = str(PurePosixPath(name).with_suffix("")) if one_file_an_image else name
        if other := self._taken.get(shared):
            what = f"one {self._format.name} file" if one_file_an_image else f"the name {name}"
            raise UserError(f"{other} and {source} would share {what}; rename one of them")
        self._taken[shared] = source
