"""Frames of a video as pictures, to be annotated or inspected.

    python3 -m tools.extract_frames VIDEO --every N --out DIR

Writes DIR/<video's name>_<frame's number>.jpg for frame 0, N, 2N, ... If DIR has frames of another video of that name,
or other such files, the name gets longer (clip.avi_000000.jpg). Frames of an earlier run with another N stay, as they
may be annotated; they are counted. Damaged frames are counted and listed; reading goes on after them.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from utils.data.images import write_image
from utils.data.problems import Problems
from utils.data.video import UnreadableVideo, VideoReader
from utils.errors import UserError, printable, run_script
from utils.options.parser import Parser, nonempty_path, option, whole_number
from utils.runtime.results import ResultFolder


def read_frames(video: Path, every: int, problems: Problems) -> Iterator[tuple[int, np.ndarray]]:
    """(number, (H, W, 3) uint8 RGB) of every `every`-th frame, from frame 0 on.

    Unreadable frames, wanted or not, are added to problems. Raises `UserError` for a video without any frame.
    """
    try:
        reader = VideoReader(video)
    except UnreadableVideo as error:
        raise UserError(f"{error}; give a video, as mp4 (H.264) or avi (MJPEG)") from None
    number = -1
    with reader:
        bar = tqdm(reader, desc=printable(video.name), total=reader.count, unit="frame", leave=False, disable=None)
        for number, frame in enumerate(bar):
            if frame is None:
                problems.add("frames unreadable, left out", f"{video}: frame {number}")
            elif number % every == 0:
                yield number, frame
    if number < 0:
        raise UserError(f"{video}: OpenCV reads no frame of it; convert it to mp4 (H.264) or avi (MJPEG)")


def build_parser() -> Parser:
    parser = Parser(__doc__)
    parser.add_argument("video", type=Path, metavar="VIDEO", help="a video file")
    option(parser, "--every N", whole_number(1), 30, "write one frame in N")
    option(parser, "--out DIR", nonempty_path, None, "folder for the pictures", required=True)
    return parser


def main() -> None:
    args = build_parser().parse_args()
    written: set[str] = set()
    earlier: set[str] = set()
    problems, name = Problems(), None
    for number, frame in read_frames(args.video, args.every, problems):
        if name is None:  # the first frame: the video can be read
            results = ResultFolder(args.out, "extract_frames", r"(.+)_\d{6,}\.jpg")
            name = results.name_sources([args.video])[args.video]
            results.save()
            earlier = results.files_of(name)
        file = f"{name}_{number:06d}.jpg"
        write_image(args.out / file, frame)
        written.add(file)
    others = f"; {len(earlier - written)} of an earlier run stay" if earlier - written else ""
    print(f"{printable(args.out)}: {len(written)} frames of {printable(args.video)}{others}")
    if problems:
        print(f"left out:\n{problems}")


if __name__ == "__main__":
    run_script(main)
