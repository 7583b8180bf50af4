"""Detect the text in pictures, videos, or the pictures of a camera.

    python3 detect.py --pretrain-model best.pt --output-dir OUT photos/ 'more/*.jpg' clip.mp4
    python3 detect.py --pretrain-model best.pt --output-dir OUT --every 5 --track --format jsonl clip.mp4
    python3 detect.py --pretrain-model best.pt --output-dir OUT 0             # camera 0, until Ctrl-C
    python3 detect.py --pretrain-model model.onnx --output-dir OUT photos/    # without PyTorch, see export.py
    python3 detect.py --pretrain-model best.pt --output-dir OUT rtsp://10.0.0.7/live

Writes to OUT: det_NAME.jpg (det_NAME.mp4 at the video's mean frame rate) with the words outlined, and res_NAME.txt in
ICDAR's format (res_NAME_FRAME.txt for a frame of a video) or detections.jsonl with one frame a line. NAME is the
input's name; inputs of one name get longer ones (a__same, b__same; clip.avi). Files that are no results of this
command are never overwritten.

From Python:

    from detect import load_detector
    quads, scores = load_detector("best.pt").detect("street.jpg")
"""

import utils.runtime.openmp  # noqa: F401  # isort: skip  (PyTorch reads its setting when it is loaded)
import argparse
import contextlib
import glob
import os
from collections.abc import Iterable
from pathlib import Path

from utils.base_detector import BaseDetector
from utils.data.folder_contents import note_unused_files
from utils.data.formats.folder import natural_order
from utils.data.images import IMAGE_SUFFIXES, LONGEST_JPEG, UnreadableImage, read_image, write_image
from utils.data.pages import count_pictures
from utils.data.video import Connection, UnreadableVideo, VideoReader, stream_or_camera
from utils.data.video_sources import Source, shown_source
from utils.deploy.detectors import load_detector
from utils.errors import UserError, printable, run_script
from utils.evaluation.detection_results import Results, is_picture
from utils.evaluation.drawing import draw_quads
from utils.evaluation.video_results import VideoResults
from utils.options.detecting import add_detecting_options
from utils.options.parser import Parser
from utils.options.reading import read_options
from utils.runtime.files import refuse_overlap
from utils.runtime.pipeline import Ahead, Behind, Newest
from utils.runtime.progress import progress, write_line
from utils.runtime.signals import stop_like_ctrl_c

__all__ = ["load_detector"]

VIDEO_SUFFIXES = {".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv"}
"""Files of a folder that are read as videos; a file that is named itself may have any suffix."""

QUEUED_FRAMES = 4
"""Frames of a video that are read ahead, and as many that wait to be written."""


def build_parser() -> Parser:
    parser = Parser(__doc__)
    add_detecting_options(parser)
    return parser


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    return build_parser().parse_args(arguments)


def main(args: argparse.Namespace) -> None:
    sources = expand_inputs(args.inputs)
    refuse_overlap([args.output_dir], [path for path in args.inputs if os.path.isdir(path)], inside=False)
    detector = load_detector(
        args.pretrain_model,
        ngpus=args.ngpus,
        threads=args.threads,
        backend=args.backend,
        short_side=args.short_side,
        score_threshold=args.score_threshold,
        nms_threshold=args.nms_threshold,
        word_threshold=args.word_threshold,
        reject_below=args.reject_below,
    )
    detector.reading = read_options(args)
    print(f"device  {detector.runs_on}")
    output = Results(args.output_dir, args.format, not args.no_pictures)
    output.name_sources(sources)
    for folder in filter(Path.is_dir, map(Path, args.inputs)):
        note_unused_files(filter(Path.is_file, folder.iterdir()), IMAGE_SUFFIXES | VIDEO_SUFFIXES, output.problems)
    for source in progress(sources, desc="detect", unit="input"):
        try:
            if is_picture(source):
                detect_picture(source, detector, output)
            else:
                connection = Connection(args.reconnect, args.wait)
                with VideoReader(source, detector.reading.max_pixels, connection) as reader:
                    detect_video(reader, detector, output, args)
        except (UnreadableImage, UnreadableVideo) as error:
            output.problems.add("inputs unreadable, left out", str(error))
            write_line(f"left out: {printable(error)}")
    if output.problems:
        print(f"left out:\n{output.problems}")
    if not output.frames:
        raise UserError(f"none of the {len(sources)} inputs could be read; the first is {shown_source(sources[0])}")
    rejected = f", {detector.rejected} of them rejected" if detector.reject_below else ""
    print(f"{printable(args.output_dir)}: {output.words} words in {output.frames} frames{rejected}")


def expand_inputs(inputs: list[str]) -> list[Source]:
    """Files in the given order, each once: the pictures and videos of folders and globs; numbers are cameras."""
    sources: list[Source] = []
    for text in inputs:
        path = Path(text)
        if (live := stream_or_camera(text)) is not None:
            sources.append(live)
        elif path.is_dir():
            found = in_order(each for each in path.iterdir() if each.suffix.lower() in IMAGE_SUFFIXES | VIDEO_SUFFIXES)
            if not found:
                raise UserError(
                    f"{path}: no picture and no video in it; give another, or '{path}/**/*' for its folders"
                )
            sources += found
        elif path.exists():
            sources.append(path)
        elif text.isdecimal():
            sources.append(int(text))
        elif matching := in_order(filter(Path.is_file, map(Path, glob.glob(text, recursive=True)))):
            sources += matching
        else:
            raise UserError(f"{text}: no such file or folder, and no file matches this pattern; check the path")
    return list(dict.fromkeys(sources))


def in_order(paths: Iterable[Path]) -> list[Path]:
    """The paths in natural order: img_2 before img_10."""
    return sorted(paths, key=lambda path: natural_order(str(path)))


def detect_picture(path: Path, detector: BaseDetector, output: Results) -> None:
    """Write a picture's words, and the picture with its words. Raises `UnreadableImage`."""
    image = read_image(path, detector.reading)
    quads, scores = detector.detect(image)
    output.write(path, None, quads, scores)
    if (pages := count_pictures(path)) > 1:
        output.problems.add("files of several pictures, only the first one is read", f"{path}: {pages} pictures")
    if not output.pictures:
        return
    if max(image.shape) > LONGEST_JPEG:
        output.problems.add("pictures too long for a JPEG, not written", f"{path}: {max(image.shape)} pixels")
        return
    write_image(output.picture_of(path), draw_quads(image, quads))


def detect_video(reader: VideoReader, detector: BaseDetector, output: Results, args: argparse.Namespace) -> None:
    """Write the words of every Nth frame, or of all, and a video of all frames with the words.

    Frames are read, detected from, and written in three threads. A live source loses the frames that come faster; a
    file loses none. An unreadable frame is counted. Ctrl-C ends a camera or stream. Raises `UnreadableVideo` if no
    frame can be read.
    """
    source, shown, due = reader.source, shown_source(reader.source), 0
    with contextlib.ExitStack() as stack:
        results = stack.enter_context(VideoResults(reader, output, args.track))
        written = stack.enter_context(Behind(results.add, QUEUED_FRAMES))
        live = reader.is_live
        frames = stack.enter_context(Newest(reader.frames()) if live else Ahead(reader.frames(), QUEUED_FRAMES))
        name = printable(output.name_of(source))
        bar = stack.enter_context(progress(total=reader.count, desc=name, unit="frame"))
        if not isinstance(source, Path):
            stack.enter_context(contextlib.suppress(KeyboardInterrupt))
        for frame in frames:
            bar.update()
            found = None
            if frame.image is None:
                output.problems.add("video frames unreadable, left out", f"{shown}: frame {frame.number}")
            elif frame.number >= due:
                found = detector.detect(frame.image)
                due = frame.number + args.every - frame.number % args.every
            written.put(frame, found)
    if not results.readable:
        raise UnreadableVideo(f"{shown}: no frame in it can be read")
    if isinstance(frames, Newest):
        output.problems.add(
            "frames of a live source that came faster than they were detected from", shown, frames.dropped
        )
    output.problems.add("breaks of a camera or stream: the frames meanwhile", shown, reader.reconnections)
    if reader.lost:
        output.problems.add("inputs that ended early, their frames until then are kept", reader.lost)


if __name__ == "__main__":
    stop_like_ctrl_c()
    run_script(lambda: main(parse_args()))
