"""The command lines as users type them, in separate processes, and their errors."""

import csv
import importlib
import json
import os
import pkgutil
import shutil
import subprocess

import cv2
import numpy as np
import pytest
import torch

import benchmarks
from model_pruned import FOTSModelPruned
from train_sample import main, parse_args
from utils.checkpoint import load_model, save_checkpoint
from utils.network.channels import uniform_plan
from utils.runtime.distributed import Ranks

VIEW = ("--val-short-side", 96)
VAL = ("--val", *VIEW)
TRAIN_VIEW = ("--short-side", 110, "--crop", 96, "--num-workers", 0, "--amp", "off")


@pytest.fixture(scope="module")
def folders(rendered):
    return ("--train-folder-syn", rendered / "synthtext", "--train-folder-sample", rendered / "frames")


def read_csv(path) -> list[dict]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


class TestTraining:
    def test_the_documented_lines(self, tmp_path, run_script, folders):
        """New, continued, on SynthText alone, pruned and fine-tuned: in the order of a user's work."""
        out, step = tmp_path / "out", ("--batch-size", 4, "--batches-before-train", 2, "--ngpus", 1)
        line = ("train_sample.py", *folders, *step, "--save-dir", out, "--epoch", 1, *VAL, *TRAIN_VIEW)
        first = run_script(*line, "--backbone-weights", "none")
        assert "36,259,526 parameters" in first.stdout
        assert "device      CPU" in first.stdout or "device      GPU" in first.stdout
        assert sorted(path.name for path in out.iterdir()) == sorted(
            {".lock", "last.pt", "best.pt", "epoch_1.pt", "results.csv"}
        )
        again = run_script(*line, "--pretrain-model", out / "last.pt", "--continue-training")
        assert "epoch 2  " in again.stdout
        rows = read_csv(out / "results.csv")
        assert [row["epoch"] for row in rows] == ["1", "2"]
        unmeasured = [row.pop("train_distillation") for row in rows]
        assert unmeasured == ["", ""]  # without --teacher
        assert all(np.isfinite(float(value)) for row in rows for value in row.values())
        assert max(float(row["hmean"]) for row in rows) == load_model(out / "best.pt")[1]["best_score"]
        assert load_model(out / "last.pt")[1]["epoch"] == 2

        pruned = tmp_path / "pruned"
        run_script("prune.py", "--pretrain-model", out / "last.pt", "--save-dir", pruned, "--sparsity", 0.9)
        line = ("train_sample.py", *folders[:2], *step, "--save-dir", tmp_path / "fine", "--epochs", 1, *TRAIN_VIEW)
        fine = run_script(*line, "--pretrain-model", pruned / "pruned.pt", "--continue-training", "--prune")
        assert "no --val" in fine.stdout
        assert "the optimizer restarts" not in fine.stdout  # prune.py carried its state to the kept channels
        assert not (tmp_path / "fine" / "best.pt").exists()

    def test_sample_frames_alone(self, tmp_path, run_script, folders, small_checkpoint):
        line = ("train_sample.py", *folders[2:], "--pretrain-model", small_checkpoint, "--prune", *TRAIN_VIEW)
        done = run_script(*line, "--ngpus", 0, "--save-dir", tmp_path, "--epoch", 1, "--batch-size", 4, *VAL)
        assert "as asked by --ngpus 0" in done.stdout
        assert "6 of 6 images" in done.stdout

    def test_weights_learn(self, tmp_path, run_script, folders, small_checkpoint):
        line = ("train_sample.py", *folders, "--pretrain-model", small_checkpoint, "--prune", *TRAIN_VIEW)
        run_script(
            *line, "--save-dir", tmp_path, "--epoch", 6, "--batch-size", 4, "--save-epoch-every", 0, "--lr", 0.003
        )
        losses = [float(row["train_loss"]) for row in read_csv(tmp_path / "results.csv")]
        assert losses[-1] < 0.9 * losses[0]
        assert not (tmp_path / "epoch_1.pt").exists()

    def test_an_earlier_run_is_set_aside_not_overwritten(self, tmp_path, run_script, folders, small_checkpoint):
        line = ("train_sample.py", *folders, "--pretrain-model", small_checkpoint, "--prune", *TRAIN_VIEW)
        line = (*line, "--save-dir", tmp_path, "--epoch", 1, "--batch-size", 8)
        run_script(*line)
        before = (tmp_path / "last.pt").read_bytes()
        assert "earlier-1" in run_script(*line).stdout
        assert (tmp_path / "earlier-1" / "last.pt").read_bytes() == before
        assert len(read_csv(tmp_path / "results.csv")) == 1

    def test_the_earlier_codes_checkpoint_goes_on(self, tmp_path, run_script, folders, small_checkpoint):
        model, _ = load_model(small_checkpoint)
        optimizer = torch.optim.Adam(model.parameters())
        state = {f"module.{name}": tensor for name, tensor in model.state_dict().items()}
        contents = {"model_state_dict": state, "optimizer_state_dict": optimizer.state_dict(), "epoch": 3}
        torch.save(contents | {"lr_scheduler_state_dict": {}, "best_score": 1.5}, tmp_path / "earlier.pt")
        line = (
            "train_sample.py",
            *folders,
            "--pretrain-model",
            tmp_path / "earlier.pt",
            "--continue-training",
            "--prune",
        )
        done = run_script(*line, *TRAIN_VIEW, "--save-dir", tmp_path / "out", "--epoch", 1, "--batch-size", 8, *VAL)
        assert "of the earlier code" in done.stdout
        assert "epoch 4  " in done.stdout

    def test_accumulated_gradients_equal_one_large_batchs(self, tmp_path, folders, small_plan, monkeypatch):
        """BatchNorms in eval mode. 22 images as 3 batches of 3 a step, whose last one has 4, and as one batch of 9."""
        torch.manual_seed(0)
        save_checkpoint(tmp_path / "start.pt", FOTSModelPruned(small_plan))
        train = torch.nn.Module.train
        monkeypatch.setattr(torch.nn.Module, "train", lambda self, mode=True: train(self, False))
        weights = []
        for batch, count in ((3, 3), (9, 1)):
            out = tmp_path / f"{batch}"
            line = ("train_sample.py", *folders, "--pretrain-model", tmp_path / "start.pt", "--prune", *TRAIN_VIEW)
            line = (*line, "--save-dir", out, "--epoch", 1, "--batch-size", batch, "--batches-before-train", count)
            main(parse_args([str(word) for word in line[1:]]), Ranks())
            weights.append(torch.cat([p.detach().flatten() for p in load_model(out / "last.pt")[0].parameters()]))
        start = torch.cat([p.detach().flatten() for p in load_model(tmp_path / "start.pt")[0].parameters()])
        moved = (weights[0] - start).abs()
        assert moved.max() > 1e-3  # three steps of Adam
        assert (weights[0] - weights[1]).abs().mean() < 0.02 * moved.mean()
        rows = [read_csv(tmp_path / f"{batch}" / "results.csv")[0]["train_loss"] for batch in (3, 9)]
        assert float(rows[0]) == pytest.approx(float(rows[1]), rel=1e-3)

    def test_full_disk(self, tmp_path, refuses, folders, small_checkpoint):
        disk = tmp_path / "disk"
        disk.mkdir()
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", disk], capture_output=True).returncode:
            pytest.skip("cannot mount a tmpfs here")
        try:
            line = ("train_sample.py", *folders, "--pretrain-model", small_checkpoint, "--prune", *TRAIN_VIEW)
            refuses(
                *line,
                "--save-dir",
                disk,
                "--epoch",
                1,
                "--batch-size",
                8,
                parts=["epoch_1.pt: could not be written", "more than are free"],
            )
            assert not list(disk.glob("**/*.pt"))
        finally:
            subprocess.run(["umount", disk], check=True)


class TestFlagsWithoutEffect:
    def test_refused(self, tmp_path, refuses, folders, small_checkpoint):
        train = ("train_sample.py", *folders, "--save-dir", tmp_path)
        refuses(*train, "--continue-training", parts=["--continue-training needs --pretrain-model"])
        refuses(*train, "--prune", parts=["--prune needs --pretrain-model"])
        refuses(*train, "--pretrain-model", small_checkpoint, parts=["a pruned network; give --prune"])
        pruned = (*train, "--pretrain-model", small_checkpoint, "--prune")
        refuses(*pruned, "--backbone-weights", "none", parts=["--backbone-weights has no effect"])
        refuses("train_sample.py", "--save-dir", tmp_path, parts=["nothing to train on"])
        wrong = {
            "--batch-size": "0",
            "--epoch": "-1",
            "--lr": "fast",
            "--ngpus": "1.5",
            "--crop": "64",
            "--rotation": "90",
        }
        for option, value in wrong.items():
            refuses(*train, option, value, parts=[option, value])
        refuses(*train, "--epch", "3", parts=["--epch"])
        refuses(*train, "--batch", "3", parts=["--batch"])

    def test_an_original_with_prune(self, tmp_path, refuses, rendered):
        save_checkpoint(tmp_path / "original.pt", FOTSModelPruned(uniform_plan(1)))
        line = (
            "test_sample.py",
            "--test-folder-sample",
            rendered / "frames",
            "--pretrain-model",
            tmp_path / "original.pt",
        )
        refuses(*line, "--prune", parts=["not a pruned network"])


class TestBadInput:
    def test_paths_and_numbers(self, tmp_path, refuses, folders, small_checkpoint):
        (tmp_path / "file").write_text("")
        train = ("train_sample.py", *folders, "--pretrain-model", small_checkpoint, "--prune")
        refuses(*train, "--save-dir", tmp_path / "file", parts=["file: File exists"])
        refuses(*train, "--save-dir", tmp_path / "file" / "below", parts=["Not a directory"])
        refuses(*train, "--save-dir", tmp_path / ("x" * 300), parts=["File name too long"])
        refuses(*train, "--save-dir", "", parts=["--save-dir", "an empty value"])
        refuses(*train[:-2], "", "--save-dir", tmp_path, parts=["--pretrain-model", "an empty value"])
        for option, value in (
            ("--seed", "9" * 30),
            ("--batch-size", "1" + "0" * 20),
            ("--epoch", "²"),
            ("--lr", "inf"),
        ):
            refuses(*train, "--save-dir", tmp_path, option, value, parts=[option, value])

    def test_folders(self, tmp_path, refuses, small_checkpoint):
        train = ("train_sample.py", "--save-dir", tmp_path / "out", "--backbone-weights", "none")
        refuses(*train, "--train-folder-syn", tmp_path, parts=[tmp_path, "there is no gt.mat"])
        refuses(*train, "--train-folder-sample", tmp_path, parts=[tmp_path, "no sample dataset"])
        (tmp_path / "gt.mat").write_bytes(b"MATLAB 5.0 MAT-file")
        refuses(*train, "--train-folder-syn", tmp_path, parts=["gt.mat: cannot be read"])
        test = ("test_sample.py", "--test-folder-sample", tmp_path / "none", "--prune")
        refuses(*test, "--pretrain-model", small_checkpoint, parts=[tmp_path / "none", "no such file or folder"])

    def test_checkpoints(self, tmp_path, refuses, rendered):
        (tmp_path / "empty.pt").write_bytes(b"")
        torch.save({"weights": torch.zeros(3)}, tmp_path / "another.pt")
        for script in (
            ("test_sample.py", "--test-folder-sample", rendered / "frames"),
            ("prune.py", "--save-dir", tmp_path),
        ):
            refuses(*script, "--pretrain-model", tmp_path / "empty.pt", parts=["empty.pt: the file is empty"])
            refuses(*script, "--pretrain-model", tmp_path / "another.pt", parts=["no checkpoint of this network"])
            refuses(*script, "--pretrain-model", tmp_path / "missing.pt", parts=["missing.pt: there is no such file"])

    def test_broken_frames_are_left_out_of_a_test(self, tmp_path, rendered, run_script, small_checkpoint):
        shutil.copytree(rendered / "frames", tmp_path / "frames")
        images = sorted((tmp_path / "frames" / "test_images1").iterdir())
        images[0].write_bytes(images[0].read_bytes()[:500])
        images[1].write_text("no picture")
        text = tmp_path / "frames" / "sample_test_annotation_txt" / f"{images[2].stem}.txt"
        text.write_text(text.read_text() + "1,2,3,4,5,6,7,seven numbers\n")
        line = ("test_sample.py", "--test-folder-sample", tmp_path / "frames", "--pretrain-model", small_checkpoint)
        done = run_script(*line, "--prune", *VIEW)
        assert "images  2" in done.stdout
        assert "2 images unreadable, left out" in done.stdout
        assert "1 malformed lines, left out" in done.stdout


class TestMeasuring:
    def test_the_documented_line(self, tmp_path, run_script, rendered, small_checkpoint):
        line = ("test_sample.py", "--test-folder-sample", rendered / "frames", "--batch-size", 1)
        line = (*line, "--batches-before-train", 1, "--pretrain-model", small_checkpoint, "--prune", *VIEW)
        done = run_script(*line, "--output-dir", tmp_path / "out")
        metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
        for name in ("loss", "precision", "recall", "hmean", "images_per_second"):
            assert name in done.stdout
            assert np.isfinite(metrics[name])
        assert metrics["images"] == 4
        assert len(list((tmp_path / "out").glob("*.jpg"))) == len(list((tmp_path / "out").glob("res_*.txt"))) == 4

    def measure(self, run_script, folder, checkpoint, size: int) -> dict:
        line = ("test_sample.py", "--test-folder-sample", folder / "frames", "--pretrain-model", checkpoint, "--prune")
        run_script(*line, *VIEW, "--batch-size", size, "--score-threshold", 0.1, "--output-dir", folder / "out")
        return json.loads((folder / "out" / "metrics.json").read_text())

    def test_any_batch_size_gives_the_same(self, tmp_path, run_script, rendered, small_checkpoint):
        shutil.copytree(rendered / "frames", tmp_path / "frames")
        one, four = (self.measure(run_script, tmp_path, small_checkpoint, size) for size in (1, 4))
        for name in ("images", "words"):
            assert one[name] == four[name]
        assert one["detections"] == pytest.approx(four["detections"], rel=0.02)  # noise, near the threshold
        assert one["loss"] == pytest.approx(four["loss"], rel=0.02)  # the easy negatives are drawn at random

    def test_frames_of_any_shape_count_in_one_batch(self, tmp_path, run_script, rendered, small_checkpoint):
        shutil.copytree(rendered / "frames", tmp_path / "frames")
        for number, path in enumerate(sorted((tmp_path / "frames" / "test_images1").iterdir())):
            image = cv2.imread(str(path))
            cv2.imwrite(str(path), image[: 192 - 30 * number, : 256 - 70 * number])
        assert self.measure(run_script, tmp_path, small_checkpoint, 4)["images"] == 4

    def test_table_of_several(self, tmp_path, run_script, refuses, rendered, small_checkpoint):
        line = ("test_sample.py", "--test-folder-sample", rendered / "frames", "--pretrain-model", small_checkpoint)
        run_script(*line, "--prune", *VIEW, "--output-dir", tmp_path / "one")
        table = run_script("-m", "tools.compare_results", tmp_path / "one", tmp_path / "one").stdout
        assert table.count("one ") == 2
        assert "hmean" in table
        refuses("tools.compare_results", tmp_path, parts=["metrics.json"])


def test_help_names_every_option(run_script):
    for script in ("train_sample.py", "test_sample.py", "prune.py"):
        text = run_script(script, "--help", env={**os.environ, "COLUMNS": "200"}).stdout
        assert "--pretrain-model" in text
        assert f"python3 {script}" in text


class TestBenchmarks:
    """Benchmarks run rarely: each has to start, and those that no other test covers have to work."""

    @pytest.mark.parametrize("module", [module.name for module in pkgutil.iter_modules(benchmarks.__path__)])
    def test_each_starts(self, module):
        assert importlib.import_module(f"benchmarks.{module}").__doc__

    def test_the_readmes_pictures(self, tmp_path, run_script, rendered, small_checkpoint):
        line = ("--pretrain-model", small_checkpoint, "--test-folder-sample", rendered / "frames", "--short-side", 96)
        run_script("-m", "benchmarks.pictures", *line, "--frames", 0, 1, "--output-dir", tmp_path)
        for name in ("detections", "score_map"):
            assert cv2.imread(str(tmp_path / f"{name}.jpg")).shape == (384, 1024, 3)

    def test_a_training_step(self, run_script):
        sizes = ("--batch-size", 2, "--crop", 96, "--steps", 1, "--rounds", 1, "--num-workers", 0)
        line = ("--networks", "quarter", "--kinds", "plain", "ours, float32")
        printed = run_script("-m", "benchmarks.train_step", *sizes, *line).stdout
        row = next(row for row in printed.splitlines() if row.startswith("quarter: ours, float32"))
        assert float(row.split()[-1]) > 0
