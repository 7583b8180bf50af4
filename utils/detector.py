"""Pictures in, words out with PyTorch: a checkpoint's network and the chain of `utils.base_detector` around it.

from detect import load_detector

detector = load_detector("best.pt", short_side=280)
quads, scores = detector.detect("street.jpg")     # or (H, W, 3) uint8 RGB
"""

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import nn

from utils.base_detector import BaseDetector, rejection_threshold
from utils.checkpoint import load_model
from utils.data.augmentation import NetworkInput, WholeFrame, pad
from utils.decode import NMS_THRESHOLD, SCORE_THRESHOLD, Thresholds
from utils.maps import Prediction, normalise
from utils.network.base import TextNetwork
from utils.network.inference import for_inference
from utils.network.rejector import Rejector, no_text


class Detector(BaseDetector):
    """A trained network prepared for inference: batch norms are folded into the convolutions before them.

    network: as `load_model` returns it; it is copied. short_side: pixels to which a picture's short side is resized.
    score_threshold, nms_threshold: see `utils.decode.Thresholds`. device: where the copy runs.
    """

    def __init__(
        self,
        network: TextNetwork,
        short_side: int = WholeFrame.short_side,
        score_threshold: float = SCORE_THRESHOLD,
        nms_threshold: float = NMS_THRESHOLD,
        device: torch.device | str = "cpu",
    ):
        super().__init__(WholeFrame(short_side), Thresholds(score_threshold, nms_threshold))
        self.device = torch.device(device)
        self.runs_on = f"PyTorch, {self.device}"
        self.network = for_inference(network, self.device)
        self.rejector: nn.Module | None = None

    def use_rejector(self, rejector: Rejector, below: float) -> None:
        """Reject frames whose probability of text is lower than `below`; it is copied."""
        self.rejector, self.reject_below = for_inference(rejector, self.device), below

    @torch.inference_mode()
    def predict(self, inputs: Sequence[NetworkInput]) -> Prediction:
        """See `BaseDetector.predict`."""
        height, width = np.max([each.image.shape[:2] for each in inputs], axis=0)
        images = torch.from_numpy(np.stack([pad(each.image, height, width) for each in inputs]))
        images = normalise(images.to(self.device)).contiguous(memory_format=torch.channels_last)
        if self.rejector and self.reject_below:
            return self._predict_unrejected(self.rejector, images)
        return self.network(images)

    def _predict_unrejected(self, rejector: nn.Module, images: torch.Tensor) -> Prediction:
        """The network's maps, which are computed only as far as needed if all frames are rejected."""
        network = cast(TextNetwork, self.network)
        maps = network.early(images)
        rejected = rejector(maps) < self.reject_below
        self.rejected += int(rejected.sum())
        if rejected.all():
            return no_text(maps)
        prediction = network.finish(maps)
        prediction.confidence[rejected] = -torch.inf
        return prediction

    def synchronise(self) -> None:
        """See `BaseDetector.synchronise`."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def load_detector(path: str | Path, *, reject_below: float | None = 0.0, **options) -> Detector:
    """The detector of a checkpoint, original or pruned. options: those of `Detector`, by keyword.

    reject_below: probability of text below which frames are rejected; None: that of the checkpoint's rejector, if it
    has one. `utils.deploy.detectors.load_detector` takes exported files, too.
    """
    network, contents = load_model(path)
    detector = Detector(network, **options)
    rejector = Rejector.of_checkpoint(path, contents, network)
    below = rejection_threshold(path, rejector.threshold if rejector else None, reject_below)
    if rejector and below:
        detector.use_rejector(rejector, below)
    return detector
