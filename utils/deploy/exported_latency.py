"""The time of a network as an engine runs its exported file, at any channel plan.

PyTorch's time is a poor guide to the engines': they round the channels of a convolution up to a multiple of their own.
"""

import tempfile
from pathlib import Path

import numpy as np

from utils.deploy.engines import EngineSettings
from utils.deploy.exported_detector import ExportedDetector
from utils.deploy.exported_network import milliseconds_per_run
from utils.deploy.exporting import export, with_tensors
from utils.deploy.file_info import ExportedInfo
from utils.deploy.quantisation import quantise
from utils.network.base import TextNetwork


class ExportedClock:
    """Measures the milliseconds of networks on one picture, as exported files.

    The first network is exported. Of the others, whose plans may differ, only the tensors are put into its file, which
    takes a fraction of the time. int8: quantises the files, calibrated on noise: the ranges do not change the time.
    """

    def __init__(self, engine: EngineSettings, size: tuple[int, int], int8: bool = False):
        self.engine, self.size, self.int8 = engine, size, int8
        self._folder: tempfile.TemporaryDirectory | None = None

    def __str__(self) -> str:
        """What is measured, in words."""
        return f"{self.engine.backend}, {'int8' if self.int8 else 'float32'}"

    def __call__(self, network: TextNetwork) -> float:
        """The median milliseconds of the network, in eval mode, on one picture."""
        info = ExportedInfo(min(self.size), 0.5, dict(network.plan), "")
        if not self._folder:
            self._folder = tempfile.TemporaryDirectory(prefix="latency-")
            export(network, info, Path(self._folder.name) / "graph.onnx", "onnx")
        graph, path, int8 = (Path(self._folder.name) / f"{name}.onnx" for name in ("graph", "float", "int8"))
        with_tensors(graph, network, path)
        if self.int8:
            noise = np.random.default_rng(0).standard_normal((1, 3, *self.size), np.float32)
            quantise(path, int8, info, [noise])
        return milliseconds_per_run(ExportedDetector(int8 if self.int8 else path, engine=self.engine), *self.size)
