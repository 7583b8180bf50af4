"""Training on GPUs: precisions, memory format, compilation, several processes, resume."""

import re
import signal
import time

import pytest
import torch

from datasets import EpochSampler, SynthText, make_loader
from loss import Criterion
from model_pruned import FOTSModelPruned
from tests.training.test_training import rows, start, wait_for
from utils.checkpoint import load_model
from utils.data.augmentation import TrainTransform
from utils.network.channels import uniform_plan
from utils.runtime.device import Machine
from utils.runtime.signals import EXIT_STOPPED, StopRequest
from utils.training.build import LearnerSettings, build_learner
from utils.training.epoch import train_one_epoch
from utils.training.progress import Progress
from utils.training.run import Run
from utils.training.saving import Saver
from utils.training.step import StepSettings, StepSize


@pytest.fixture
def line(rendered):
    """A short run of a narrow network on one GPU: 6 batches of 4, 3 steps an epoch."""
    folders = ("--train-folder-syn", rendered / "synthtext", "--train-folder-sample", rendered / "frames")
    view = ("--short-side", 110, "--crop", 96, "--batch-size", 4, "--num-workers", 2, "--save-epoch-every", 0)
    return ("train_sample.py", *folders, *view, "--width", 0.25)


@pytest.fixture
def loader(rendered):
    torch.cuda.init()
    dataset = SynthText(rendered / "synthtext", transform=TrainTransform(96, crop=96))
    return make_loader(dataset, EpochSampler(dataset), 4, 0)


def gpu_run(amp: str) -> Run:
    torch.manual_seed(0)
    model, machine, criterion = FOTSModelPruned(uniform_plan(0.25)), Machine(torch.device("cuda", 0)), Criterion()
    learner = build_learner(model, criterion, LearnerSettings(amp=amp), machine, total_steps=1)
    return Run(learner, StepSettings(StepSize(4)), Progress(criterion), last_epoch=1)


@pytest.mark.parametrize(("amp", "shown"), [("off", "float32"), ("bf16", "bfloat16"), ("fp16", "float16")])
def test_each_precision_learns_and_keeps_float32_weights(tmp_path, run_script, line, amp, shown):
    done = run_script(*line, "--epoch", 4, "--amp", amp, "--save-dir", tmp_path)
    assert "GPU (" in done.stdout
    assert shown in done.stdout
    assert next(load_model(tmp_path / "last.pt")[0].parameters()).dtype == torch.float32
    losses = [float(row["train_loss"]) for row in rows(tmp_path)]
    assert losses[-1] < losses[0]


def test_fp16_overflows_are_handled_by_the_scaler(tmp_path, loader):
    run = gpu_run("fp16")
    run.learner.scaler = torch.amp.GradScaler("cuda", init_scale=2.0**40)
    before = [parameter.clone() for parameter in run.learner.model.parameters()]
    with StopRequest() as stop:
        train_one_epoch(run, loader, Saver(tmp_path, {}), stop)
    assert run.learner.scaler.get_scale() < 2.0**40
    assert run.progress.skipped == 0
    assert all(torch.equal(old, new) for old, new in zip(before, run.learner.model.parameters(), strict=True))


def test_networks_are_in_channels_last():
    weight = gpu_run("off").learner.model.get_parameter("center.0.0.weight")
    assert weight.is_contiguous(memory_format=torch.channels_last)


def test_batches_are_in_pinned_memory(loader):
    batch = next(iter(loader))
    assert all(tensor.is_pinned() for tensor in batch.tensors)


def test_compiled(tmp_path, run_script, line):
    run_script(*line, "--epoch", 1, "--compile", "--amp", "off", "--save-dir", tmp_path / "compiled")
    run_script(*line, "--epoch", 1, "--amp", "off", "--save-dir", tmp_path / "plain")
    first, second = (float(rows(tmp_path / name)[0]["train_loss"]) for name in ("compiled", "plain"))
    assert first == pytest.approx(second, rel=0.05)


def test_stopped_and_resumed(tmp_path, run_script, line):
    """With deterministic kernels, near the numbers of a run that was never stopped."""
    options = ("--epoch", 6, "--deterministic", "--amp", "off")
    process = start(*line, *options, "--save-dir", tmp_path / "stopped")
    wait_for(tmp_path / "stopped" / "results.csv", process)
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == EXIT_STOPPED, errors
    typed = re.search(r"python3 (train_sample\.py .*--resume.*)", output)
    assert typed
    run_script(*typed[1].split())
    run_script(*line, *options, "--save-dir", tmp_path / "whole")
    for one, other in zip(rows(tmp_path / "whole"), rows(tmp_path / "stopped"), strict=True):
        assert float(one["train_loss"]) == pytest.approx(float(other["train_loss"]), rel=1e-3)


@pytest.mark.gpus(2)
@pytest.mark.parametrize("sync", [(), ("--sync-bn",)])
def test_two_gpus(tmp_path, run_script, line, sync):
    done = run_script(*line, "--epoch", 2, "--ngpus", 2, *sync, "--val", "--val-short-side", 96, "--save-dir", tmp_path)
    assert "2 processes" in done.stdout
    assert len(rows(tmp_path)) == 2
    load_model(tmp_path / "last.pt")


def test_sync_bn_is_refused_for_one_process(tmp_path, run_script, line):
    done = run_script(*line, "--epoch", 1, "--sync-bn", "--save-dir", tmp_path, expect=2)
    assert "--sync-bn is for several processes" in done.stderr


def test_a_steps_time(tmp_path, loader, record_property):
    """A benchmark: images per second of training steps, in the report (`pytest --junitxml`) and printed with -s."""
    for amp in ("off", "bf16"):
        run = gpu_run(amp)
        with StopRequest() as stop:
            for _ in range(2):  # the first warms up
                torch.cuda.synchronize()
                begin = time.perf_counter()
                train_one_epoch(run, loader, Saver(tmp_path, {}), stop)
                torch.cuda.synchronize()
                speed = len(loader.sampler) / (time.perf_counter() - begin)
        record_property(f"images_per_second_{amp}", speed)
        print(f"{amp}: {speed:.1f} images/s")
        assert speed > 0
