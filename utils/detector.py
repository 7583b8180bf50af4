"""Pictures in, words out with PyTorch: a checkpoint's network and the chain of `utils.base_detector` around it.

from detect import load_detector

detector = load_detector("best.pt", short_side=280)
quads, scores = detector.detect("street.jpg")     # or (H, W, 3) uint8 RGB
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from utils.base_detector import BaseDetector
from utils.checkpoint import load_model
from utils.data.augmentation import NetworkInput, WholeFrame, pad
from utils.decode import NMS_THRESHOLD, SCORE_THRESHOLD, Thresholds
from utils.maps import Prediction, normalise
from utils.network.base import TextNetwork
from utils.network.inference import for_inference


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

    @torch.inference_mode()
    def predict(self, inputs: Sequence[NetworkInput]) -> Prediction:
        """See `BaseDetector.predict`."""
        height, width = np.max([each.image.shape[:2] for each in inputs], axis=0)
        images = torch.from_numpy(np.stack([pad(each.image, height, width) for each in inputs]))
        return self.network(normalise(images.to(self.device)).contiguous(memory_format=torch.channels_last))

    def synchronise(self) -> None:
        """See `BaseDetector.synchronise`."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def load_detector(path: str | Path, **options) -> Detector:
    """The detector of a checkpoint, original or pruned. options: those of `Detector`, by keyword.

    `utils.deploy.detectors.load_detector` takes exported files, too.
    """
    return Detector(load_model(path)[0], **options)
