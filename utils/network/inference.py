"""A network made ready for use: the same outputs in less time."""

import copy

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def for_inference(model: nn.Module, device: torch.device | str = "cpu") -> nn.Module:
    """A copy in eval mode on a device: batch norms folded into the convolutions before them, channels_last."""
    model = copy.deepcopy(model).eval()
    for parent in list(model.modules()):
        before = None
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.BatchNorm2d) and isinstance(before, tuple):
                setattr(parent, before[0], fuse_conv_bn_eval(before[1], child))
                setattr(parent, name, nn.Identity())
            before = (name, child) if isinstance(child, nn.Conv2d) else None
    return model.requires_grad_(False).to(device, memory_format=torch.channels_last)
