"""The FOTS text detector: ResNet-34 encoder, U-shaped decoder, three heads.

The detection branch of "FOTS: Fast Oriented Text Spotting with a Unified Network" (Liu et al., CVPR 2018).

    model = FOTSModel(backbone_weights="imagenet")
    confidence, distances, angle = model(images)     # images (N, 3, H, W), see utils.maps.normalise
"""

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import nn

from utils.errors import UserError
from utils.maps import MAX_DISTANCE, Prediction
from utils.network.base import TextNetwork
from utils.network.channels import HEADS, ORIGINAL_PLAN, check_plan
from utils.network.origin import Origin
from utils.network.state_dicts import canonical_names, check_tensors, read_weights

INITIAL_DISTANCE = 40.0
"""Distances, in input pixels, that a new network predicts: closer to those of words than the middle of the range."""

INITIAL_SCORE = 0.1
"""Probability of text that a new network predicts."""


class FOTSModel(TextNetwork):
    """The detection network, at the original widths or at those of a channel plan (see `model_pruned`).

    `network(images)` maps (N, 3, H, W) float32 to a `utils.maps.Prediction`.

    backbone_weights: "imagenet" (torchvision's, downloaded once), "none", or the path of a ResNet-34 state dict.
    Raises `UserError` if the weights cannot be loaded.
    """

    confidence: nn.Sequential
    distances: nn.Sequential
    angle: nn.Sequential

    def __init__(self, backbone_weights: str = "none", *, plan: Mapping[str, int] = ORIGINAL_PLAN):
        super().__init__()
        self.plan = plan = check_plan(plan)
        self.origin = Origin.new(plan)
        stem = plan["encoder1"]
        self.conv1 = nn.Sequential(nn.Conv2d(3, stem, 7, 2, 3, bias=False), nn.BatchNorm2d(stem), nn.ReLU(True))
        self.encoder1 = _encoder_stage(plan, "encoder1", "encoder1", stride=1)
        self.encoder2 = _encoder_stage(plan, "encoder1", "encoder2", stride=2)
        self.encoder3 = _encoder_stage(plan, "encoder2", "encoder3", stride=2)
        self.encoder4 = _encoder_stage(plan, "encoder3", "encoder4", stride=2)
        self.center = nn.Sequential(
            _convolution(plan["encoder4"], plan["center.0"], stride=2),
            _convolution(plan["center.0"], plan["center.1"]),
        )
        self.decoder4 = Decoder(plan["center.1"], plan["decoder4.squeeze"])
        self.decoder3 = Decoder(plan["encoder4"] + plan["decoder4.squeeze"], plan["decoder3.squeeze"])
        self.decoder2 = Decoder(plan["encoder3"] + plan["decoder3.squeeze"], plan["decoder2.squeeze"])
        self.decoder1 = Decoder(plan["encoder2"] + plan["decoder2.squeeze"], plan["decoder1.squeeze"])
        self.remove_artifacts = _convolution(plan["encoder1"] + plan["decoder1.squeeze"], plan["remove_artifacts"])
        for head, channels in HEADS.items():
            self.add_module(head, nn.Sequential(nn.Conv2d(plan["remove_artifacts"], channels, 1)))
        self._initialise()
        if backbone_weights != "none":
            self._load_backbone(backbone_weights)

    def forward(self, images: torch.Tensor) -> Prediction:
        return self.finish(self.early(images))

    def early(self, images: torch.Tensor) -> torch.Tensor:
        """The maps after the first encoder stage, (N, C, H / 4, W / 4), which a `Rejector` reads."""
        return self.encoder1(F.max_pool2d(self.conv1(images), 2))

    def finish(self, stride4: torch.Tensor) -> Prediction:
        """The rest of the forward pass, from the maps of `early`."""
        stride8 = self.encoder2(stride4)
        stride16 = self.encoder3(stride8)
        stride32 = self.encoder4(stride16)
        features = self.decoder4(self.center(stride32), stride32)
        features = self.decoder3(features, stride16)
        features = self.decoder2(features, stride8)
        features = self.decoder1(features, stride4)
        features = self.remove_artifacts(features)
        return Prediction(
            self.confidence(features),
            torch.sigmoid(self.distances(features)) * MAX_DISTANCE,
            torch.sigmoid(self.angle(features)) * (math.pi / 2),
        )

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and module.kernel_size != (1, 1):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        _fill_bias(self.confidence, _logit(INITIAL_SCORE))
        _fill_bias(self.distances, _logit(INITIAL_DISTANCE / MAX_DISTANCE))

    def _load_backbone(self, source: str) -> None:
        if source == "imagenet":
            state = canonical_names(_download_imagenet())
        else:
            stored = read_weights(source)
            try:
                state = canonical_names(stored.get("state_dict", stored))
            except (AttributeError, TypeError):
                raise UserError(f"{source}: no ResNet-34 weights; give torchvision's resnet34 state dict") from None
        expected = {name for name in self.state_dict() if name.startswith(("conv1.", "encoder"))}
        if set(state) != expected:
            odd = sorted(expected ^ set(state))[0]
            raise UserError(f"{source}: no ResNet-34 weights (at {odd}); give torchvision's resnet34 state dict")
        try:
            check_tensors(state, self.state_dict())
            self.load_state_dict(state, strict=False)
        except UserError as error:
            raise UserError(f"{source}: no ResNet-34 weights ({error}); give torchvision's state dict") from None
        except RuntimeError as error:
            raise UserError(f"{source}: no ResNet-34 weights: {str(error).splitlines()[-1].strip()}") from None


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut, which is a 1x1 convolution if it `projects`.

    "Deep Residual Learning for Image Recognition" (He et al., CVPR 2016), figure 2; parameters are named as in
    torchvision's `BasicBlock`. inner: channels between the convolutions, which a channel plan can make fewer.
    """

    def __init__(self, in_channels: int, inner: int, out_channels: int, stride: int = 1, *, projects: bool = False):
        super().__init__()
        downsample = None
        if projects:
            shortcut = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)
            downsample = nn.Sequential(shortcut, nn.BatchNorm2d(out_channels))
        self.conv1 = nn.Conv2d(in_channels, inner, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.relu = nn.ReLU(True)
        self.conv2 = nn.Conv2d(inner, out_channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.downsample = downsample

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(features)))))
        out += self.downsample(features) if self.downsample else features
        return self.relu(out)


class Decoder(nn.Module):
    """Squeezes the deeper features, resizes them to the encoder map and concatenates them to it."""

    def __init__(self, in_channels: int, squeeze_channels: int):
        super().__init__()
        self.squeeze = _convolution(in_channels, squeeze_channels)

    def forward(self, deeper: torch.Tensor, encoder_map: torch.Tensor) -> torch.Tensor:
        up = F.interpolate(self.squeeze(deeper), encoder_map.shape[2:], mode="bilinear", align_corners=True)
        return torch.cat([encoder_map, up], 1)


def _convolution(in_channels: int, out_channels: int, stride: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(in_channels, out_channels, 3, stride, 1)
    return nn.Sequential(conv, nn.BatchNorm2d(out_channels), nn.ReLU(True))


def _encoder_stage(plan: Mapping[str, int], before: str, stage: str, stride: int) -> nn.Sequential:
    """A ResNet-34 stage, from the channel group `before` to the channel group `stage`."""
    count = sum(group.startswith(f"{stage}.") for group in plan)
    first = ResidualBlock(plan[before], plan[f"{stage}.0.conv1"], plan[stage], stride, projects=before != stage)
    others = [ResidualBlock(plan[stage], plan[f"{stage}.{number}.conv1"], plan[stage]) for number in range(1, count)]
    return nn.Sequential(first, *others)


def _download_imagenet() -> dict[str, torch.Tensor]:
    import torchvision  # takes as long to import as PyTorch

    weights = torchvision.models.ResNet34_Weights.IMAGENET1K_V1
    try:
        return weights.get_state_dict(progress=True, check_hash=True)
    except (OSError, RuntimeError) as error:  # URLError is an OSError; a hash mismatch is a RuntimeError
        raise UserError(
            f"ImageNet weights could not be downloaded from {weights.url} ({error}); fetch that file on another "
            "machine and give its path as --backbone-weights, or start from random weights: --backbone-weights none"
        ) from None


def _fill_bias(head: nn.Sequential, value: float) -> None:
    conv = head[0]
    assert isinstance(conv, nn.Conv2d) and conv.bias is not None
    nn.init.constant_(conv.bias, value)


def _logit(share: float) -> float:
    return math.log(share / (1 - share))
