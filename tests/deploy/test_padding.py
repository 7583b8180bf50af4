"""Channels rounded up by zeros: the same maps, at widths that are multiples of 16."""

import numpy as np
import pytest

from utils.deploy.engines import EngineSettings, open_engine
from utils.deploy.file_info import read_info
from utils.deploy.padding import MULTIPLE, pad_channels
from utils.network.channels import HEADS


@pytest.mark.parametrize("size", [None, (224, 352)], ids=["any size", "fixed size"])
def test_the_same_maps_at_other_widths(float_file, fixed_file, size, tmp_path):
    onnx = pytest.importorskip("onnx")
    source, path = fixed_file if size else float_file, tmp_path / "padded.onnx"
    images = np.random.default_rng(0).standard_normal((1, 3, *(size or (96, 160))), np.float32)
    model = onnx.load(source)
    pad_channels(model)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    runs = [open_engine(each, read_info(each), EngineSettings("onnxruntime", 1)).run for each in (source, path)]
    for expected, maps in zip(*(run(images, 0.0) for run in runs), strict=True):
        assert np.abs(expected - maps).max() < 1e-3
    widths, original = (
        {each.name.removesuffix(".weight"): each.dims[0] for each in onnx.load(file).graph.initializer if each.dims[1:]}
        for file in (path, source)
    )
    heads = {f"{head}.0": channels for head, channels in HEADS.items()}
    assert {name: widths[name] for name in heads} == heads
    rounded = {name: -(-width // MULTIPLE) * MULTIPLE for name, width in original.items()}
    assert widths == rounded | heads
    assert original != widths
