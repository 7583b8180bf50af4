"""An exported network as a PyTorch module, so that a checkpoint's measurements apply to it."""

import numpy as np
import torch

from utils.deploy.exported_detector import ExportedDetector
from utils.maps import Prediction
from utils.network.base import TextNetwork
from utils.network.channels import ORIGINAL_PLAN
from utils.network.cost import median_milliseconds
from utils.network.origin import Origin


class ExportedNetwork(TextNetwork):
    """Runs an exported file; maps images (N, 3, H, W), normalised, to a `Prediction` of tensors, on the CPU."""

    def __init__(self, detector: ExportedDetector):
        super().__init__()
        self.plan, self.origin = detector.info.plan, Origin.new(ORIGINAL_PLAN)
        self.detector = detector
        self.placement = torch.nn.Parameter(torch.empty(0), requires_grad=False)

    def forward(self, images: torch.Tensor) -> Prediction:
        found = self.detector.run(np.ascontiguousarray(images.numpy(force=True)))
        return Prediction(*(torch.from_numpy(np.array(maps)) for maps in found))


def milliseconds_per_run(detector: ExportedDetector, height: int, width: int) -> float:
    """The median time of the network on one picture, in milliseconds, after a warm-up."""
    images = np.zeros((1, 3, height, width), np.float32)
    return median_milliseconds(lambda: detector.run(images))
