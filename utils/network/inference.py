"""A network prepared for inference: the same outputs in less time."""

import copy

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def for_inference(model: nn.Module, device: torch.device | str = "cpu") -> nn.Module:
    """A copy for inference on a device.

    It is in eval mode and channels_last, BatchNorms are folded into the convolutions before them, and no parameter
    requires a gradient.
    """
    model = copy.deepcopy(model).eval()
    for parent in list(model.modules()):
        before: tuple[str, nn.Conv2d] | None = None
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.BatchNorm2d) and before:
                setattr(parent, before[0], fuse_conv_bn_eval(before[1], child))
                setattr(parent, name, nn.Identity())
            before = (name, child) if isinstance(child, nn.Conv2d) else None
    return model.requires_grad_(False).to(device).to(memory_format=torch.channels_last)
