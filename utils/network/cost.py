"""The cost of a network: parameters, multiply-accumulates (MACs), memory, milliseconds."""

import contextlib
import copy
import statistics
import time
import weakref
from collections.abc import Callable, Iterator, Mapping

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from utils.network.base import TextNetwork
from utils.network.channels import LAYERS
from utils.network.inference import for_inference


@contextlib.contextmanager
def limit_threads(count: int | None) -> Iterator[None]:
    """A context in which PyTorch computes with `count` threads; None: as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def count_parameters(model: nn.Module) -> int:
    """The number of a network's parameters."""
    return sum(parameter.numel() for parameter in model.parameters())


@torch.inference_mode()
def count_macs(model: nn.Module, height: int, width: int) -> dict[str, int]:
    """The MACs of each convolution, by its name, for one image (3, height, width)."""
    model = copy.deepcopy(model).eval()
    macs: dict[str, int] = {}

    def counting_hook(name: str) -> Callable:
        def hook(conv: nn.Conv2d, _inputs, output: torch.Tensor) -> None:
            macs[name] = output.numel() * conv.weight[0].numel()

        return hook

    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(counting_hook(name))
    model(next(model.parameters()).new_zeros(1, 3, height, width))
    return macs


def describe_cost(model: nn.Module, height: int, width: int) -> str:
    """Parameters and GMACs in words, for one image (3, height, width)."""
    return cost_in_words(count_parameters(model), sum(count_macs(model, height, width).values()) / 1e9, height, width)


def cost_in_words(parameters: int, gmacs: float, height: int, width: int) -> str:
    return f"{parameters:,} parameters, {gmacs:.2f} GMACs at {height}x{width}"


@torch.inference_mode()
def milliseconds_per_frame(model: nn.Module, height: int, width: int, repeats: int = 9) -> float:
    """The median time of the network's forward pass on one image, in milliseconds, after a warm-up.

    It is timed on the model's device, as `utils.detector.Detector` runs it: BatchNorms folded, channels_last.
    """
    model, image = _ready_to_detect(model, height, width)

    def run() -> None:
        model(image)
        if image.is_cuda:
            torch.cuda.synchronize(image.device)

    return median_milliseconds(run, repeats)


def median_milliseconds(run: Callable[[], object], repeats: int = 9) -> float:
    """The median time of a call, after two that are a warm-up."""
    times = []
    for _ in range(repeats + 2):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times[2:]) * 1000


def _ready_to_detect(model: nn.Module, height: int, width: int) -> tuple[nn.Module, torch.Tensor]:
    """The network as `utils.detector.Detector` runs it, and a black image (1, 3, height, width), on its device."""
    device = next(model.parameters()).device
    image = torch.zeros(1, 3, height, width, device=device).contiguous(memory_format=torch.channels_last)
    return for_inference(model, device), image


class PlanCosts:
    """MACs and parameters of the network at other widths, computed from the numbers of channels.

    model: the network at any widths. height, width: of the input that MACs are counted for.
    """

    def __init__(self, model: nn.Module, height: int, width: int):
        modules, macs = dict(model.named_modules()), count_macs(model, height, width)
        self._convs = []
        for layer in LAYERS:
            conv = modules[layer.conv]
            taps = conv.weight[0, 0].numel()
            pixels = macs[layer.conv] // conv.weight.numel()
            each_output = (conv.bias is not None) + 2 * (layer.norm is not None)
            self._convs.append((layer, conv.out_channels, taps, pixels, each_output))

    def macs(self, plan: Mapping[str, int]) -> int:
        """The MACs of the network with this channel plan, for one image."""
        return sum(i * o * taps * pixels for i, o, taps, pixels, _ in self._at(plan))

    def parameters(self, plan: Mapping[str, int]) -> int:
        """The number of parameters of the network with this channel plan."""
        return sum((i * taps + each_output) * o for i, o, taps, _, each_output in self._at(plan))

    def _at(self, plan: Mapping[str, int]) -> Iterator[tuple]:
        """Each convolution's inputs, outputs, taps, output pixels, and other parameters of an output channel."""
        for layer, outputs, *others in self._convs:
            inputs = sum(plan[group] for group in layer.reads) or 3
            yield inputs, plan[layer.writes] if layer.writes else outputs, *others


class _LiveBytes(TorchDispatchMode):
    """Counts the bytes of the tensors that operations create, until they are freed."""

    def __init__(self):
        super().__init__()
        self.live = self.peak = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        results = function(*args, **(kwargs or {}))
        inputs = {leaf.untyped_storage()._cdata for leaf in tree_leaves(args) if isinstance(leaf, torch.Tensor)}
        for result in tree_leaves(results):
            if isinstance(result, torch.Tensor) and result.untyped_storage()._cdata not in inputs:
                storage = result.untyped_storage()
                self.live += storage.nbytes()
                self.peak = max(self.peak, self.live)
                weakref.finalize(storage, self._subtract, storage.nbytes())
        return results

    def _subtract(self, size: int) -> None:
        self.live -= size


@torch.inference_mode()
def peak_memory(model: nn.Module, height: int, width: int) -> int:
    """The bytes of the weights, of one image and of the feature maps that exist at the same time, at most.

    The network is as `utils.detector.Detector` runs it. The work space of the convolutions' library is not included.
    """
    weights = sum(tensor.nbytes for tensor in model.state_dict().values())
    model, image = _ready_to_detect(model, height, width)
    with _LiveBytes() as tracker:
        model(image)
    return weights + image.nbytes + tracker.peak


def measure_cost(model: TextNetwork, height: int, width: int) -> dict[str, float]:
    """A network's channels, parameters, MACs, bytes and CPU milliseconds for one image (3, height, width), by name."""
    costs: dict[str, float] = {
        "channels": sum(model.plan.values()),
        "parameters": count_parameters(model),
        "macs": sum(count_macs(model, height, width).values()),
        "weights_bytes": sum(tensor.nbytes for tensor in model.state_dict().values()),
        "peak_memory_bytes": peak_memory(model, height, width),
    }
    for name, count in (("milliseconds_1_thread", 1), ("milliseconds_2_threads", 2)):
        with limit_threads(count):
            costs[name] = milliseconds_per_frame(model, height, width)
    return costs
