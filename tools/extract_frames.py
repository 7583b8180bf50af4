"""Frames of a video as pictures, to be annotated or looked at.

    python3 -m tools.extract_frames VIDEO --every N --out DIR

Writes DIR/<video's name>_<frame's number>.jpg for frame 0, N, 2N, ...
"""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from utils.data.images import write_image
from utils.errors import UserError, run_script
from utils.options.parser import Parser, whole_number


def read_frames(video: Path, every: int = 1) -> Iterator[tuple[int, np.ndarray]]:
    """(number, (H, W, 3) uint8 RGB) of every `every`-th frame, from the first on."""
    if not video.is_file():
        raise UserError(f"{video}: there is no such file; give a video")
    capture = cv2.VideoCapture(str(video))
    try:
        total = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        bar = tqdm(desc=video.name, total=total if total > 0 else None, unit="frame", leave=False, disable=None)
        number = -1
        while capture.grab():
            number += 1
            bar.update()
            if number % every == 0:
                read, frame = capture.retrieve()
                if read:
                    yield number, cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
        bar.close()
        if number < 0:
            raise UserError(f"{video}: OpenCV reads no frame of it; convert it to mp4 (H.264) or avi (MJPEG)")
    finally:
        capture.release()


def main() -> None:
    parser = Parser(__doc__)
    parser.add_argument("video", type=Path, metavar="VIDEO")
    parser.add_argument("--every", type=whole_number(1), default=30, metavar="N",
                        help="take one frame in N (default %(default)s)")  # fmt: skip
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the pictures")
    args = parser.parse_args()
    count = 0
    for number, frame in read_frames(args.video, args.every):
        args.out.mkdir(parents=True, exist_ok=True)
        write_image(args.out / f"{args.video.stem}_{number:06d}.jpg", frame)
        count += 1
    print(f"{args.out}: {count} frames of {args.video}")


if __name__ == "__main__":
    run_script(main)
