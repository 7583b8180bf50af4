"""Video files and cameras, frame by frame; video files written."""

import math
import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from utils.errors import UserError

DEFAULT_RATE = 25.0
"""Frames a second where a source does not tell its own."""

_MOST_MISSING = 250  # unreadable frames in a row after which a file counts as ended


class UnreadableVideo(Exception):
    """A source without any frame; the message names it and says why."""


class VideoReader:
    """The frames of a file or of a camera (by its number). Raises `UnreadableVideo` if there is none to open.

    rate: frames a second. count: frames as the file tells, None for a camera or where it does not tell.
    """

    def __init__(self, source: Path | int):
        self.source = source
        if isinstance(source, Path) and not source.is_file():
            raise UnreadableVideo(f"{source}: no such file")
        os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # what is damaged is counted, not told line by line
        self._capture = cv2.VideoCapture(source if isinstance(source, int) else str(source))
        if not self._capture.isOpened():
            what = f"camera {source}: not there" if isinstance(source, int) else f"{source}: no picture and no video"
            raise UnreadableVideo(f"{what} that OpenCV can read")
        rate, count = (self._capture.get(key) for key in (cv2.CAP_PROP_FPS, cv2.CAP_PROP_FRAME_COUNT))
        self.rate = rate if math.isfinite(rate) and 0 < rate <= 1000 else DEFAULT_RATE
        self.count = int(count) if isinstance(source, Path) and math.isfinite(count) and count > 0 else None

    def __iter__(self) -> Iterator[np.ndarray | None]:
        """(H, W, 3) uint8 RGB frames; None for one that cannot be read while others follow it."""
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


class VideoWriter:
    """An .mp4 that is opened at its first frame, which sets the size. Use it in a `with` block."""

    def __init__(self, path: Path, rate: float):
        self.path, self.rate, self._writer = path, rate, None

    def write(self, frame: np.ndarray) -> None:
        """frame: (H, W, 3) uint8 RGB."""
        if self._writer is None:
            size = frame.shape[1], frame.shape[0]
            self._writer = cv2.VideoWriter(str(self.path), cv2.VideoWriter_fourcc(*"mp4v"), self.rate, size)
            if not self._writer.isOpened():
                raise UserError(f"{self.path}: a video of {size[0]}x{size[1]} at {self.rate:g} frames a second could "
                                "not be opened for writing; check the folder, or give --no-pictures")  # fmt: skip
        self._writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(self, *_) -> None:
        if self._writer is not None:
            self._writer.release()
