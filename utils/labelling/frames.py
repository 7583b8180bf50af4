"""The frames of a video, or of a folder of pictures, and which of them are chosen for annotation."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from utils.data.formats.folder import Folder
from utils.data.formats.names import clean_name
from utils.data.image_types import ReadOptions
from utils.data.images import UnreadableImage, read_image
from utils.data.problems import Problems
from utils.data.video import UnreadableVideo, VideoReader
from utils.errors import UserError

VIDEO_EVERY, FOLDER_EVERY = 10, 1
"""Of how many frames one is chosen, where the command line does not say."""

_THUMBNAIL = 48, 32


class SourceFrame(NamedTuple):
    """A frame of a video or a picture of a folder."""

    name: str
    """Of its picture in the output, with forward slashes."""
    number: int
    time_ms: float | None
    """None for a picture of a folder."""
    image: np.ndarray
    """(H, W, 3) uint8 RGB."""
    path: Path | None = None
    """The picture's file; None for a frame of a video."""


def picture_names(source: Path) -> list[tuple[str, str]]:
    """(name in the source, name in the output) of a folder's pictures, readable or not; [] for a video."""
    names = Folder(source).images if source.is_dir() else []
    return [(name, clean_name(name, Problems())) for name in names]


def iterate_frames(source: Path, reading: ReadOptions, problems: Problems) -> Iterator[SourceFrame]:
    """The readable frames in order; others are counted. Raises `UserError` for a source without any."""
    if not source.exists():
        raise UserError(f"{source}: there is no such file or folder; check the path")
    frames = _pictures(source, reading, problems) if source.is_dir() else _video_frames(source, reading, problems)
    first = next(frames, None)
    if first is None:
        raise UserError(f"{source}: it has no picture or frame that can be read{problems.first()}")
    yield first
    yield from frames


def _pictures(folder: Path, reading: ReadOptions, problems: Problems) -> Iterator[SourceFrame]:
    for number, name in enumerate(Folder(folder).images):
        try:
            image = read_image(folder / name, reading)
            yield SourceFrame(clean_name(name, problems), number, None, image, folder / name)
        except UnreadableImage as error:
            problems.add("pictures unreadable, left out", str(error))


def _video_frames(video: Path, reading: ReadOptions, problems: Problems) -> Iterator[SourceFrame]:
    try:
        reader = VideoReader(video, reading.max_pixels)
    except UnreadableVideo as error:
        raise UserError(f"{error}; give a video or a folder of pictures") from None
    stem = clean_name(video.stem, problems)
    with reader:
        for frame in reader.frames():
            if frame.image is None:
                problems.add("frames unreadable, left out", f"{video}: frame {frame.number}")
                continue
            yield SourceFrame(f"{stem}_{frame.number:06d}.jpg", frame.number, frame.time_ms, frame.image)


class Chooser:
    """Chooses frames for annotation: each Nth one, or each that differs enough from the one chosen before.

    every: N. change: the least difference, 0 to 1: 1 minus the correlation of the two pictures, reduced to 48x32 grey
    pixels; if given, `every` is the least number of frames between two chosen ones.
    """

    def __init__(self, every: int, change: float | None = None):
        self.every, self.change = every, change
        self._last: tuple[int, np.ndarray] | None = None

    def chooses(self, frame: SourceFrame) -> bool:
        """Whether this frame is chosen. Frames are given in their order."""
        if self._last and frame.number - self._last[0] < self.every:
            return False
        thumbnail = _thumbnail(frame.image) if self.change is not None else np.zeros(0, np.float32)
        if self._last and self.change is not None and _difference(thumbnail, self._last[1]) < self.change:
            return False
        self._last = frame.number, thumbnail
        return True


def _difference(one: np.ndarray, other: np.ndarray) -> float:
    """1 minus the correlation of two thumbnails; 0 for two pictures of a single colour each, which have none."""
    return 1 - float((one * other).sum()) if one.any() or other.any() else 0.0


def _thumbnail(image: np.ndarray) -> np.ndarray:
    """Float32 pixels with mean 0 and norm 1."""
    small = cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), _THUMBNAIL, interpolation=cv2.INTER_AREA)
    pixels = small.astype(np.float32) - small.mean()
    return pixels / max(float(np.linalg.norm(pixels)), 1e-6)
