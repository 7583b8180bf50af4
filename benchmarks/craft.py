"""CRAFT, "Character Region Awareness for Text Detection" (Baek et al., CVPR 2019), for `benchmarks.detectors`.

The network and its post-processing are those of EasyOCR 1.7.2 (craft.py, craft_utils.py: Copyright (c) 2019-present
NAVER Corp., MIT License), at its default thresholds and without polygons. EasyOCR itself is not used, because it would
install a second OpenCV.
"""

from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.models import vgg16_bn

from utils.maps import normalise
from utils.network.inference import for_inference

TEXT_THRESHOLD, LINK_THRESHOLD, LOW_TEXT = 0.7, 0.4, 0.4
LEAST_CELLS = 10
"""Smaller connected components are dropped."""

STRIDE = 2
"""Input pixels per map cell."""


class Craft(nn.Module):
    """VGG-16 and a U-shaped decoder; the modules have the names of the file with the weights."""

    upconv1: nn.Module

    def __init__(self):
        super().__init__()
        features = vgg16_bn(weights=None).features
        self.basenet = nn.Module()
        for number, (start, stop) in enumerate([(0, 12), (12, 19), (19, 29), (29, 39)], 1):
            part = nn.Sequential()
            for index in range(start, stop):
                part.add_module(str(index), features[index])
            setattr(self.basenet, f"slice{number}", part)
        self.basenet.slice5 = nn.Sequential(
            nn.MaxPool2d(3, stride=1, padding=1),
            nn.Conv2d(512, 1024, 3, padding=6, dilation=6),
            nn.Conv2d(1024, 1024, 1),
        )
        for number, channels in enumerate([(1536, 512, 256), (768, 256, 128), (384, 128, 64), (192, 64, 32)], 1):
            setattr(self, f"upconv{number}", _DoubleConv(*channels))
        convolutions = [
            nn.Conv2d(32, 32, 3, padding=1),
            nn.Conv2d(32, 32, 3, padding=1),
            nn.Conv2d(32, 16, 3, padding=1),
            nn.Conv2d(16, 16, 1),
        ]
        activated = [part for convolution in convolutions for part in (convolution, nn.ReLU(inplace=True))]
        self.conv_cls = nn.Sequential(*activated, nn.Conv2d(16, 2, 1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W), H and W multiples of 16 -> (N, 2, H / 2, W / 2): text regions, links between characters."""
        maps, deepest = [], images
        for number in range(1, 6):
            deepest = getattr(self.basenet, f"slice{number}")(deepest)
            maps.append(deepest)  # before the ReLU, which is the first, in-place operation of the next slice
        merged = self.upconv1(torch.cat([maps[4], maps[3]], 1))
        for number, skip in zip((2, 3, 4), maps[2::-1], strict=True):
            merged = F.interpolate(merged, size=skip.shape[2:], mode="bilinear", align_corners=False)
            merged = getattr(self, f"upconv{number}")(torch.cat([merged, skip], 1))
        return self.conv_cls(merged)


class _DoubleConv(nn.Module):
    def __init__(self, channels_in: int, middle: int, channels_out: int):
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(channels_in, middle, 1),
            nn.BatchNorm2d(middle),
            nn.ReLU(inplace=True),
            nn.Conv2d(middle, channels_out, 3, padding=1),
            nn.BatchNorm2d(channels_out),
            nn.ReLU(inplace=True),
        )

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return self.conv(maps)


def load_craft(path: Path) -> Craft:
    """The network in eval mode. path: craft_mlt_25k.pth."""
    state = torch.load(path, map_location="cpu", weights_only=True)
    network = Craft()
    network.load_state_dict({name.removeprefix("module."): tensor for name, tensor in state.items()})
    return network.eval()


class CraftDetector:
    """The network, prepared for inference like that of `utils.detector.Detector`: batch norms folded, channels_last."""

    def __init__(self, network: Craft):
        self.network = for_inference(network)

    @torch.inference_mode()
    def __call__(self, image: np.ndarray) -> np.ndarray:
        """(H, W, 3) uint8 RGB -> quads (K, 4, 2) in its pixels, clockwise. The image is padded, not resized."""
        padded = _pad_with_black(image)
        images = normalise(torch.from_numpy(padded)[None]).contiguous(memory_format=torch.channels_last)
        text, link = self.network(images)[0].float().numpy()
        return find_boxes(np.ascontiguousarray(text), np.ascontiguousarray(link)) * STRIDE


def _pad_with_black(image: np.ndarray) -> np.ndarray:
    """Pad right and below to multiples of 32, as EasyOCR does."""
    height, width = image.shape[:2]
    return cv2.copyMakeBorder(image, 0, -height % 32, 0, -width % 32, cv2.BORDER_CONSTANT, value=0)


def find_boxes(text: np.ndarray, link: np.ndarray) -> np.ndarray:
    """Maps (h, w) float32 -> quads (K, 4, 2) in cells: a rectangle around each connected component."""
    is_text, is_link = text > LOW_TEXT, link > LINK_THRESHOLD
    count, labels, stats, _ = cv2.connectedComponentsWithStats((is_text | is_link).astype(np.uint8), connectivity=4)
    boxes = []
    for label in range(1, count):
        left, top, width, height, cells = stats[label]
        if cells < LEAST_CELLS:
            continue
        inner = slice(top, top + height), slice(left, left + width)
        if text[inner][labels[inner] == label].max() < TEXT_THRESHOLD:
            continue
        grow = int(np.sqrt(cells * min(width, height) / (width * height)) * 2)
        outer = (
            slice(max(top - grow, 0), top + height + grow + 1),
            slice(max(left - grow, 0), left + width + grow + 1),
        )
        segment = (labels[outer] == label) & ~(is_link[outer] & ~is_text[outer])
        segment = cv2.dilate(segment.astype(np.uint8), np.ones((grow + 1, grow + 1), np.uint8))
        points = np.argwhere(segment)[:, ::-1] + (outer[1].start, outer[0].start)
        boxes.append(_rectangle(points.astype(np.int32)))
    return np.array(boxes, np.float32).reshape(-1, 4, 2)


def _rectangle(points: np.ndarray) -> np.ndarray:
    """The smallest rectangle around points (P, 2), or the axis-aligned one if the smallest is nearly square."""
    box = cv2.boxPoints(cv2.minAreaRect(points))
    width, height = np.linalg.norm(box[0] - box[1]), np.linalg.norm(box[1] - box[2])
    if abs(1 - max(width, height) / (min(width, height) + 1e-5)) <= 0.1:
        (left, top), (right, bottom) = points.min(0), points.max(0)
        box = np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float32)
    return np.roll(box, -box.sum(1).argmin(), 0)
