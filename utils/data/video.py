"""Reads video files, cameras and streams frame by frame, with each frame's time; writes video files.

A file keeps the times of its own frames, also at a variable frame rate. A camera or stream that stops is opened again,
a limited number of times; its frames carry the time of their arrival.
"""

import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from utils.data.image_types import MAX_PIXELS
from utils.data.video_sources import (
    DEFAULT_CONNECTION,
    Connection,
    Source,
    UnreadableVideo,
    open_capture,
    shown_source,
    stream_or_camera,
)
from utils.errors import UserError

__all__ = ["Connection", "Source", "UnreadableVideo", "VideoFrame", "VideoReader", "VideoWriter", "stream_or_camera"]

DEFAULT_RATE = 25.0
"""Frames per second of a source that does not state its rate."""

_MOST_MISSING = 250
"""A file ends after so many unreadable frames in a row."""
_FIRST_PAUSE = 0.5
"""Seconds before the first attempt to open a lost source again; before each further one the pause doubles."""
_LONGEST_GAP = 60.0
"""Seconds without a frame that a written video shows as such; a longer gap is shortened."""


class VideoFrame(NamedTuple):
    """A frame and its position in its source."""

    number: int
    """From 0; unreadable frames count."""
    time_ms: float
    """Milliseconds: of a file, the frame's own time; of a camera or stream, since the first frame."""
    image: np.ndarray | None
    """(H, W, 3) uint8 RGB; None for an unreadable frame that others follow."""


class VideoReader:
    """The frames of a video file, of a camera by its number, or of a stream by its address.

    max_pixels: a source with larger frames is refused. connection: how long a camera or stream is waited for. Raises
    `UnreadableVideo` if the source cannot be opened.

    rate: frames per second. count: number of frames that the source states; None for a camera or a live stream, or if
    it states none. reconnections: how often a lost source was opened again. lost: why a camera or stream ended before
    its end; None if it did not.
    """

    def __init__(self, source: Source, max_pixels: int = MAX_PIXELS, connection: Connection = DEFAULT_CONNECTION):
        self.source, self.max_pixels, self.connection = source, max_pixels, connection
        self._capture = open_capture(source, connection.wait, max_pixels)
        rate, count = (self._capture.get(key) for key in (cv2.CAP_PROP_FPS, cv2.CAP_PROP_FRAME_COUNT))
        self.rate = rate if math.isfinite(rate) and 0 < rate <= 1000 else DEFAULT_RATE
        known = not isinstance(source, int) and math.isfinite(count) and count > 0
        self.count = int(count) if known else None
        self.reconnections = 0
        self.lost: str | None = None

    def __iter__(self) -> Iterator[np.ndarray | None]:
        """The images of `frames`."""
        return (frame.image for frame in self.frames())

    def frames(self) -> Iterator[VideoFrame]:
        """The source's frames with their numbers and times."""
        return self._frames_of_file() if isinstance(self.source, Path) else self._frames_of_stream()

    def _frames_of_file(self) -> Iterator[VideoFrame]:
        number, time_ms, missing, step = 0, -1000 / self.rate, 0, 1000 / self.rate
        while missing < _MOST_MISSING:
            image = self._read()
            if image is not None:
                for each in range(missing):
                    yield VideoFrame(number + each, time_ms + (each + 1) * step, None)
                number += missing
                time_ms = self._time_after(time_ms + missing * step)
                missing = 0
                yield VideoFrame(number, time_ms, image)
                number += 1
            elif self.count is None:
                return
            else:
                missing += 1

    def _frames_of_stream(self) -> Iterator[VideoFrame]:
        number, time_ms, start, attempts = 0, -1000 / self.rate, 0.0, 0
        while True:
            image = self._read()
            if image is None:
                attempts = self._open_again(number, attempts)
                if not attempts:
                    return
                continue
            attempts, start = 0, start or time.monotonic()
            time_ms = self._time_after(time_ms) if self.count else 1000 * (time.monotonic() - start)
            yield VideoFrame(number, time_ms, image)
            number += 1

    def _read(self) -> np.ndarray | None:
        read, frame = self._capture.read()
        return cv2.cvtColor(frame, cv2.COLOR_BGR2RGB) if read else None

    def _time_after(self, before: float) -> float:
        """The time of the frame just read, as the file states it; of one without an increasing time, by the rate."""
        stated = self._capture.get(cv2.CAP_PROP_POS_MSEC)
        return stated if math.isfinite(stated) and stated > before else before + 1000 / self.rate

    def _open_again(self, number: int, attempts: int) -> int:
        """Open the source again after `number` frames; a file on a server continues there.

        attempts: how many were made since the last frame. Returns this number with the new ones; 0: the source ended.
        """
        if self.count and number >= self.count:
            return 0
        while attempts < self.connection.reconnect and not (self.count and attempts and self._capture.isOpened()):
            time.sleep(min(_FIRST_PAUSE * 2**attempts, self.connection.wait))
            attempts += 1
            self._capture.release()
            try:
                self._capture = open_capture(self.source, self.connection.wait, self.max_pixels)
            except UnreadableVideo:
                continue
            self.reconnections += 1
            if not self.count or all(self._capture.grab() for _ in range(number)):
                return attempts
            self._capture.release()
        of_all = f" of {self.count}" if self.count else ""
        self.lost = (
            f"{shown_source(self.source)}: ended after {number}{of_all} frames, {attempts} attempts to reopen it"
        )
        return 0

    def __enter__(self) -> "VideoReader":
        return self

    def __exit__(self, *_) -> None:
        self._capture.release()


class VideoWriter:
    """Writes an .mp4 of a constant rate, opened at its first frame, which sets the size. Use it in a `with` block.

    Where frames come with their times, each frame of the file shows the latest one whose time is at most half a
    frame's duration later: frames are repeated in pauses and left out where they follow each other faster.
    """

    def __init__(self, path: Path, rate: float):
        self.path, self.rate = path, rate
        self._writer: cv2.VideoWriter | None = None
        self._picture: np.ndarray | None = None
        self._position = -1
        self._start_ms: float | None = None

    def write(self, frame: np.ndarray, time_ms: float | None = None) -> None:
        """Append a frame, (H, W, 3) uint8 RGB; one of another size than the first is resized.

        time_ms: its time; None: one frame after the one before. Raises `UserError` if the file cannot be opened for
        writing.
        """
        if self._writer is None:
            self._open(frame.shape[1], frame.shape[0])
        picture = cv2.cvtColor(frame, cv2.COLOR_RGB2BGR)
        if self._picture is not None and picture.shape != self._picture.shape:
            size = self._picture.shape[1], self._picture.shape[0]
            picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        position = self._position + 1 if time_ms is None else max(self._position_at(time_ms), self._position, 0)
        self._repeat(position - self._position)
        self._picture, self._position = picture, position

    def _position_at(self, time_ms: float) -> int:
        """The number of the frame of constant rate that is shown at this time."""
        if self._start_ms is None:
            self._start_ms = time_ms - 1000 * (self._position + 1) / self.rate
        position = (time_ms - self._start_ms) * self.rate / 1000
        excess = position - self._position - _LONGEST_GAP * self.rate
        if excess > 0:
            self._start_ms += excess * 1000 / self.rate
            position -= excess
        return round(position)

    def _repeat(self, count: int) -> None:
        """Write the latest picture, which is due until the next one."""
        if self._writer is not None and self._picture is not None:
            for _ in range(count):
                self._writer.write(self._picture)

    def _open(self, width: int, height: int) -> None:
        code = cv2.VideoWriter.fourcc(*"mp4v")
        self._writer = cv2.VideoWriter(str(self.path), code, self.rate, (width, height))
        if not self._writer.isOpened():
            what = f"a video of {width}x{height} at {self.rate:g} frames a second"
            cure = "check the folder, or give --no-pictures"
            raise UserError(f"{self.path}: {what} could not be opened for writing; {cure}")

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(self, *_) -> None:
        if self._writer is not None:
            self._repeat(1)
            self._writer.release()
