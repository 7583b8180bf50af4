"""What a picture's header says, and how a picture is read: the types shared by the readers of all formats."""

from typing import NamedTuple

MAX_PIXELS = 100_000_000
"""A picture whose header claims more is refused before it fills the memory (300 MB as RGB)."""

WHITE = (255, 255, 255)

MOST_PARTS = 100_000
"""Segments, chunks or boxes of a file that are read; a file of more is refused, so that it costs no time."""


class BadHeader(ValueError):
    """A header that gives no size; the message says why."""


class ReadOptions(NamedTuple):
    """How pictures are read."""

    max_pixels: int = MAX_PIXELS
    """A picture of more is refused."""
    background: tuple[int, int, int] = WHITE
    """RGB that a transparent picture is composited onto."""


DEFAULT_READING = ReadOptions()


class ImageHeader(NamedTuple):
    """What a file's header claims."""

    kind: str
    """The format's name."""
    height: int
    """As stored, in pixels."""
    width: int
    orientation: int = 1
    """EXIF's number: 1 as stored, 5 to 8 with the axes exchanged."""
    alpha: str = ""
    """"straight" or "premultiplied" for a picture that may be transparent, "unreadable" for one whose transparency
    OpenCV does not read."""
    least_bytes: int = 0
    """Of the whole file, where the header gives it."""
    transparent_grey: int | None = None
    """The one grey value that a PNG's tRNS chunk makes transparent, as 8 or 16 bits."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the picture as it is shown."""
        return (self.width, self.height) if self.orientation >= 5 else (self.height, self.width)
