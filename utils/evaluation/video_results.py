"""The results of a video, frame by frame: words written, followed from frame to frame if wanted, and drawn."""

import os

import numpy as np

from utils.data.video import VideoFrame, VideoReader, VideoWriter
from utils.data.video_writer import UnwritableVideo
from utils.errors import printable
from utils.evaluation.detection_results import Results
from utils.evaluation.drawing import draw_quads, draw_tracks
from utils.runtime.progress import write_line
from utils.tracking.steady_words import SteadyVideo, SteadyWords

Detections = tuple[np.ndarray, np.ndarray]
"""Quads (K, 4, 2) in the frame's pixels, scores (K,)."""


class VideoResults:
    """Writes the results of a video's frames, which are `add`ed in order; use it in a `with` block.

    Without `track`, the frames that were detected from have results, and in the written video the others keep their
    words. With it, all frames have, see `utils.tracking.steady_words`.

    readable: the number of frames with a picture so far.
    """

    def __init__(self, reader: VideoReader, output: Results, track: bool):
        self.readable = 0
        self._source, self._output = reader.source, output
        self._writer: VideoWriter | None = None
        if output.pictures:
            self._writer = VideoWriter(output.picture_of(reader.source), reader.rate)
        self._steady = SteadyVideo() if track else None
        self._image: np.ndarray | None = None
        self._words: Detections | SteadyWords = np.zeros((0, 4, 2)), np.zeros(0)

    def add(self, frame: VideoFrame, found: Detections | None) -> None:
        """The next frame. found: what was detected in it; None: nothing was detected from.

        In place of an unreadable frame, the one before it is written. A video that cannot be written is a problem of
        the output; its words are. Raises OSError and `UserError`.
        """
        if frame.image is not None:
            self.readable, self._image = self.readable + 1, frame.image
            if self._steady:
                self._words = self._steady.next(frame.image, found)
                self._output.write(self._source, frame, *self._words)
            elif found:
                self._words = found
                self._output.write(self._source, frame, *found)
        if self._writer and self._image is not None:
            draw = draw_tracks if self._steady else draw_quads
            quads, _, *tracks = self._words
            try:
                self._writer.write(draw(self._image, quads, *tracks), frame.time_ms)
            except UnwritableVideo as error:
                self._output.problems.add("videos not written, their words are", str(error))
                self._writer = None

    def __enter__(self) -> "VideoResults":
        return self

    def __exit__(self, kind, error: BaseException | None, traceback) -> None:
        """Give the written video its name; the part of one that is ended early gets another if an earlier run's exists.

        Raises as `VideoWriter`.
        """
        end = f"{self._output.name_of(self._source)}: ended early, with {self.readable} frames"
        if self._writer:
            path = self._writer.path
            if error and self.readable and os.path.lexists(path):
                self._writer.path = self._output.part_of(self._source)
                end += f"; {path.name} is of an earlier run, the part of this one is {self._writer.path.name}"
            self._writer.__exit__(kind, error, traceback)
        if isinstance(error, KeyboardInterrupt):
            write_line(printable(end))
