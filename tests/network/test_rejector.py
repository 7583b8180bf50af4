"""The rejector of frames without text: the head, its entry in checkpoints, `Detector` and `detect.py` with it."""

import cv2
import numpy as np
import pytest
import torch

from detect import load_detector
from tools.publish import publish
from utils.checkpoint import load_model, save_checkpoint
from utils.data.augmentation import WholeFrame
from utils.errors import UserError
from utils.maps import normalise
from utils.network.rejector import ENTRY, Rejector, note_left_out

SIDE = 96


@pytest.fixture(scope="module")
def images() -> list[np.ndarray]:
    """Three pictures of different contrast, to which an untrained rejector gives different probabilities."""
    rng = np.random.default_rng(0)
    return [rng.integers(128 - spread, 128 + spread, (120, 160, 3), np.uint8) for spread in (1, 30, 120)]


@pytest.fixture(scope="module")
def rejecting(tmp_path_factory, small_checkpoint, images):
    """A checkpoint whose untrained rejector rejects one of the three pictures."""
    network, _ = load_model(small_checkpoint)
    torch.manual_seed(3)
    rejector = Rejector(network.plan["encoder1"]).eval()
    rejector.threshold = float(np.mean(sorted(probabilities(network, rejector, images))[:2]))
    path = tmp_path_factory.mktemp("rejecting") / "rejecting.pt"
    save_checkpoint(path, network, rejector=rejector.contents())
    return path


@torch.inference_mode()
def probabilities(network, rejector, images) -> list[float]:
    inputs = [torch.from_numpy(WholeFrame(SIDE)(image).image[None]) for image in images]
    return [rejector(network.early(normalise(each))).item() for each in inputs]


def words_of(detector, image) -> list:
    return detector.detect(image)[0].tolist()


class TestHead:
    def test_one_cell_is_enough(self):
        """The probability is that of the best cell, wherever it is and however many others there are."""
        rejector = Rejector(4).eval()
        with torch.no_grad():
            for weights in rejector.parameters():
                weights.abs_()  # so that a larger value never makes a cell less likely
        maps = torch.zeros(1, 4, 45, 81)
        blank = rejector(maps)
        maps[0, :, 44, 80] = 50
        cells = rejector.cells(maps)
        assert cells.shape == (1, 1, 12, 21)
        assert rejector(maps) == cells.max().sigmoid()
        assert rejector(maps) != blank

    def test_early_and_finish_are_the_forward_pass(self, small_checkpoint):
        network, _ = load_model(small_checkpoint)
        images = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
        with torch.inference_mode():
            maps = network.early(images)
            assert maps.shape == (2, network.plan["encoder1"], 16, 24)
            for expected, actual in zip(network(images), network.finish(maps), strict=True):
                assert torch.equal(expected, actual)


class TestCheckpoints:
    def test_round_trip(self, rejecting, tmp_path):
        network, contents = load_model(rejecting)
        rejector = Rejector.of_checkpoint(rejecting, contents, network)
        publish(rejecting, tmp_path / "published.pt")
        published, others = load_model(tmp_path / "published.pt")
        again = Rejector.of_checkpoint("published.pt", others, published)
        assert again.threshold == rejector.threshold > 0
        maps = torch.randn(2, network.plan["encoder1"], 16, 24)
        assert torch.equal(again(maps), rejector(maps))

    def test_a_checkpoint_without_one(self, small_checkpoint):
        network, contents = load_model(small_checkpoint)
        assert Rejector.of_checkpoint(small_checkpoint, contents, network) is None
        assert note_left_out(contents) == ""
        assert load_detector(small_checkpoint).reject_below == 0
        with pytest.raises(UserError, match=r"small\.pt has no rejector"):
            load_detector(small_checkpoint, reject_below=0.3)

    @pytest.mark.parametrize(
        "change",
        [
            lambda entry: [],
            lambda entry: {"state": entry["state"]},
            lambda entry: entry | {"threshold": "high"},
            lambda entry: entry | {"threshold": float("nan")},
            lambda entry: (
                entry | {"state": {name: tensor[:1] for name, tensor in entry["state"].items() if tensor.dim()}}
            ),
            lambda entry: entry | {"state": None},
        ],
    )
    def test_damaged_ones(self, rejecting, change):
        network, contents = load_model(rejecting)
        with pytest.raises(UserError, match=r"a\.pt: a damaged rejector"):
            Rejector.of_checkpoint("a.pt", {ENTRY: change(contents[ENTRY])}, network)


class TestDetection:
    def test_a_frame_that_passes_has_exactly_the_same_words(self, rejecting, images):
        options = {"short_side": SIDE, "score_threshold": 0.05}
        plain, detector = (load_detector(rejecting, reject_below=below, **options) for below in (0, None))
        rejected = []
        for image in images:
            before, words = detector.rejected, words_of(detector, image)
            rejected.append(detector.rejected - before)
            assert words == ([] if rejected[-1] else words_of(plain, image))
        assert sorted(rejected) == [0, 0, 1]
        assert plain.rejected == 0
        assert all(words_of(plain, image) for image in images)

    def test_a_batch(self, rejecting, images):
        detector = load_detector(rejecting, short_side=SIDE, score_threshold=0.05)
        alone = [words_of(detector, image) for image in images]
        together = [quads.tolist() for quads, _ in detector.detect_batch(images)]
        assert [bool(words) for words in together] == [bool(words) for words in alone] == [False, True, True]
        assert detector.rejected == 2

    def test_the_network_is_not_computed_for_rejected_frames(self, rejecting, images, monkeypatch):
        detector = load_detector(rejecting, short_side=SIDE, reject_below=1)
        monkeypatch.setattr(detector.network, "finish", None)
        assert words_of(detector, images[0]) == []

    def test_detect_script(self, rejecting, images, tmp_path, run_script):
        for number, image in enumerate(images):
            cv2.imwrite(str(tmp_path / f"{number}.png"), image[..., ::-1])
        line = ("detect.py", "--pretrain-model", rejecting, "--short-side", SIDE, tmp_path, "--no-pictures")
        assert "in 3 frames, 1 of them rejected" in run_script(*line, "--output-dir", tmp_path / "a").stdout
