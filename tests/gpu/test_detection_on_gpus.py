"""Detection on a GPU equals detection on the CPU, to a tolerance."""

from pathlib import Path

import numpy as np
import pytest
import torch

from detect import load_detector
from model import FOTSModel
from tests.conftest import ROOT
from utils.data.images import read_image


@pytest.mark.parametrize("name", ["narrow.pt", "narrow_pruned.pt"])
def test_published_networks(rendered, name):
    path = ROOT / "weights" / name
    if not path.exists():
        pytest.skip(f"{path} is not there")
    pictures = sorted(Path(rendered / "frames").rglob("*.jpg"))[:4]
    on_gpu, on_cpu = (load_detector(path, short_side=288, ngpus=ngpus) for ngpus in (1, 0))
    for picture in pictures:
        image = read_image(picture)
        (quads, scores), (expected_quads, expected_scores) = on_gpu.detect(image), on_cpu.detect(image)
        assert len(quads) == len(expected_quads)
        np.testing.assert_allclose(quads, expected_quads, atol=1.0)
        np.testing.assert_allclose(scores, expected_scores, atol=0.01)


def test_maps_of_the_original_network(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    torch.manual_seed(0)
    model, images = FOTSModel("none").eval(), torch.randn(1, 3, 96, 128)
    with torch.inference_mode():
        expected = model(images)
        found = model.cuda()(images.cuda())
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.cpu(), other, rtol=1e-2, atol=1e-2)
