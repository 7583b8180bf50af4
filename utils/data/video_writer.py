"""Writes video files that appear under their names only if they are whole."""

import errno
import os
import shutil
from pathlib import Path

import cv2
import numpy as np

from utils.data.video_sources import is_utf8
from utils.errors import UserError
from utils.runtime.files import make_locked, temporary_prefix, umask

_LONGEST_GAP = 60.0
"""Seconds without a frame that a written video shows as such; a longer gap is shortened."""

_MOST_TICKS = 65_535
"""MPEG-4 counts time in whole fractions of a second, at most so many."""

_LEAST_RATE = 0.01
"""Frames per second; a slower video repeats its frames."""

_FRAMES_BETWEEN_CHECKS = 50
_LEAST_ROOM = 1 << 16
"""Bytes; a disk with less room counts as full while a video is written."""


class UnwritableVideo(UserError):
    """A video that OpenCV cannot write, though the disk has room; the message names it and the reason."""


def check_path(path: Path) -> None:
    """Raise `UnwritableVideo` if OpenCV cannot write a video of this path, or in this folder, for its name."""
    if not is_utf8(os.path.abspath(path)):
        cure = "rename it, or give --no-pictures"
        raise UnwritableVideo(f"{path}: OpenCV cannot write a video whose path is not UTF-8; {cure}")


class VideoWriter:
    """Writes an .mp4 of a constant rate, opened at its first frame, which sets the size. Use it in a `with` block.

    Where frames come with their times, each frame of the file shows the latest one whose time is at most half a
    frame's duration later: frames are repeated in pauses and left out where they follow each other faster.

    At the end of the block the file is checked and gets its name, so that no unplayable file has it: OpenCV does not
    report a full disk.

    rate: frames per second, as near to the given rate as the codec has it.
    """

    def __init__(self, path: Path, rate: float):
        self.path, self.rate = path, writable_rate(rate)
        self._temporary = path  # another file from the first frame on
        self._lock: int | None = None
        self._writer: cv2.VideoWriter | None = None
        self._picture: np.ndarray | None = None
        self._position = -1
        self._start_ms: float | None = None
        self._written = 0

    def write(self, frame: np.ndarray, time_ms: float | None = None) -> None:
        """Append a frame, (H, W, 3) uint8 RGB; one of another size than the first is resized.

        time_ms: its time; None: one frame after the one before. Raises `UnwritableVideo` if the file cannot be opened
        for writing, OSError if the disk is full.
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
                self._written += 1
                if self._written % _FRAMES_BETWEEN_CHECKS == 0 and (full := _disk_full(self.path)):
                    raise full

    def _open(self, width: int, height: int) -> None:
        check_path(self.path)
        try:
            handle, self._lock, name = make_locked(self.path.parent, temporary_prefix(self.path), ".mp4")
        except OSError as error:
            error.filename = str(self.path)
            raise
        os.close(handle)
        self._temporary = Path(name)
        code = cv2.VideoWriter.fourcc(*"mp4v")
        writer = cv2.VideoWriter(str(self._temporary), code, self.rate, (width, height))
        if not writer.isOpened():
            full = _disk_full(self.path)
            self._remove()
            what = f"a video of {width}x{height} at {self.rate:g} frames a second"
            cure = "check the folder, or give --no-pictures"
            raise full or UnwritableVideo(f"{self.path}: {what} could not be opened for writing; {cure}")
        self._writer = writer

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(self, _, error: BaseException | None, *__) -> None:
        """Check the file and give it its name. Raises OSError or `UserError`, but not while another error passes."""
        if self._writer is None:
            return
        full = error if isinstance(error, OSError) else None
        try:
            if not full:
                self._repeat(1)
        except OSError as reason:
            full = reason
        full = full or _disk_full(self.path)  # before the file is removed, which makes room
        self._writer.release()
        if _holds(self._temporary, self._written):
            os.chmod(self._temporary, 0o666 & ~umask())
            os.replace(self._temporary, self.path)
            self._unlock()
            return
        full = full or _disk_full(self.path)
        self._remove()
        if error is None:
            what = "the video could not be written completely; check the disk, or give --no-pictures"
            raise full or UserError(f"{self.path}: {what}")

    def _remove(self) -> None:
        self._temporary.unlink(missing_ok=True)
        self._unlock()

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def writable_rate(rate: float) -> float:
    """The nearest rate that MPEG-4 has, in frames per second: with 3 decimals up to 65, 2 up to 655, 1 up to 6553."""
    decimals = next((count for count in (3, 2, 1) if rate * 10**count <= _MOST_TICKS), 0)
    return max(round(rate, decimals), _LEAST_RATE)


def _disk_full(path: Path) -> OSError | None:
    """The error of a full disk if the disk of this path is full."""
    if shutil.disk_usage(path.parent).free >= _LEAST_ROOM:
        return None
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def _holds(path: Path, frames: int) -> bool:
    """Whether the file is a video of so many frames whose last one can be read."""
    capture = cv2.VideoCapture(str(path))
    try:
        if int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) != frames or not capture.read()[0]:
            return False
        capture.set(cv2.CAP_PROP_POS_FRAMES, frames - 1)
        return frames == 1 or capture.read()[0]
    finally:
        capture.release()
