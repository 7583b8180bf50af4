"""Scalars and pictures of a run for TensorBoard (requirements-extra.txt)."""

import contextlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch

from utils.base_detector import words_in_frames
from utils.data.frames import Frame, FrameDataset
from utils.data.images import UnreadableImage
from utils.decode import Thresholds
from utils.evaluation.drawing import draw_detections
from utils.maps import normalise
from utils.network.base import TextNetwork
from utils.runtime.optional import import_optional

PICTURES = 4
"""Frames whose pictures are written."""


def open_board(folder: Path, dataset: FrameDataset, thresholds: Thresholds) -> "Board":
    """A board with pictures of a few frames from all over the dataset; unreadable ones are left out."""
    frames = []
    for index in np.linspace(0, len(dataset) - 1, min(len(dataset), PICTURES)).astype(int).tolist():
        with contextlib.suppress(UnreadableImage):
            frames.append(dataset.frame(index, seed=0))
    return Board(folder, frames, thresholds)


class Board:
    """Writes event files to `folder`: all numbers of an epoch, and pictures of some frames, the same every epoch.

    frames: of a dataset.
    """

    def __init__(self, folder: Path, frames: Sequence[Frame], thresholds: Thresholds):
        self._writer = import_optional("torch.utils.tensorboard", "--tensorboard").SummaryWriter(str(folder))
        self._folder, self._frames, self._thresholds = folder, frames, thresholds

    def write(self, epoch: int, row: Mapping[str, float | str], network: TextNetwork) -> None:
        """Write an epoch's line of results.csv, and the network's detections and score maps of the frames.

        Raises OSError, which names the folder.
        """
        network.eval()
        with _errors_of_writer(self._folder):
            for name, value in row.items():
                if name != "epoch" and value != "":
                    self._writer.add_scalar(name, value, epoch)
            for number, frame in enumerate(self._frames):
                title = f"frame {number}: detections, score map"
                self._writer.add_image(title, self._draw(frame, network), epoch, dataformats="HWC")
            self._writer.flush()

    @torch.inference_mode()
    def _draw(self, frame: Frame, network: TextNetwork) -> np.ndarray:
        """(H, 2 W, 3) uint8: the input with its words and detections, and the score map."""
        device = next(network.parameters()).device
        prediction = network(normalise(torch.from_numpy(frame.image[None]).to(device)))
        in_input = frame.info._replace(matrix=np.eye(2, 3))  # the words are drawn on the network's input
        quads, _ = words_in_frames(prediction, [in_input], self._thresholds)[0]
        words = frame.info.words_in_input()
        score = prediction.confidence[0, 0].float().sigmoid().cpu().numpy() * 255
        score = cv2.resize(score.astype(np.uint8), frame.image.shape[1::-1], interpolation=cv2.INTER_NEAREST)
        return np.hstack([draw_detections(frame.image, words, quads), np.repeat(score[..., None], 3, 2)])


@contextlib.contextmanager
def _errors_of_writer(folder: Path) -> Iterator[None]:
    """The OSErrors of TensorBoard's writing thread name the folder, and the thread prints no traceback of its own."""
    before = threading.excepthook
    threading.excepthook = lambda args: None if issubclass(args.exc_type, OSError) else before(args)
    try:
        yield
    except OSError as error:
        error.filename = str(folder)
        raise
    finally:
        threading.excepthook = before
