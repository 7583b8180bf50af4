"""What a network costs: parameters, multiply-accumulates (MACs), milliseconds."""

import copy
import time

import torch
from torch import nn


def count_parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def count_macs(model: nn.Module, height: int, width: int) -> dict[str, int]:
    """MACs of each convolution, by its name, for one image (3, height, width); nothing is computed."""
    model = copy.deepcopy(model).to("meta").eval()
    macs: dict[str, int] = {}

    def note(name: str):
        def hook(conv: nn.Conv2d, _inputs, output: torch.Tensor) -> None:
            macs[name] = output.numel() * conv.weight[0].numel()

        return hook

    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(note(name))
    model(torch.empty(1, 3, height, width, device="meta"))
    return macs


def describe_cost(model: nn.Module, height: int, width: int) -> str:
    gmacs = sum(count_macs(model, height, width).values()) / 1e9
    return f"{count_parameters(model):,} parameters, {gmacs:.2f} GMACs at {height}x{width}"


@torch.inference_mode()
def milliseconds_per_frame(model: nn.Module, height: int, width: int, repeats: int = 9) -> float:
    """Median time of the network alone on one frame, after a warm-up, on the model's device."""
    device = next(model.parameters()).device
    image = torch.zeros(1, 3, height, width, device=device)
    times = []
    for _ in range(repeats + 2):
        start = time.perf_counter()
        model(image)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return sorted(times[2:])[repeats // 2] * 1000
