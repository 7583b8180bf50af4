"""Scalars and pictures of a run for TensorBoard (requirements-extra.txt)."""

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn

from utils.decode import decode
from utils.evaluation.drawing import draw_detections
from utils.maps import hide_padding, normalise
from utils.runtime.optional import need


class Board:
    """Writes below `folder`; pictures of a fixed few frames, the same every epoch.

    frames: `utils.data.frames.Frame`.
    """

    def __init__(self, folder: Path, frames: list, score_threshold: float, nms_threshold: float):
        self._writer = need("torch.utils.tensorboard", "--tensorboard").SummaryWriter(str(folder))
        self._frames, self._thresholds = frames, (score_threshold, nms_threshold)

    def write(self, epoch: int, row: Mapping[str, float | str], model: nn.Module) -> None:
        for name, value in row.items():
            if name != "epoch" and value != "":  # what this run does not measure
                self._writer.add_scalar(name, value, epoch)
        device = next(model.parameters()).device
        model.eval()
        for number, frame in enumerate(self._frames):
            with torch.inference_mode():
                prediction = model(normalise(torch.from_numpy(frame.image[None]).to(device)))
            quads, _ = decode(hide_padding(prediction, [frame.info.size]), *self._thresholds)[0]
            words = frame.info.words_in_input()
            score = prediction.confidence[0, 0].float().sigmoid().cpu().numpy() * 255
            score = cv2.resize(score.astype(np.uint8), frame.image.shape[1::-1], interpolation=cv2.INTER_NEAREST)
            pictures = [draw_detections(frame.image, words, quads), np.repeat(score[..., None], 3, 2)]
            self._writer.add_image(
                f"frame {number}: detections, score map", np.hstack(pictures), epoch, dataformats="HWC"
            )
        self._writer.flush()
