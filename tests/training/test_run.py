"""The parts of a run: step arithmetic, options, the columns that follow from the criterion, a step that is skipped."""

import argparse
import math
import shutil
from typing import ClassVar

import pytest
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from datasets import EpochSampler, SampleDataset, SynthText, make_loader
from loss import TERMS, Criterion
from model_pruned import FOTSModelPruned
from train_sample import parse_args
from utils.data.augmentation import TrainTransform
from utils.data.problems import Problems
from utils.errors import UserError
from utils.network.loss_terms import Term
from utils.network.parameter_groups import named_groups, optimizer_groups
from utils.options.training import learner_settings, resumed_options, step_settings
from utils.runtime.device import Machine
from utils.runtime.signals import StopRequest
from utils.training.average import WeightAverage
from utils.training.build import LearnerSettings, build_learner
from utils.training.epoch import train_one_epoch
from utils.training.log import EpochLog
from utils.training.progress import Progress
from utils.training.resume import continue_from
from utils.training.run import Run
from utils.training.run_folder import append_row, repair_results
from utils.training.saving import Saver
from utils.training.step import StepSettings, StepSize, StepTotals, TrainingStep, seed_step
from utils.training.summary import columns, epoch_row

LINE = ("--train-folder-sample", "frames", "--save-dir", "out")


def small_run(plan: dict[str, int], last_epoch: int = 1, **options) -> Run:
    torch.manual_seed(0)
    criterion, settings = Criterion(), LearnerSettings(amp="off", **options)
    learner = build_learner(FOTSModelPruned(plan), criterion, settings, Machine(torch.device("cpu")), total_steps=4)
    return Run(learner, StepSettings(StepSize(4)), Progress(criterion), last_epoch)


@pytest.fixture
def batch(rendered):
    dataset = SynthText(rendered / "synthtext", transform=TrainTransform(96, crop=96))
    return next(iter(make_loader(dataset, EpochSampler(dataset), 4, 0)))


class TestStepSize:
    def test_images_and_steps(self):
        size = StepSize(batch_size=4, batches=2, processes=3)
        assert (size.images_per_process, size.images) == (8, 24)
        assert [size.steps(images) for images in (1, 8, 9, 16)] == [1, 1, 2, 2]

    @pytest.mark.parametrize("images", [1, 7, 21, 22, 40])
    def test_as_many_steps_as_groups_of_batches(self, images):
        for batch_size in (1, 3, 4):
            for batches in (1, 2, 5):
                groups = math.ceil(math.ceil(images / batch_size) / batches)
                assert StepSize(batch_size, batches).steps(images) == groups


class TestOptions:
    def test_parsing_does_not_change_the_namespace(self):
        line = parse_args([*LINE, "--lr", "0.1", "--epochs", "3"])
        assert line.given == {"train_folder_sample", "save_dir", "lr", "epoch"}
        assert not {"given", "last_epoch"} & vars(line.options).keys()

    def test_settings_of_the_options(self):
        options = parse_args([*LINE, "--batch-size", "3", "--clip-grad", "5", "--ema", "0.9"]).options
        assert step_settings(options, processes=2) == StepSettings(StepSize(3, 2, 2), clip_norm=5)
        assert learner_settings(options) == LearnerSettings(ema=0.9)
        assert learner_settings(parse_args([*LINE, "--patience", "0"]).options).patience == 0
        assert step_settings(parse_args(LINE).options, 1).clip_norm == math.inf

    def test_a_resumed_runs_options(self):
        line = parse_args(["--save-dir", "here", "--resume", "--num-workers", "0"])
        before = argparse.Namespace(**vars(line.options))
        saved = {**vars(parse_args([*LINE, "--lr", "0.5", "--ngpus", "4"]).options), "save_dir": "there"}
        options = resumed_options(line, saved)
        assert line.options == before
        assert (options.lr, options.train_folder_sample) == (0.5, "frames")
        assert (str(options.save_dir), options.resume, options.num_workers, options.ngpus) == ("here", True, 0, 1)

    def test_auto_resume_takes_the_line_that_started_the_run(self):
        line = parse_args([*LINE, "--auto-resume", "--lr", "0.5", "--ngpus", "2"])
        saved = {**vars(line.options), "save_dir": "out", "last_epoch": 30, "ngpus": 1}
        assert resumed_options(line, saved).resume
        assert resumed_options(line, saved).ngpus == 2
        with pytest.raises(UserError, match=r"--lr 0\.1, this line 0\.5"):
            resumed_options(line, saved | {"lr": 0.1})

    def test_auto_resume_does_not_continue_its_own_checkpoint(self, capsys):
        """A complete run in the folder would end it with code 0 and nothing trained, at every start."""
        line = [*LINE, "--auto-resume", "--continue-training", "--pretrain-model"]
        assert parse_args([*line, "before/last.pt"]).options.auto_resume
        with pytest.raises(SystemExit, match="2"):
            parse_args([*line, "before/../out/last.pt"])
        assert "give another --save-dir" in capsys.readouterr().err


class TestNames:
    def test_columns_follow_from_the_terms(self):
        class WithMore(Criterion):
            terms = (*TERMS, Term("centre", "regression_cells"))

        names = ("classification", "iou", "angle")
        assert columns(Criterion())[2:7] == ["train_loss", *(f"train_{name}" for name in names), "train_distillation"]
        assert set(columns(WithMore())) - set(columns(Criterion())) == {"train_centre"}

    def test_a_row_has_the_columns(self, small_plan):
        run = small_run(small_plan)
        run.progress.gather(run.ranks)
        row = epoch_row(run, None)
        assert list(row) == columns(run.learner.criterion)
        assert row["epoch"] == 1
        assert {name for name, value in row.items() if value == ""} == {
            "train_distillation",
            "val_loss",
            "precision",
            "recall",
            "hmean",
            "images_per_second",
            "seconds",
        }

    def test_parameter_groups(self, small_plan):
        model = FOTSModelPruned(small_plan)
        (everything,), (weights, others) = named_groups(model, False), named_groups(model, True)
        assert [name for name, _ in everything] == [name for name, _ in model.named_parameters()]
        assert sorted(name for name, _ in weights + others) == sorted(name for name, _ in everything)
        assert {parameter.dim() for _, parameter in weights} == {4}
        assert {parameter.dim() for _, parameter in others} == {1}
        assert [group.get("weight_decay") for group in optimizer_groups(model, True)] == [None, 0.0]


class TestStep:
    def take(self, run: Run, batch, **changes):
        counts = {name: float(count) for name, count in run.learner.criterion.counts(batch.target).items()}
        seed_step(0, 0, 0, 0)
        return TrainingStep(run.learner, run.settings).take([batch], StepTotals(counts | changes, len(batch.images)))

    def test_the_same_place_gives_the_same_step(self, small_plan, batch):
        runs = [small_run(small_plan), small_run(small_plan)]
        first, second = (self.take(run, batch) for run in runs)
        assert first.sums[0].tolist() == second.sums[0].tolist()
        for one, other in zip(*(run.learner.model.state_dict().values() for run in runs), strict=True):
            assert torch.equal(one, other)

    def test_a_step_that_is_not_finite_changes_nothing(self, small_plan, batch):
        run = small_run(small_plan, ema=0.5)
        before = {name: tensor.clone() for name, tensor in run.learner.model.state_dict().items()}
        outcome = self.take(run, batch, regression_cells=math.nan)
        assert not outcome.finite
        assert outcome.sums[0].tolist() == [0] * 5
        for name, tensor in run.learner.model.state_dict().items():
            assert torch.equal(tensor, before[name]), name

    def test_progress_adds_up(self, small_plan, batch):
        run = small_run(small_plan)
        outcomes = [self.take(run, batch) for _ in range(2)]
        for outcome in outcomes:
            run.progress.add(outcome)
        assert (run.progress.step, run.progress.images) == (2, 8)
        expected = (outcomes[0].sums[0] + outcomes[1].sums[0]).parts()
        run.progress.gather(run.ranks)
        assert run.progress.losses() == {**expected, "distillation": 0}
        restored = Progress(run.learner.criterion)
        restored.restore(run.progress.step, run.progress.gathered, run.ranks)
        restored.gather(run.ranks)
        assert restored.gathered == run.progress.gathered


class TestContinue:
    def test_given_values_replace_the_checkpoints(self, tmp_path, small_plan):
        first = small_run(small_plan)
        first.progress.epoch, first.progress.best_score = 3, 0.25
        first.learner.optimizer.param_groups[0]["lr"] = 1e-5
        first.progress.gather(first.ranks)
        Saver(tmp_path, {}).save_epoch(first, {}, is_best=False)
        contents = torch.load(tmp_path / "last.pt", weights_only=True)
        run = small_run(small_plan, last_epoch=2)
        continue_from(run, contents, tmp_path / "last.pt", {"weight_decay": 0.5})
        (group,) = run.learner.optimizer.param_groups
        assert (group["lr"], group["weight_decay"]) == (1e-5, 0.5)
        assert (run.progress.epoch, run.progress.best_score, run.last_epoch) == (3, 0.25, 5)
        assert (tmp_path / "epoch_3.pt").exists()
        run = small_run(small_plan)
        continue_from(run, contents, tmp_path / "last.pt", {"lr": 0.001})
        assert run.learner.optimizer.param_groups[0]["lr"] == 0.001

    @pytest.mark.parametrize("schedule", ["plateau", "cosine"])
    def test_given_values_replace_those_of_the_earlier_code(self, tmp_path, small_plan, schedule):
        """Its files have no format; the rate in their optimizer is what the earlier run ended with."""
        first = small_run(small_plan)
        first.learner.optimizer.param_groups[0]["lr"] = 1e-5
        contents = {"epoch": 3, "optimizer": first.learner.optimizer.state_dict()}
        run = small_run(small_plan, schedule=schedule, lr=0.5, warmup_steps=2)
        continue_from(run, contents, tmp_path / "earlier.pt", {"lr": 0.5, "weight_decay": 0.25})
        (group,) = run.learner.optimizer.param_groups
        assert (group["lr"], group["weight_decay"]) == ({"plateau": 0.5, "cosine": 0.25}[schedule], 0.25)
        assert (run.progress.epoch, run.progress.best_score) == (3, -1)
        run = small_run(small_plan, schedule=schedule, lr=0.5, warmup_steps=2)
        continue_from(run, contents, tmp_path / "earlier.pt", {})
        (group,) = run.learner.optimizer.param_groups
        assert group["lr"] == {"plateau": 1e-5, "cosine": 0.25}[schedule]


def test_problems_are_reported_once(tmp_path, small_plan, capsys):
    run, log = small_run(small_plan), EpochLog(tmp_path)
    log.report(run, Problems())
    assert capsys.readouterr().out == ""
    problems = Problems()
    problems.add("images unreadable, left out", "a.jpg")
    log.report(run, problems)
    assert "1 images unreadable, left out (e.g. a.jpg)" in capsys.readouterr().out
    log.report(run, problems)
    assert capsys.readouterr().out == ""


class TestResultsTable:
    ROWS: ClassVar = [{"epoch": epoch, "train_loss": epoch / 7, "hmean": ""} for epoch in (1, 2, 3)]

    @pytest.fixture
    def table(self, tmp_path):
        for row in self.ROWS[:2]:
            append_row(tmp_path / "results.csv", row)
        return tmp_path / "results.csv"

    def test_a_whole_table_is_not_touched(self, table):
        before = table.stat()
        repair_results(table, self.ROWS[1])
        assert table.stat() == before

    def test_a_missing_line_is_added_a_later_one_removed(self, table):
        text = table.read_bytes()
        append_row(table, self.ROWS[2])
        whole = table.read_bytes()
        repair_results(table, self.ROWS[1])
        assert table.read_bytes() == text
        repair_results(table, self.ROWS[2])
        assert table.read_bytes() == whole

    def test_torn_anywhere(self, table):
        whole = table.read_bytes()
        for size in range(len(whole)):
            table.write_bytes(whole[:size])
            repair_results(table, self.ROWS[1])
            lines = table.read_bytes().splitlines(keepends=True)
            assert lines[0] == whole.splitlines(keepends=True)[0]
            assert lines[-1] == whole.splitlines(keepends=True)[-1]
            assert len(lines) == 3 or size < whole.rindex(b"2,")

    def test_an_empty_file_gets_a_header(self, tmp_path):
        (tmp_path / "results.csv").touch()
        append_row(tmp_path / "results.csv", self.ROWS[0])
        assert (tmp_path / "results.csv").read_text().splitlines()[0] == "epoch,train_loss,hmean"


def test_the_average_is_pytorchs(small_plan):
    torch.manual_seed(0)
    model = FOTSModelPruned(small_plan)
    ours = WeightAverage(model, 0.9)
    theirs = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
    for _ in range(4):
        model(torch.randn(2, 3, 64, 64))  # changes the BatchNorms' statistics
        for parameter in model.parameters():
            parameter.data += torch.randn_like(parameter)
        ours.update_parameters(model)
        theirs.update_parameters(model)
    expected = theirs.state_dict()
    assert ours.state_dict().keys() == expected.keys()
    for name, tensor in ours.state_dict().items():
        assert torch.equal(tensor, expected[name]) or name.endswith("num_batches_tracked"), name


@pytest.mark.parametrize(("sync_bn", "images"), [(False, 5), (True, 4)])
def test_a_batch_that_cannot_be_read(tmp_path, rendered, small_plan, sync_bn, images):
    """3 steps of 2 batches of 1. With --sync-bn, a process without one of them would let the others wait for ever."""
    shutil.copytree(rendered / "frames", tmp_path / "frames")
    dataset = SampleDataset(tmp_path / "frames", transform=TrainTransform(96, crop=96))
    sorted((tmp_path / "frames" / "train_images1").iterdir())[2].write_bytes(b"no picture")
    run = small_run(small_plan)
    run.settings, run.learner.sync_bn = StepSettings(StepSize(1, 2)), sync_bn
    with StopRequest() as stop:
        train_one_epoch(run, make_loader(dataset, EpochSampler(dataset), 1, 0), Saver(tmp_path, {}), stop)
    assert (run.progress.step, run.progress.images) == (3, images)
