"""CVAT for video: tracks of shapes at frames, interpolated between key frames.

A track's shape holds from its frame on. Between two shapes a box's sides and rotation, or a polygon's corners, move
evenly, also towards one that is outside; two polygons of different numbers of corners are interpolated by the
smallest rectangles around them. From a shape with `outside="1"` on the track is not visible. The last shape holds
until the task's last frame.

The frames are pictures whose name ends in the number of the frame: `frame_000017.png` as CVAT exports them, or
`NAME_000017.jpg` as `tools.extract_frames` does. Frames that are not in the folder are not read: a video can be
annotated as a whole and trained on with every fifth frame.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from typing import NamedTuple
from xml.etree.ElementTree import Element

import numpy as np

from utils.data.formats.base import Source
from utils.data.formats.entries import Entry, Malformed, Shape, WordList, parse_numbers
from utils.data.formats.shapes import rotated_box, smallest_rectangle

_LAST_FRAME = 10_000_000


class _Position(NamedTuple):
    """A track's shape at one frame."""

    frame: int
    outside: bool
    shape: Shape
    box: np.ndarray | None
    """(5,) left, top, right, bottom, rotation of a box; None for a polygon."""


def read_tracks(document: Element, source: Source, shape_of: Callable[[Element, str | None], Shape]) -> Iterator[Entry]:
    """The images of the frames in the folder and their words. shape_of: reads a `<box>` or `<polygon>`."""
    images = _frame_images(source)
    if not images:
        raise Malformed(
            "it has tracks, but the folder has no frames: write them with tools.extract_frames, or export with images"
        )
    words = {frame: WordList(f"{source.file}: frame {frame}", source.problems) for frame in images}
    last = _last_frame(document, max(images))
    for number, track in enumerate(document.iter("track")):
        place = WordList(f"{source.file}: track {track.get('id', number)}", source.problems)
        positions = _positions(track, place, shape_of)
        for frame in images:
            if frame <= last and (shape := _at(positions, frame)):
                words[frame].add(shape)
    size = [document.findtext(f"meta/*/original_size/{side}") for side in ("height", "width")]
    for frame, name in sorted(images.items()):
        yield words[frame].entry(name, size=size)


def _frame_images(source: Source) -> dict[int, str]:
    """Frame number -> image. Raises `Malformed` for two images of one number."""
    images: dict[int, str] = {}
    for name in source.folder.images:
        if number := re.search(r"(\d+)$", PurePosixPath(name).stem):
            if (frame := int(number[1])) in images:
                raise Malformed(f"{images[frame]} and {name} are both frame {frame}; keep one video's frames a folder")
            images[frame] = name
    return images


def _last_frame(document: Element, highest: int) -> int:
    """The task's last frame by `stop_frame` or `size`; where neither is given, the highest of the images."""
    for path, before in (("meta/*/stop_frame", 0), ("meta/*/size", 1)):
        text = (document.findtext(path) or "").strip()
        if text.isdecimal() and len(text) < 10 and int(text) - before >= 0:
            return int(text) - before
    return highest


def _positions(track: Element, words: WordList, shape_of: Callable) -> list[_Position]:
    """A track's shapes in the order of their frames."""
    found = {}
    for number, element in enumerate(track):
        with words.entry_of(f"{element.tag} {number}"):
            if element.tag not in ("box", "polygon"):
                raise Malformed(f"<{element.tag}>; expected a box or a polygon")
            (frame,) = parse_numbers([element.get("frame")])
            if not (0 <= frame <= _LAST_FRAME and frame == int(frame)):
                raise Malformed(f"frame {element.get('frame')}; expected a whole number from 0")
            shape = shape_of(element, track.get("label"))
            box = None
            if element.tag == "box":
                box = parse_numbers([element.get(key, "0") for key in ("xtl", "ytl", "xbr", "ybr", "rotation")])
            found[int(frame)] = _Position(int(frame), element.get("outside") == "1", shape, box)
    return [found[frame] for frame in sorted(found)]


def _at(positions: list[_Position], frame: int) -> Shape | None:
    """The track's shape at a frame; None where it is not visible."""
    before = [position for position in positions if position.frame <= frame]
    if not before or before[-1].outside:
        return None
    first = before[-1]
    if len(before) == len(positions) or first.frame == frame:
        return first.shape
    second = positions[len(before)]
    share = (frame - first.frame) / (second.frame - first.frame)
    return first.shape._replace(points=_between(first, second, share))


def _between(first: _Position, second: _Position, share: float) -> np.ndarray:
    if first.box is not None and second.box is not None:
        box = first.box + share * (second.box - first.box)
        turn = (second.box[4] - first.box[4] + 180) % 360 - 180  # the shorter way round
        return rotated_box(box[:4], first.box[4] + share * turn)
    start, end = first.shape.points, second.shape.points
    if len(start) != len(end):
        start, end = smallest_rectangle(start), smallest_rectangle(end)
    return start + share * (end - start)
