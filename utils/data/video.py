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
from utils.data.video_writer import VideoWriter

__all__ = ["Connection", "Source", "UnreadableVideo", "VideoFrame", "VideoReader", "VideoWriter", "stream_or_camera"]

DEFAULT_RATE = 25.0
"""Frames per second of a source that does not state its rate."""

_CREDIBLE_RATE = 250.0
"""Frames per second; a file that states more is measured: a WebM without a rate states its clock's 1000."""
_MEASURED_FRAMES = 50
_RATE_TOLERANCE = 0.05

_MOST_MISSING = 250
"""A file ends after so many unreadable frames in a row."""
_LEAST_SHARE = 0.95
"""Of the frames and the duration that a file states, which are estimates in some formats; with less it is cut off."""
_FIRST_PAUSE = 0.5
"""Seconds before the first attempt to open a lost source again; before each further one the pause doubles."""


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

    rate: frames per second; of a file that states a high one, the mean of its first frames. count: number of frames
    that the source states, or that follows from its duration and that mean; None for a camera or a live stream, or if
    it states none. reconnections: how often a lost source was opened again. lost: after the last frame, why a source
    ended before its end; None if it did not.
    """

    def __init__(self, source: Source, max_pixels: int = MAX_PIXELS, connection: Connection = DEFAULT_CONNECTION):
        self.source, self.max_pixels, self.connection = source, max_pixels, connection
        self._capture = open_capture(source, connection.wait, max_pixels)
        rate, count = (self._capture.get(key) for key in (cv2.CAP_PROP_FPS, cv2.CAP_PROP_FRAME_COUNT))
        if isinstance(source, Path) and math.isfinite(rate) and rate > _CREDIBLE_RATE:
            measured = _measured_rate(self._capture) or rate
            self._capture.release()
            self._capture = open_capture(source, connection.wait, max_pixels)
            if abs(measured / rate - 1) > _RATE_TOLERANCE:
                rate, count = measured, max(count * measured / rate, 1)
        self.rate = rate if math.isfinite(rate) and 0 < rate <= 1000 else DEFAULT_RATE
        known = not isinstance(source, int) and math.isfinite(count) and count > 0
        self.count = int(count) if known else None
        self.reconnections = 0
        self.lost: str | None = None

    @property
    def is_live(self) -> bool:
        """Whether frames that are not read in time are lost: of a camera, or a stream that states no length."""
        return self.count is None and not isinstance(self.source, Path)

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
        self.lost = self._cut_off(number, time_ms + step)

    def _cut_off(self, number: int, end_ms: float) -> str | None:
        """That the file ended after `number` frames, if that is early by the frames and the duration that it states."""
        assert self.count
        duration_ms = 1000 * self.count / self.rate
        if number and number < _LEAST_SHARE * self.count and end_ms < _LEAST_SHARE * duration_ms:
            seconds = f"{end_ms / 1000:.1f} of {duration_ms / 1000:.1f} s"
            return f"{self.source}: ended after {number} of {self.count} frames, {seconds}; the file may be cut off"
        return None

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


def _measured_rate(capture: cv2.VideoCapture) -> float | None:
    """Frames per second by the times of the next frames, which are read; None if their times do not increase."""
    times: list[float] = []
    while len(times) < _MEASURED_FRAMES and capture.grab():
        times.append(capture.get(cv2.CAP_PROP_POS_MSEC))
    passed = times[-1] - times[0] if times else 0
    return 1000 * (len(times) - 1) / passed if math.isfinite(passed) and passed > 0 else None
