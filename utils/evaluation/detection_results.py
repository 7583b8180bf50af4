"""What `detect.py` writes: a text file for each picture and frame, or detections.jsonl; and the names of the files."""

import contextlib
import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TypeGuard

import numpy as np

from utils.data.images import IMAGE_SUFFIXES
from utils.data.problems import Problems
from utils.data.video import VideoFrame
from utils.data.video_sources import Source, shown_source, source_stem
from utils.data.video_writer import check_path
from utils.evaluation.result_files import write_results
from utils.runtime.files import append_line, refuse_overlap, write_file
from utils.runtime.results import ResultFolder


class Results:
    """The results of a run in a folder, with counts of frames, words and problems.

    file_format: one of `utils.options.detecting.FORMATS`. pictures: whether pictures and videos are written.
    """

    def __init__(self, folder: Path, file_format: str, pictures: bool):
        self.folder, self.file_format, self.pictures = folder, file_format, pictures
        self.frames = self.words = 0
        self.problems = Problems()
        self._pictures = ResultFolder(folder, "detect-pictures", r"det_(.+)\.jpg", r"res_(.+)\.txt")
        self._videos = ResultFolder(folder, "detect-videos", r"det_(.+)\.mp4", r"res_(.+)_\d{6,}\.txt")
        self._names: dict[Source, str] = {}
        self._begun: set[Source] = set()
        self._lines: Path | None = None
        if file_format == "jsonl":
            self._lines = self._pictures.claim("detections.jsonl")

    def name_sources(self, sources: list[Source]) -> None:
        """Give all sources the names of their results.

        Raises `UserError` if a picture to write is a source itself, or if videos cannot be written in the folder. The
        files of a video's frames must not be those of pictures, which may be its frames, extracted.
        """
        pictures = [source for source in sources if is_picture(source)]
        videos: dict[Source, Path | str] = {}
        for source in sources:
            if isinstance(source, Path):
                videos |= {} if is_picture(source) else {source: source}
            elif source not in videos:
                stem, others = source_stem(source), [each for each in videos.values() if isinstance(each, str)]
                videos[source] = f"{stem}-{len(others) + 1}" if stem in others else stem
        of_videos = self._name_videos(videos.values())
        frames_of = set(self._videos.names)
        of_pictures = self._pictures.name_sources(pictures, lambda name: _video_of(name) not in frames_of)
        self._names |= {source: of_pictures[source] for source in pictures}
        self._names |= {source: of_videos[video] for source, video in videos.items()}
        written = [self.picture_of(source) for source in sources]
        refuse_overlap(written, [source for source in sources if isinstance(source, Path)], inside=False)
        if videos and self.pictures:
            check_path(self.folder)
        for named in (self._pictures, self._videos):
            named.save()

    def _name_videos(self, videos: Iterable[Path | str]) -> dict[Path | str, str]:
        frames_of = {_video_of(name) for name in self._pictures.names}
        return self._videos.name_sources(videos, lambda name: name not in frames_of)

    def name_of(self, source: Source) -> str:
        return self._names[source]

    def picture_of(self, source: Source) -> Path:
        """The picture, or video, with the words of a source."""
        return self.folder / f"det_{self.name_of(source)}.{'jpg' if is_picture(source) else 'mp4'}"

    def part_of(self, source: Source) -> Path:
        """A new path for a video that ends early, where `picture_of` is that of an earlier run."""
        part = f"{self.name_of(source)}-part"
        name = self._name_videos([part])[part]
        with contextlib.suppress(OSError):  # a full disk; a file that is not on the list is never overwritten
            self._videos.save()
        return self.folder / f"det_{name}.mp4"

    def write(
        self,
        source: Source,
        frame: VideoFrame | None,
        quads: np.ndarray,
        scores: np.ndarray,
        tracks: np.ndarray | None = None,
    ) -> None:
        """Write the words of a picture, or of a video's frame.

        The first ones replace the detections.jsonl of an earlier run; a video's first ones, all its text files of an
        earlier run, which may be of other frames. frame: None for a picture. tracks: (K,) numbers of the words through
        the video, for detections.jsonl.
        """
        if self._lines:
            if not self.frames:
                write_file(self._lines, "")
            words = [
                {"quad": [[round(x, 2), round(y, 2)] for x, y in quad], "score": round(score, 4)}
                for quad, score in zip(quads.tolist(), scores.tolist(), strict=True)
            ]
            if tracks is not None:
                words = [{"track": track} | word for track, word in zip(tracks.tolist(), words, strict=True)]
            number, time_ms = (frame.number, round(frame.time_ms, 3)) if frame else (None, None)
            line = {"source": shown_source(source), "frame": number, "time_ms": time_ms, "words": words}
            append_line(self._lines, json.dumps(line, ensure_ascii=False))
        else:
            if frame and source not in self._begun:
                self._begun.add(source)
                self._remove_frames(self.name_of(source))
            path = self.folder / f"res_{self.name_of(source)}{_frame_end(frame.number) if frame else ''}.txt"
            write_results(path, quads, scores if self.file_format == "txt-scores" else None)
        self.frames, self.words = self.frames + 1, self.words + len(quads)

    def _remove_frames(self, name: str) -> None:
        """Remove the text files of the frames of the video of this name."""
        pattern = re.compile(rf"res_{re.escape(name)}(_(\d+))\.txt", re.DOTALL | re.ASCII)
        for file in os.listdir(self.folder):
            if (found := pattern.fullmatch(file)) and found[1] == _frame_end(int(found[2])):
                (self.folder / file).unlink()


def is_picture(source: Source) -> TypeGuard[Path]:
    return isinstance(source, Path) and source.suffix.lower() in IMAGE_SUFFIXES


def _frame_end(number: int) -> str:
    """How the name of a frame's text file ends."""
    return f"_{number:06}"


def _video_of(name: str) -> str | None:
    """The name of the video whose frame's results would have this name."""
    found = re.fullmatch(r"(.+)_\d{6,}", name, re.DOTALL)
    return found[1] if found else None
