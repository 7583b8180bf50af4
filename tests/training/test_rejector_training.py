"""Training a rejector: labels, loss, thresholds, `train_sample.py --rejector` and the benchmark, on rendered frames."""

import csv
import math

import cv2
import numpy as np
import pytest
import torch

from prune import main as prune
from prune import parse_args as parse_prune
from tests.conftest import ROOT
from utils.checkpoint import load_model
from utils.errors import UserError
from utils.evaluation.rejection import FrameScores
from utils.maps import Target
from utils.network.rejector import Rejector
from utils.training.rejector import HARDEST, annotated_labels, own_labels, rejector_loss

NETWORK = ROOT / "weights" / "narrow_pruned.pt"


def maps_of(*cells: tuple[int, int], size=(16, 24)) -> torch.Tensor:
    """(1, 1, H, W) of zeros with ones in these cells (row, column)."""
    maps = torch.zeros(1, 1, *size)
    for row, column in cells:
        maps[0, 0, row, column] = 1
    return maps


def cells_of(labels: torch.Tensor) -> set[tuple[int, int]]:
    return {(row, column) for _, _, row, column in labels.nonzero().tolist()}


class TestLabels:
    def test_of_annotated_frames(self):
        """Words in cells (0, 0), found, and (3, 20), not found; a don't-care cell at (9, 9)."""
        distances, angle = torch.zeros(1, 4, 16, 24), torch.zeros(1, 1, 16, 24)
        target = Target(maps_of((0, 0), (3, 20), (9, 9)), distances, angle, 1 - maps_of((9, 9), (3, 19)))
        found = maps_of((0, 0), (9, 9), (15, 0)) > 0
        positive, negative = annotated_labels(target, found)
        assert positive.shape == negative.shape == (1, 1, 4, 6)
        assert cells_of(positive) == {(0, 0)}
        everything = {(row, column) for row in range(4) for column in range(6)}
        assert cells_of(negative) == everything - {(0, 0), (0, 5), (0, 4), (2, 2)}, "(15, 0) is a false detection"

    def test_of_pictures_without_annotations(self):
        positive, negative = own_labels(maps_of((15, 23)) > 0)
        assert cells_of(positive) == {(3, 5)}
        assert len(cells_of(negative)) == 24 - 4
        assert not (positive & negative).any()

    def test_sizes_that_are_no_multiples_of_a_cell(self):
        positive, _ = own_labels(maps_of((8, 16), size=(9, 17)) > 0)
        assert positive.shape == (1, 1, 3, 5)
        assert cells_of(positive) == {(2, 4)}


class TestLoss:
    def test_by_hand(self):
        """One positive cell, all others negative; the best cell's probability is the image's."""
        logits = torch.full((1, 1, 8, 8), -2.0)
        logits[0, 0, 0, 0] = 1
        positive = torch.zeros(1, 1, 8, 8, dtype=torch.bool)
        positive[0, 0, 0, 0] = True
        expected = 2 * math.log1p(math.exp(-1)) + math.log1p(math.exp(-2))
        assert rejector_loss(logits, positive, ~positive).item() == pytest.approx(expected, rel=1e-5)

    def test_only_the_hardest_negative_cells_count(self):
        logits = torch.full((1, 1, 8, 8), -20.0)
        logits.view(-1)[:HARDEST] = 2
        nothing = torch.zeros(1, 1, 8, 8, dtype=torch.bool)
        assert rejector_loss(logits, nothing, ~nothing).item() == pytest.approx(2 * math.log1p(math.exp(2)), rel=1e-4)

    def test_cells_without_a_label(self):
        logits, nothing = torch.randn(2, 1, 4, 4, requires_grad=True), torch.zeros(2, 1, 4, 4, dtype=torch.bool)
        loss = rejector_loss(logits, nothing, nothing)
        loss.backward()
        assert loss == 0
        assert not logits.grad.any()


class TestThreshold:
    SCORES = FrameScores(
        np.array([0.9, 0.8, 0.3, 0.2, 0.5, 0.1, 0.05]),
        np.array([5, 1, 1, 0, 0, 0, 0]),
        np.array([True, True, True, True, False, False, False]),
    )
    """Three frames with found words, one whose word is not found, three without."""

    def test_it_loses_at_most_the_given_share(self):
        assert self.SCORES.threshold(0.01) == 0.3
        assert self.SCORES.threshold(1 / 3) == 0.8
        assert self.SCORES.threshold(1) == 0.9, "the frame of the highest probability always passes"

    def test_what_it_loses_and_saves(self):
        scores = self.SCORES
        assert (scores.frames_lost(0.3), scores.empty_rejected(0.3), scores.text_rejected(0.3)) == (0, 2 / 3, 1 / 4)
        assert (scores.frames_lost(0.8), scores.words_lost(0.8), scores.empty_rejected(0.8)) == (1 / 3, 1 / 7, 1)
        assert scores.area() == pytest.approx(8 / 9)
        assert scores.curve()[0] == (0.05, 0, 0)
        assert scores.curve()[-1] == (0.9, 2 / 3, 1)

    def test_without_text(self):
        empty = FrameScores(np.array([0.1]), np.array([0]), np.array([False]))
        assert math.isnan(empty.frames_lost(0.5))
        with pytest.raises(UserError, match="no threshold can be chosen"):
            empty.threshold(0.01)


@pytest.fixture(scope="module")
def walls(tmp_path_factory):
    """Ten smooth pictures without text."""
    folder = tmp_path_factory.mktemp("walls")
    rng = np.random.default_rng(0)
    for number in range(10):
        small = rng.integers(60, 200, (2, 3, 3), np.uint8)
        cv2.imwrite(str(folder / f"{number}.png"), cv2.resize(small, (160, 120), interpolation=cv2.INTER_CUBIC))
    return folder


@pytest.fixture(scope="module")
def line(rendered, walls):
    data = ("--train-folder-sample", rendered / "frames", "--textless", walls, "--unlabelled", walls)
    view = ("--short-side", 192, "--crop", 160, "--val-short-side", 192, "--batch-size", 2, "--num-workers", 0)
    return ("train_sample.py", "--pretrain-model", NETWORK, "--prune", "--rejector", "--val", *data, *view)


@pytest.fixture(scope="module")
def trained(line, run_script, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    process = run_script(*line, "--epoch", 16, "--lr", 3e-3, "--save-dir", folder)
    return process.stdout, folder


class TestScript:
    def test_it_rejects_walls_and_keeps_words(self, trained, rendered, walls):
        output, folder = trained
        assert "6 + 8 + 8 frames" in output
        network, contents = load_model(folder / "rejector.pt")
        rejector = Rejector.of_checkpoint(folder, contents, network)
        assert f"threshold   {rejector.threshold:.4f}" in output
        with open(folder / "rejector_roc.csv", newline="") as file:
            rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
        assert [row["threshold"] for row in rows] == sorted({row["threshold"] for row in rows})
        chosen = next(row for row in rows if row["threshold"] == rejector.threshold)
        assert chosen["frames_lost"] == 0
        assert chosen["empty_rejected"] == 1

    def test_the_network_stays_as_it_is(self, trained):
        before, after = load_model(NETWORK)[0].state_dict(), load_model(trained[1] / "rejector.pt")[0].state_dict()
        assert before.keys() == after.keys()
        assert all(torch.equal(before[name], after[name]) for name in before)

    def test_the_benchmark_counts_what_it_loses(self, trained, rendered, walls, run_script):
        files = f"a={trained[1] / 'rejector.pt'}"
        folders = (rendered / "frames", files, "--textless", walls, "--short-side", 192)
        output = run_script("-m", "benchmarks.rejector", *folders).stdout
        assert "6 frames" in output
        assert "0 of 4" in output, "frames with text lost"
        assert "2 of 2" in output, "frames without text rejected"

    def test_pruning_leaves_it_out(self, trained, tmp_path, capsys):
        line = ("--pretrain-model", trained[1] / "rejector.pt", "--save-dir", tmp_path / "pruned")
        prune(parse_prune([str(word) for word in line]))
        assert "rejector is left out" in capsys.readouterr().out
        assert "rejector" not in load_model(tmp_path / "pruned" / "pruned.pt")[1]

    def test_what_it_refuses(self, line, refuses, tmp_path, walls):
        out = ("--save-dir", tmp_path / "out")
        refuses(*(word for word in line if word != "--rejector"), *out, parts=["--textless", "without --rejector"])
        alone = ("train_sample.py", "--pretrain-model", NETWORK, "--rejector", "--train-folder-sample", walls, *out)
        refuses(*alone, parts=["--rejector needs --val"])
        refuses(*line, *out, "--ema", 0.9, parts=["--ema has no effect with --rejector"])
        refuses(*line, *out, "--ngpus", 2, parts=["one process"])
        refuses(*line, "--save-dir", walls, parts=[str(walls)])
        (tmp_path / "few").mkdir()
        refuses(*line, *out, "--textless", tmp_path / "few", parts=["few: 0 pictures"])
