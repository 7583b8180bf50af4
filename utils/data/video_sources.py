"""Where frames come from: a video file, a camera, or the address of a stream; how each is opened and named."""

import math
import os
import re
from pathlib import Path
from typing import NamedTuple

import cv2

from utils.runtime.inputs import foreign_type, open_regular

SCHEMES = "rtsp", "rtsps", "rtmp", "http", "https", "udp", "tcp", "srt"
"""Of addresses that are read as streams. OpenCV's build of FFmpeg decides which of them it opens."""

_LAST_CAMERA = 2**31 - 1
"""OpenCV takes no larger number."""

Source = Path | int | str
"""A file, the number of a camera, or the address of a stream."""


class UnreadableVideo(Exception):
    """A source without any frame; the message names it and the reason."""


class Connection(NamedTuple):
    """How long a camera or stream is waited for."""

    reconnect: int = 5
    """Attempts in a row to open a lost source again."""
    wait: float = 10.0
    """Seconds: the longest wait for an opening, and for a frame."""


DEFAULT_CONNECTION = Connection()


def stream_or_camera(text: str) -> str | int | None:
    """The address of a stream, or the number of a camera (`/dev/video0`, or a link to it); None for other texts."""
    if is_stream(text):
        return text
    if text.startswith("/dev/") and (device := re.fullmatch(r"/dev/video(\d+)", os.path.realpath(text))):
        return int(device[1])
    return None


def is_stream(text: str) -> bool:
    scheme, separator, rest = text.partition("://")
    return bool(separator and rest) and scheme.lower() in SCHEMES


def shown_source(source: Source) -> str:
    """The source as printed and written: an address without user name, password and query."""
    if not isinstance(source, str):
        return f"camera {source}" if isinstance(source, int) else str(source)
    scheme, _, rest = source.partition("://")
    place, path = re.findall(r"^([^/?#]*)([^?#]*)", rest)[0]
    return f"{scheme.lower()}://{place.rpartition('@')[2]}{path}"


def is_utf8(path: str | Path) -> bool:
    """Whether a path or address is valid UTF-8. OpenCV's functions for videos crash on others."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def source_stem(source: Source) -> str:
    """The start of the names of a source's results: a file's stem, `camera0`, or an address's host and path."""
    if isinstance(source, Path):
        return source.stem
    if isinstance(source, int):
        return f"camera{source}"
    return re.sub(r"[^\w.-]+", "_", shown_source(source).partition("://")[2]).strip("_.")[:100] or "stream"


def open_capture(source: Source, wait: float, max_pixels: int) -> cv2.VideoCapture:
    """The opened source. wait: as in `Connection`. Raises `UnreadableVideo`, also for frames beyond max_pixels."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # damage is counted, not logged
    os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", str(math.ceil(wait)))
    if not isinstance(source, int) and not is_utf8(source):
        raise UnreadableVideo(f"{shown_source(source)}: OpenCV cannot open a video whose path is not UTF-8; rename it")
    if isinstance(source, Path):
        _refuse_foreign(source)
        path = os.path.join(os.curdir, source)  # FFmpeg takes a name such as 12:30.mp4 for an address
        capture, missing = cv2.VideoCapture(path), "no picture and no video that OpenCV can read"
    elif isinstance(source, int):
        if source > _LAST_CAMERA:
            raise UnreadableVideo(f"{shown_source(source)}: no camera has such a number; check it")
        capture, missing = cv2.VideoCapture(source), "not there, or in use by another program"
    else:
        limits = [
            cv2.CAP_PROP_OPEN_TIMEOUT_MSEC,
            round(1000 * wait),
            cv2.CAP_PROP_READ_TIMEOUT_MSEC,
            round(1000 * wait),
        ]
        capture = cv2.VideoCapture(source, cv2.CAP_FFMPEG, limits)
        missing = f"no stream that OpenCV can read came within {wait:g} s; check the address, or raise --wait"
    if not capture.isOpened():
        raise UnreadableVideo(f"{shown_source(source)}: {missing}")
    width, height = (capture.get(key) for key in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
    if width * height > max_pixels:
        capture.release()
        limit = f"at most {max_pixels} are read (--max-pixels)"
        raise UnreadableVideo(f"{shown_source(source)}: frames of {width:.0f}x{height:.0f} pixels; {limit}")
    return capture


def _refuse_foreign(source: Path) -> None:
    """Raise `UnreadableVideo` for what is no regular file, or known to be something else than a video."""
    try:
        with open_regular(source) as file:
            foreign = foreign_type(file.read(64))
    except (OSError, ValueError) as error:
        raise UnreadableVideo(f"{source}: {getattr(error, 'strerror', None) or error}") from None
    if foreign and "video" not in foreign:
        raise UnreadableVideo(f"{source}: no video but {foreign}")
