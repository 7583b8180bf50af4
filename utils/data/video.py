"""Reads video files and cameras frame by frame; writes video files."""

import math
import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from utils.data.image_types import MAX_PIXELS
from utils.errors import UserError
from utils.runtime.inputs import foreign_type, open_regular

DEFAULT_RATE = 25.0
"""Frames per second of a source that does not state its rate."""

_MOST_MISSING = 250
"""A file ends after so many unreadable frames in a row."""


class UnreadableVideo(Exception):
    """A source without any frame; the message names it and the reason."""


class VideoReader:
    """The frames of a video file, or of a camera by its number. Raises `UnreadableVideo` if it cannot be opened.

    max_pixels: a source with larger frames is refused.

    rate: frames per second. count: number of frames that the file states; None for a camera, or if it states none.
    """

    def __init__(self, source: Path | int, max_pixels: int = MAX_PIXELS):
        self.source = source
        if isinstance(source, Path):
            _refuse_foreign(source)
        os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # damage is counted, not logged
        self._capture = cv2.VideoCapture(source if isinstance(source, int) else str(source))
        if not self._capture.isOpened():
            what = f"camera {source}: not there" if isinstance(source, int) else f"{source}: no picture and no video"
            raise UnreadableVideo(f"{what} that OpenCV can read")
        width, height = (self._capture.get(key) for key in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        if width * height > max_pixels:
            self._capture.release()
            limit = f"at most {max_pixels} are read (--max-pixels)"
            raise UnreadableVideo(f"{source}: frames of {width:.0f}x{height:.0f} pixels; {limit}")
        rate, count = (self._capture.get(key) for key in (cv2.CAP_PROP_FPS, cv2.CAP_PROP_FRAME_COUNT))
        self.rate = rate if math.isfinite(rate) and 0 < rate <= 1000 else DEFAULT_RATE
        self.count = int(count) if isinstance(source, Path) and math.isfinite(count) and count > 0 else None

    def __iter__(self) -> Iterator[np.ndarray | None]:
        """(H, W, 3) uint8 RGB frames; None for an unreadable one that others follow."""
        missing = 0
        while missing < _MOST_MISSING:
            read, frame = self._capture.read()
            if read:
                yield from [None] * missing
                missing = 0
                yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
            elif self.count is None:
                return
            else:
                missing += 1

    def __enter__(self) -> "VideoReader":
        return self

    def __exit__(self, *_) -> None:
        self._capture.release()


def _refuse_foreign(source: Path) -> None:
    """Raise `UnreadableVideo` for what is no regular file, or known to be something else than a video."""
    try:
        with open_regular(source) as file:
            foreign = foreign_type(file.read(64))
    except (OSError, ValueError) as error:
        raise UnreadableVideo(f"{source}: {getattr(error, 'strerror', None) or error}") from None
    if foreign and "video" not in foreign:
        raise UnreadableVideo(f"{source}: no video but {foreign}")


class VideoWriter:
    """Writes an .mp4, opened at its first frame, which sets the size. Use it in a `with` block."""

    def __init__(self, path: Path, rate: float):
        self.path, self.rate = path, rate
        self._writer: cv2.VideoWriter | None = None

    def write(self, frame: np.ndarray) -> None:
        """Append a frame, (H, W, 3) uint8 RGB. Raises `UserError` if the file cannot be opened for writing."""
        if self._writer is None:
            size = frame.shape[1], frame.shape[0]
            code = cv2.VideoWriter.fourcc(*"mp4v")
            self._writer = cv2.VideoWriter(str(self.path), code, self.rate, size)
            if not self._writer.isOpened():
                what = f"a video of {size[0]}x{size[1]} at {self.rate:g} frames a second"
                cure = "check the folder, or give --no-pictures"
                raise UserError(f"{self.path}: {what} could not be opened for writing; {cure}")
        self._writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(self, *_) -> None:
        if self._writer is not None:
            self._writer.release()
