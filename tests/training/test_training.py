"""Runs that are stopped, killed, resumed and run by several processes: real processes, real signals."""

import csv
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch

from datasets import EpochSampler, SynthText, make_loader
from loss import Criterion
from model_pruned import FOTSModelPruned
from tests.conftest import ROOT
from utils.checkpoint import load_model, save_checkpoint
from utils.data.augmentation import TrainTransform
from utils.network.channels import uniform_plan
from utils.runtime.device import Machine
from utils.runtime.signals import EXIT_STOPPED, Stopped, StopRequest
from utils.training.build import LearnerSettings, build_learner
from utils.training.ending import resumable
from utils.training.epoch import train_one_epoch
from utils.training.progress import Progress
from utils.training.run import Run
from utils.training.saving import Saver
from utils.training.schedule import Schedule
from utils.training.step import StepSettings, StepSize, norm_scales

VIEW = ("--short-side", 110, "--crop", 96, "--val-short-side", 96)


@pytest.fixture
def data_line(rendered):
    """A tiny run without a network: 22 images, 6 batches of 4, 3 steps an epoch."""
    folders = ("--train-folder-syn", rendered / "synthtext", "--train-folder-sample", rendered / "frames")
    run = ("--batch-size", 4, "--save-epoch-every", 0, *VIEW[:4], "--num-workers", 1, "--amp", "off")
    return ("train_sample.py", *folders, *run)


@pytest.fixture
def line(data_line, small_checkpoint):
    """A tiny run of a small network."""
    return (*data_line, "--pretrain-model", small_checkpoint, "--prune")


@pytest.fixture
def channels_last_line(data_line):
    """A tiny run of a network that is wide enough to be trained in channels_last."""
    return (*data_line, "--width", 0.25)


def start(*line, **options) -> subprocess.Popen:
    words, pipe = [sys.executable, *map(str, line)], subprocess.PIPE
    return subprocess.Popen(words, cwd=ROOT, stdout=pipe, stderr=pipe, text=True, **options)


def wait_for(path, process: subprocess.Popen, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not path.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert path.exists(), process.communicate()


def tensors(path) -> dict[str, torch.Tensor]:
    contents = torch.load(path, weights_only=True)
    states = contents["optimizer"]["state"].items()
    moments = {f"{place} {name}": value for place, state in states for name, value in state.items()}
    return contents["model"] | moments


def same(first, second) -> bool:
    first, second = tensors(first), tensors(second)
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def rows(folder) -> list[dict]:
    with open(folder / "results.csv", newline="") as file:
        return [{name: value for name, value in row.items() if "second" not in name} for row in csv.DictReader(file)]


class TestResume:
    @pytest.mark.parametrize(("number", "network"), [(signal.SIGTERM, "line"), (signal.SIGINT, "channels_last_line")])
    def test_a_stopped_run_goes_on_with_the_same_numbers(self, tmp_path, run_script, request, number, network):
        line = request.getfixturevalue(network)
        options = (
            "--epoch",
            8,
            "--val",
            *VIEW[4:],
            "--score-threshold",
            0.9,
            "--schedule",
            "cosine",
            "--warmup-steps",
            5,
            "--ema",
            0.9,
        )
        whole, stopped = tmp_path / "whole", tmp_path / "stopped"
        process = start(*line, *options, "--save-dir", stopped)
        wait_for(stopped / "results.csv", process)
        time.sleep(random.Random(int(number)).uniform(0, 0.5))
        process.send_signal(number)
        output, errors = process.communicate(timeout=60)
        assert process.returncode == EXIT_STOPPED, errors
        assert "Traceback" not in errors
        typed = re.search(r"python3 (train_sample\.py .*--resume)", output)
        epoch = torch.load(stopped / "last.pt", weights_only=True)["epoch"]
        assert 0 < epoch < 8
        resumed = run_script(*typed[1].split())
        assert f"after {epoch} epochs" in resumed.stdout
        run_script(*line, *options, "--save-dir", whole)
        assert same(whole / "last.pt", stopped / "last.pt")
        assert rows(whole) == rows(stopped)
        assert same(whole / "best.pt", stopped / "best.pt")

    def test_stopped_while_it_validates(self, tmp_path, run_script, line):
        """It ends at once; when resumed, it validates the weights at the end of the epoch again."""
        options = ("--epoch", 2, "--val", "--val-short-side", 1200, "--score-threshold", 0.9)
        whole, stopped = tmp_path / "whole", tmp_path / "stopped"
        process = start(*line, *options, "--save-dir", stopped)
        wait_for(stopped / "last.pt", process)  # the training's part of the first epoch is saved
        process.send_signal(signal.SIGTERM)
        output, errors = process.communicate(timeout=60)
        assert process.returncode == EXIT_STOPPED, errors
        assert "stopped in epoch 1" in output
        assert not (stopped / "results.csv").exists()
        assert "after 0 epochs and 3 steps" in run_script("train_sample.py", "--save-dir", stopped, "--resume").stdout
        run_script(*line, *options, "--save-dir", whole)
        assert same(whole / "last.pt", stopped / "last.pt")
        assert rows(whole) == rows(stopped)

    def test_two_runs_give_the_same_numbers(self, tmp_path, run_script, line):
        for name in ("a", "b"):
            run_script(*line, "--epoch", 2, "--save-dir", tmp_path / name, "--deterministic", "--seed", 5)
        assert same(tmp_path / "a" / "last.pt", tmp_path / "b" / "last.pt")

    def test_what_cannot_be_resumed(self, tmp_path, refuses, run_script, line, small_checkpoint):
        refuses("train_sample.py", "--save-dir", tmp_path, "--resume", parts=["last.pt: there is no such file"])
        (tmp_path / "last.pt").write_bytes(small_checkpoint.read_bytes())
        refuses("train_sample.py", "--save-dir", tmp_path, "--resume", parts=["no checkpoint of a training run"])
        refuses("train_sample.py", "--save-dir", tmp_path, "--resume", "--lr", 1, parts=["drop --lr"])
        run_script(*line, "--epoch", 1, "--save-dir", tmp_path / "done")
        refuses("train_sample.py", "--save-dir", tmp_path / "done", "--resume", parts=["the run is complete"])
        options = ("--save-dir", tmp_path / "done", "--auto-resume", "--epoch", 2)
        refuses(*line, *options, parts=["its run has --epoch 1, this line 2"])


class TestNothingLost:
    def test_kills_while_it_saves(self, tmp_path, line, kills):
        """SIGKILL at random moments, also while saving: the checkpoint always loads, and the run progresses."""
        chance = random.Random(0)
        process = start(*line, "--epoch", 100_000, "--save-dir", tmp_path, "--save-every", 0.0001)
        wait_for(tmp_path / "last.pt", process)
        steps = []
        for _ in range(2 * kills):
            time.sleep(chance.uniform(0, 0.25))
            os.kill(process.pid, signal.SIGKILL)
            process.communicate()
            _, contents = load_model(tmp_path / "last.pt")
            steps.append((contents["epoch"], contents["step"]))
            modified = (tmp_path / "last.pt").stat().st_mtime_ns
            process = start("train_sample.py", "--save-dir", tmp_path, "--resume", "--num-workers", 0)
            deadline = time.monotonic() + 60
            while (tmp_path / "last.pt").stat().st_mtime_ns == modified and time.monotonic() < deadline:
                assert process.poll() is None, process.communicate()
                time.sleep(0.01)
        process.kill()
        process.communicate()
        assert steps == sorted(steps)
        assert len(set(steps)) > 1.6 * kills

    def test_two_runs_do_not_share_a_folder(self, tmp_path, refuses, line):
        process = start(*line, "--epoch", 1000, "--save-dir", tmp_path)
        wait_for(tmp_path / "last.pt", process)
        refuses(*line, "--epoch", 1, "--save-dir", tmp_path, parts=[tmp_path, "another run is writing there"])
        process.kill()
        process.communicate()

    def test_a_second_signal_interrupts_at_once(self):
        with StopRequest() as stop:
            os.kill(os.getpid(), signal.SIGINT)
            assert stop.requested
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGTERM):  # the same request, as torchrun repeats it
                os.kill(os.getpid(), number)
            time.sleep(1.1)
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(1)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler

    def test_a_loss_that_is_not_finite(self, tmp_path, refuses, line):
        """Steps far too large: skipped steps are listed, and after several in a row the run ends."""
        refuses(*line, "--epoch", 9, "--lr", 1e30, "--save-dir", tmp_path, parts=["not finite 5 steps", "smaller --lr"])
        assert not (tmp_path / "last.pt").exists()  # no finite weights to save
        lines = (tmp_path / "skipped.csv").read_text().splitlines()
        assert lines[0] == "epoch,step,index,image"
        assert all(re.fullmatch(r"\d+,\d+,\d+,.*\.jpg", text) for text in lines[1:])
        assert len(lines) > 5

    def test_a_loss_that_is_not_finite_in_several_processes(self, tmp_path, line):
        """Whichever process notices it first, all of them end together: with one line, and no error of another."""
        options = ("--epoch", 9, "--lr", 1e30, "--ngpus", 2, "--batch-size", 2, "--save-dir", tmp_path)
        process = start(*line, *options)
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 2
        assert errors.count("error: ") == errors.count("not finite") == 1
        assert "Traceback" not in errors
        assert (tmp_path / "skipped.csv").exists()

    def test_a_stop_while_nothing_can_be_saved(self, tmp_path, capsys):
        """What is said to be saved is there."""
        learner = build_learner(
            FOTSModelPruned(uniform_plan(0.1)), Criterion(), LearnerSettings(), Machine(torch.device("cpu")), 1
        )
        run = Run(learner, StepSettings(StepSize(4)), Progress(Criterion()), 1)
        run.progress.skipped_in_a_row = 1
        for saved, words in ((False, "nothing is saved"), (True, "last.pt is of an earlier step; to resume, type:")):
            if saved:
                (tmp_path / "last.pt").touch()
            with pytest.raises(SystemExit) as end, resumable(run, tmp_path, "the line"):
                Saver(tmp_path, {}).save(run)
                raise Stopped
            assert end.value.code == EXIT_STOPPED
            output = capsys.readouterr().out
            assert words in output
            assert "all is saved" not in output


class TestSeveralProcesses:
    def test_two_processes_take_the_steps_of_one(self, tmp_path, run_script, line, small_checkpoint):
        """2 x 4 images give the gradients of 8. BatchNorms are frozen, since each process has its own statistics."""
        common = ("--epoch", 2, "--freeze-bn", "--val", *VIEW[4:], "--score-threshold", 0.9, "--num-workers", 0)
        run_script(*line, *common, "--batch-size", 8, "--batches-before-train", 1, "--save-dir", tmp_path / "one")
        for name, batches, size in (("two", 1, 4), ("accumulated", 2, 2)):
            step = ("--ngpus", 2, "--batch-size", size, "--batches-before-train", batches)
            done = run_script(*line, *common, *step, "--save-dir", tmp_path / name)
            assert "2 processes" in done.stdout
            assert done.stdout.count("epoch 1  ") == 1  # only the first one prints
            files = small_checkpoint, tmp_path / "one" / "last.pt", tmp_path / name / "last.pt"
            before, one, several = (
                torch.cat([parameter.detach().flatten() for parameter in load_model(file)[0].parameters()])
                for file in files
            )
            # Adam takes whole steps along gradients of rounding error, too: few weights, so the mean tells
            assert (one - several).abs().mean() < 0.01 * (one - before).abs().mean()
            losses = [float(rows(tmp_path / folder)[1]["val_loss"]) for folder in ("one", name)]
            assert losses[0] == pytest.approx(losses[1], rel=0.01)

    def test_torchrun_starts_the_same_script(self, tmp_path, line):
        torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", 2)
        done = start(*torchrun, *line, "--epoch", 1, "--save-dir", tmp_path, "--num-workers", 0)
        output, errors = done.communicate(timeout=120)
        assert done.returncode == 0, errors
        assert "2 processes" in output

    def test_one_that_dies_ends_the_run(self, tmp_path, line):
        process = start(*line, "--epoch", 100_000, "--save-dir", tmp_path, "--ngpus", 2, "--num-workers", 0)
        wait_for(tmp_path / "last.pt", process)
        children = subprocess.run(["pgrep", "-P", str(process.pid), "-f", "spawn_main"], capture_output=True, text=True)
        os.kill(int(children.stdout.split()[-1]), signal.SIGKILL)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 1
        assert "ended by signal 9" in errors

    def test_stopped_and_resumed(self, tmp_path, run_script, line):
        process = start(*line, "--epoch", 30, "--save-dir", tmp_path, "--ngpus", 2, "--num-workers", 0)
        wait_for(tmp_path / "last.pt", process)
        process.send_signal(signal.SIGTERM)
        output, errors = process.communicate(timeout=60)
        assert process.returncode == EXIT_STOPPED, errors
        assert "--resume" in output
        run_script("train_sample.py", "--save-dir", tmp_path, "--resume", "--ngpus", 2, "--num-workers", 0)
        assert load_model(tmp_path / "last.pt")[1]["epoch"] == 30


class TestLearning:
    def test_best_holds_the_averaged_weights(self, tmp_path, run_script, line):
        run_script(
            *line, "--epoch", 1, "--val", *VIEW[4:], "--score-threshold", 0.9, "--ema", 0.5, "--save-dir", tmp_path
        )
        best, last = (torch.load(tmp_path / name, weights_only=True) for name in ("best.pt", "last.pt"))
        name = "center.0.0.weight"
        assert not torch.equal(best["model"][name], last["model"][name])
        assert torch.equal(best["model"][name], last["ema"][f"module.{name}"])

    def test_averaged_weights_have_a_file_without_a_validation(self, tmp_path, run_script, line):
        assert "ema.pt" in run_script(*line, "--epoch", 1, "--ema", 0.5, "--save-dir", tmp_path).stdout
        last = torch.load(tmp_path / "last.pt", weights_only=True)
        network, _ = load_model(tmp_path / "ema.pt")
        for name, tensor in network.state_dict().items():
            assert torch.equal(tensor, last["ema"][f"module.{name}"])
        assert not (tmp_path / "best.pt").exists()

    def test_frozen_batchnorms_stay_as_they_are(self, tmp_path, run_script, line, small_checkpoint):
        run_script(*line, "--epoch", 1, "--freeze-bn", "--clip-grad", 1, "--decay-weights-only", "--save-dir", tmp_path)
        before, after = (load_model(path)[0].state_dict() for path in (small_checkpoint, tmp_path / "last.pt"))
        for name in before:
            is_norm = f"{name.rpartition('.')[0]}.running_mean" in before
            assert torch.equal(before[name], after[name]) == is_norm, name

    def test_cosine_with_warm_up(self):
        optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        schedule, rates = Schedule(optimizer, "cosine", 0, warmup_steps=4, total_steps=12), []
        for _ in range(12):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedule.after_step()
        assert rates[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
        assert rates[8] == pytest.approx(0.5)
        assert rates == sorted(rates[:4]) + sorted(rates[4:], reverse=True)
        assert optimizer.param_groups[0]["lr"] == pytest.approx(0)

    def test_plateau_halves(self):
        optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        schedule = Schedule(optimizer, "plateau", 1, warmup_steps=0, total_steps=1)
        for loss in (3.0, 2.0, 2.0, 2.0):
            schedule.after_step()
            schedule.after_epoch(loss)
        assert optimizer.param_groups[0]["lr"] == 0.5

    def test_a_continued_cosine_restarts(self, tmp_path, run_script, line):
        line = (*line, "--epoch", 1, "--schedule", "cosine", "--warmup-steps", 0, "--save-dir", tmp_path)
        run_script(*line)
        start = line.index("--pretrain-model")
        line = (*line[: start + 1], tmp_path / "last.pt", *line[start + 2 :])
        assert (
            "the cosine schedule restarts"
            in run_script(*line, "--continue-training", "--batches-before-train", 1).stdout
        )
        assert float(rows(tmp_path)[1]["lr"]) < 1e-4  # at its end, and not from the first step on
        assert torch.load(tmp_path / "last.pt", weights_only=True)["scheduler"]["last_epoch"] == 6

    def test_rates_that_are_named_win_over_the_checkpoints(self, tmp_path, run_script, line):
        run_script(*line, "--epoch", 1, "--save-dir", tmp_path / "a")
        start = line.index("--pretrain-model")
        line = (*line[: start + 1], tmp_path / "a" / "last.pt", *line[start + 2 :], "--continue-training", "--epoch", 1)
        run_script(*line, "--save-dir", tmp_path / "b")
        run_script(*line, "--save-dir", tmp_path / "c", "--lr", 1e-4, "--weight-decay", 0.5, "--patience", 9)
        kept, named = (torch.load(tmp_path / name / "last.pt", weights_only=True) for name in ("b", "c"))
        assert kept["optimizer"]["param_groups"][0]["lr"] == 1e-3
        assert named["optimizer"]["param_groups"][0]["lr"] == 1e-4
        assert named["optimizer"]["param_groups"][0]["weight_decay"] == 0.5
        assert named["scheduler"]["patience"] == 9

    def test_options_without_effect_are_refused(self, tmp_path, refuses, line):
        line = (*line, "--save-dir", tmp_path)
        refuses(*line, "--warmup-steps", 9, parts=["--warmup-steps has no effect with --schedule plateau"])
        refuses(*line, "--schedule", "cosine", "--patience", 3, parts=["--patience has no effect"])
        refuses(*line, "--syn-val-size", 3, parts=["--syn-val-size has no effect without --val"])
        refuses(*line, "--amp", "fp16", "--ngpus", 0, parts=["--amp fp16: needs a GPU"])
        refuses(*line, "--amp", "int8", parts=["int8"])
        refuses(*line, "--sync-bn", parts=["--sync-bn is for several processes"])
        refuses(*line, "--ema", 0, parts=["--ema"])
        refuses(*line, "--clip-grad", 0, parts=["--clip-grad"])

    @pytest.mark.parametrize("pruned", [True, False])
    def test_a_teacher(self, tmp_path, run_script, refuses, line, pruned):
        """The teacher is the network before pruning, or one of other widths; also after a stop and a resume."""
        torch.manual_seed(1)
        teacher = tmp_path / "teacher.pt"
        save_checkpoint(teacher, FOTSModelPruned(uniform_plan(1 / 8, keep=())))
        if pruned:
            run_script("prune.py", "--pretrain-model", teacher, "--save-dir", tmp_path)
            line = (*line[:-3], "--pretrain-model", tmp_path / "pruned.pt", "--prune")
        whole, stopped = tmp_path / "whole", tmp_path / "stopped"
        done = run_script(*line, "--epoch", 3, "--teacher", teacher, "--save-dir", whole)
        assert str(teacher) in done.stdout
        assert ("channel by channel" in done.stdout) == pruned
        assert load_model(whole / "last.pt")[0].origin.within(load_model(teacher)[0].origin) or not pruned
        losses = [float(row["train_distillation"]) for row in rows(whole)]
        assert losses[0] > losses[-1] > 0
        process = start(*line, "--epoch", 3, "--teacher", teacher, "--save-dir", stopped)
        wait_for(stopped / "results.csv", process)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
        run_script("train_sample.py", "--save-dir", stopped, "--resume")
        assert same(whole / "last.pt", stopped / "last.pt")
        assert rows(whole) == rows(stopped)
        refuses(*line, "--teacher", tmp_path / "no.pt", "--save-dir", tmp_path, parts=["no.pt: there is no such file"])

    def test_a_teacher_that_the_run_would_replace_is_refused(self, tmp_path, run_script, refuses, line):
        """Resumed, the run would read its own last.pt as teacher."""
        folder, cure = tmp_path / "run", "copy it to another folder, or give another --save-dir"
        run_script(*line, "--epoch", 1, "--save-dir", folder)
        before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
        (tmp_path / "link.pt").symlink_to(folder / "epoch_1.pt")
        for teacher in (folder / "last.pt", folder / ".." / "run" / "best.pt", tmp_path / "link.pt"):
            refuses(*line, "--teacher", teacher, "--save-dir", folder, parts=[f"--teacher {teacher}: ", cure])
        steps = ("--save-dir", tmp_path, "--steps", 2, "--", "--train-folder-sample", tmp_path, "--teacher")
        for teacher in (tmp_path / "step1" / "last.pt", tmp_path / "step1" / "pruned.pt", tmp_path / "pruned.pt"):
            teacher.parent.mkdir(exist_ok=True)
            teacher.write_bytes(before["last.pt"])
            refuses(
                "prune.py", "--pretrain-model", folder / "last.pt", *steps, teacher, parts=[teacher, "give another"]
            )
        assert before == {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
        shutil.copyfile(folder / "last.pt", folder / "teacher.pt")
        run_script(*line, "--epoch", 1, "--teacher", folder / "teacher.pt", "--save-dir", folder)
        contents = torch.load(folder / "last.pt", weights_only=True)
        contents["arguments"] |= {"teacher": str(folder / "last.pt"), "last_epoch": 2}
        torch.save(contents, folder / "last.pt")  # as a run of the earlier code left it
        refuses("train_sample.py", "--save-dir", folder, "--resume", parts=["--teacher", cure])

    def test_sparsity_makes_scales_small(self, tmp_path, run_script, line):
        for weight in (0, 1):
            run_script(*line, "--epoch", 4, "--sparsity-lambda", weight, "--save-dir", tmp_path / str(weight))
        without, with_it = (
            torch.cat([scale.abs() for scale in norm_scales(load_model(tmp_path / str(weight) / "last.pt")[0])])
            for weight in (0, 1)
        )
        assert with_it.mean() < without.mean() - 0.01

    def test_new_networks_of_other_widths(self, tmp_path, run_script, refuses, data_line, small_plan):
        line = data_line
        run_script(*line, "--width", 0.05, "--epoch", 1, "--save-dir", tmp_path / "share")
        assert load_model(tmp_path / "share" / "last.pt")[0].plan == uniform_plan(0.05)
        plan = tmp_path / "plan.json"
        plan.write_text(json.dumps(small_plan))
        run_script(*line, "--plan", plan, "--epoch", 1, "--save-dir", tmp_path / "plan")
        assert load_model(tmp_path / "plan" / "last.pt")[0].plan == small_plan
        line = (*line, "--save-dir", tmp_path / "out")
        refuses(*line, "--width", 0.5, "--plan", plan, parts=["--width and --plan", "drop one"])
        refuses(*line, "--width", 0.5, "--pretrain-model", plan, parts=["--width is for a new network"])
        refuses(*line, "--width", 0.5, "--backbone-weights", "imagenet", parts=["fits the original's widths only"])
        refuses(*line, "--plan", tmp_path / "no.json", parts=["no.json", "No such file"])
        for text, reason in (("{", "not a JSON file"), ("[]", "holds a list"), ('{"conv1": 3}', "has no group")):
            plan.write_text(text)
            refuses(*line, "--plan", plan, parts=["plan.json", reason])

    def test_fp16_overflows_are_handled_by_the_scaler(self, rendered, tmp_path, small_plan):
        """Only a loss that is not finite counts as skipped; the scaler lowers its scale. (fp16 on the CPU.)"""
        dataset = SynthText(rendered / "synthtext", transform=TrainTransform(96, crop=96))
        loader = make_loader(dataset, EpochSampler(dataset), 4, 0)
        torch.manual_seed(0)
        model, machine, criterion = FOTSModelPruned(small_plan), Machine(torch.device("cpu")), Criterion()
        learner = build_learner(model, criterion, LearnerSettings(amp="off"), machine, total_steps=1)
        learner.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40)
        learner.amp_dtype = torch.float16
        run = Run(learner, StepSettings(StepSize(4)), Progress(criterion), last_epoch=1)
        before = [parameter.clone() for parameter in model.parameters()]
        with StopRequest() as stop:
            train_one_epoch(run, loader, Saver(tmp_path, {}), stop)
        assert learner.scaler.get_scale() < 2.0**40
        assert run.progress.skipped == 0
        assert not (tmp_path / "skipped.csv").exists()
        assert all(torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True))

    def test_tensorboard(self, tmp_path, run_script, line):
        pytest.importorskip("tensorboard", reason="tensorboard is not installed (requirements-extra.txt)")
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        run_script(*line, "--epoch", 2, "--val", *VIEW[4:], "--tensorboard", "--save-dir", tmp_path)
        events = EventAccumulator(str(tmp_path / "tensorboard"))
        events.Reload()
        assert [event.step for event in events.Scalars("train_loss")] == [1, 2]
        assert len(events.Tags()["images"]) == 4

    def test_bf16(self, tmp_path, run_script, line):
        done = run_script(*line, "--epoch", 1, "--amp", "bf16", "--save-dir", tmp_path)
        assert "bfloat16" in done.stdout
        assert next(load_model(tmp_path / "last.pt")[0].parameters()).dtype == torch.float32
