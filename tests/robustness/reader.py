"""A process that reads mutated files, so that a crash inside a decoder ends it and not the tests.

    python3 -m tests.robustness.reader KIND FILE...

Prints a line before each file and a line after it: `read`, `refused: MESSAGE`, or `failed: TRACEBACK`; at the end the
highest memory in MiB. Memory is limited, so that a file that fills it is found.
"""

import itertools
import resource
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import cv2

from tests.helpers import read_words
from tools.compare_results import compare
from tools.plot_curves import read_curves
from utils.checkpoint import load_model
from utils.data.annotation_index import read_synthtext
from utils.data.images import UnreadableImage, image_problem, read_image
from utils.data.problems import Problems
from utils.data.video import UnreadableVideo, VideoReader
from utils.errors import UserError
from utils.evaluation.result_files import read_ground_truth, read_results
from utils.network.channels import read_plan

MEMORY_LIMIT = 12 << 30
"""Of address space, most of which torch only reserves."""


def read_picture_file(path: Path) -> None:
    problem = image_problem(path)
    try:
        image = read_image(path)
    except UnreadableImage:
        raise
    assert problem is None, f"image_problem refuses what read_image reads: {problem}"
    assert image.ndim == 3
    assert image.shape[2] == 3


def read_words_file(path: Path) -> None:
    read_words(path, Problems())


def read_index(path: Path) -> None:
    """A mutated index is built again: the words are those of the gt.mat."""
    assert (
        read_synthtext(path.parent / "gt.mat").quads.tolist()
        == read_synthtext(path.parent / "whole.mat").quads.tolist()
    )


def read_video(path: Path) -> None:
    with VideoReader(path) as video:
        for _ in itertools.islice(video, 300):
            pass


READERS: dict[str, Callable] = {
    "image": read_picture_file,
    "txt": read_words_file,
    "ground truth": lambda path: read_ground_truth(path.parent),
    "results": lambda path: read_results(path.parent),
    "zip": read_results,
    "gt.mat": read_synthtext,
    "index": read_index,
    "checkpoint": load_model,
    "plan.json": read_plan,
    "results.csv": lambda path: read_curves(path.parent),
    "metrics.json": lambda path: compare([path.parent]),
    "video": read_video,
}


def main(kind: str, paths: list[str]) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
    cv2.setNumThreads(1)
    for path in paths:
        print(f"file: {path}", flush=True)
        try:
            READERS[kind](Path(path))
            print("read", flush=True)
        except (UserError, UnreadableImage, UnreadableVideo) as error:
            print(f"refused: {str(error)!r}", flush=True)
        except Exception:
            print(f"failed: {traceback.format_exc()!r}", flush=True)
    print(f"memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
