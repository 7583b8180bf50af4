"""Stops and kills of training runs as schedulers, the kernel and containers send them: real processes and signals.

`pytest tests/robustness/test_signals.py --kills 200` kills a run at 200 random moments; by default at a few.
"""

import os
import pty
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from tests.conftest import ROOT
from tests.training.test_training import rows, same, wait_for
from utils.data.video import VideoReader
from utils.runtime.signals import EXIT_STOPPED

NEVER_ENDS = ("--epoch", 100_000)
RESUME = re.compile(r"python3 (train_sample\.py .*--resume.*)")
STREAMS = ("stdin", "stdout", "stderr")
DIES = 90
"""Seconds in which a process has to end on a loaded machine."""


@pytest.fixture
def line(rendered, small_checkpoint):
    """A tiny run of a small network: 22 images, 6 batches of 4, 3 steps an epoch, read by two workers."""
    folders = ("--train-folder-syn", rendered / "synthtext", "--train-folder-sample", rendered / "frames")
    view = ("--short-side", 110, "--crop", 96, "--amp", "off", "--batch-size", 4, "--save-epoch-every", 0)
    return ("train_sample.py", *folders, *view, "--num-workers", 2, "--pretrain-model", small_checkpoint, "--prune")


@pytest.fixture
def start() -> Iterator:
    """Start a command in a process group of its own, as a scheduler does; the group is killed after the test."""
    processes = []

    def begin(*line: object) -> subprocess.Popen:
        command = [sys.executable, *map(str, line)]
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        processes.append(subprocess.Popen(command, cwd=ROOT, text=True, start_new_session=True, **pipes))
        return processes[-1]

    yield begin
    for process in processes:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def workers(process: subprocess.Popen) -> list[int]:
    """The process's children: its reading workers."""
    return list(map(int, Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()))


def ends(process: subprocess.Popen) -> tuple[int, str, str]:
    output, errors = process.communicate(timeout=DIES)
    return process.returncode, output, errors


class TestStops:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGINT])
    def test_a_signal_to_the_whole_group(self, tmp_path, start, run_script, line, number):
        process = start(*line, *NEVER_ENDS, "--save-dir", tmp_path)
        wait_for(tmp_path / "last.pt", process)
        os.killpg(process.pid, number)
        code, output, errors = ends(process)
        assert code == EXIT_STOPPED, errors
        assert "Traceback" not in errors
        assert RESUME.search(output)

    @pytest.mark.parametrize("launcher", ["--ngpus", "torchrun"])
    def test_a_signal_to_the_group_of_two_processes(self, tmp_path, start, line, launcher):
        run = (*line, *NEVER_ENDS, "--save-dir", tmp_path)
        torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", 2)
        process = start(*run, "--ngpus", 2) if launcher == "--ngpus" else start(*torchrun, *run)
        wait_for(tmp_path / "last.pt", process)
        before = (tmp_path / "last.pt").stat().st_mtime_ns
        os.killpg(process.pid, signal.SIGTERM)
        code, output, errors = ends(process)
        start_of_line = {"--ngpus": "python3", "torchrun": "torchrun ..."}[launcher]
        assert f"{start_of_line} train_sample.py --save-dir {tmp_path} --resume" in output, errors
        assert (tmp_path / "last.pt").stat().st_mtime_ns > before
        if launcher == "--ngpus":
            assert code == EXIT_STOPPED, errors
            assert "Traceback" not in errors

    def test_a_closed_terminal(self, tmp_path, line):
        """The kernel sends SIGHUP, and from then on each write to the terminal fails."""
        ours, terminal = pty.openpty()
        command = [sys.executable, *map(str, (*line, *NEVER_ENDS, "--save-dir", tmp_path))]
        script = 'exec setsid --ctty "$@"'
        with subprocess.Popen(
            ["sh", "-c", script, "sh", *command], cwd=ROOT, **dict.fromkeys(STREAMS, terminal)
        ) as run:
            os.close(terminal)
            wait_for(tmp_path / "last.pt", run)
            shown = os.read(ours, 1 << 16)
            before = (tmp_path / "last.pt").stat().st_mtime_ns
            os.close(ours)
            assert run.wait(DIES) == EXIT_STOPPED, shown
        assert (tmp_path / "last.pt").stat().st_mtime_ns > before

    def test_before_the_first_step(self, tmp_path, start, line):
        process = start(*line, *NEVER_ENDS, "--save-dir", tmp_path)
        wait_for(tmp_path / ".lock", process)
        os.killpg(process.pid, signal.SIGTERM)
        code, output, errors = ends(process)
        assert code == EXIT_STOPPED, errors
        assert "stopped" in output


class TestDetect:
    def test_ctrl_c_keeps_the_part_and_the_video_of_an_earlier_run(self, tmp_path, start, small_checkpoint):
        """The first run's part has the video's own name; a rerun's part another one, and it says so."""
        video, out = tmp_path / "clip.avi", tmp_path / "out"
        writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"MJPG"), 10, (96, 64))
        for number in range(20_000):
            writer.write(np.full((64, 96, 3), number % 256, np.uint8))
        writer.release()
        view = ("--short-side", 64, "--score-threshold", 1)
        line = ("detect.py", "--pretrain-model", small_checkpoint, *view, "--output-dir", out, video)
        printed, frames = [], []
        for first, number in ((5, signal.SIGINT), (0, signal.SIGTERM)):
            (out / f"res_clip_{first:06}.txt").unlink(missing_ok=True)
            process = start(*line)
            wait_for(out / f"res_clip_{first:06}.txt", process, 300)
            process.send_signal(number)
            code, output, errors = ends(process)
            assert code == 130, errors
            assert "Traceback" not in errors
            printed.append(output)
            frames.append(len(list(out.glob("res_clip_*.txt"))))
        assert f"clip: ended early, with {frames[0]} frames\n" in printed[0]
        assert "det_clip.mp4 is of an earlier run, the part of this one is det_clip-part.mp4\n" in printed[1]
        for name, count in zip(("det_clip.mp4", "det_clip-part.mp4"), frames, strict=True):
            with VideoReader(out / name) as reader:
                assert len(list(reader)) == count
        assert {path.name for path in out.glob("*.mp4")} == {"det_clip.mp4", "det_clip-part.mp4"}
        assert not list(out.glob(".*unfinished*"))

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
    def test_signals_interrupt_unless_they_are_ignored(self, start, number):
        code = (
            "import signal, time; from utils.errors import run_script; "
            "from utils.runtime.signals import stop_like_ctrl_c; "
            f"signal.signal({int(number)}, signal.{{}}); "
            "stop_like_ctrl_c(); run_script(lambda: (print('ready', flush=True), time.sleep({})))"
        )
        process = start("-c", code.format("SIG_DFL", 60))
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        assert ends(process)[::2] == (130, "\ninterrupted\n")
        process = start("-c", code.format("SIG_IGN", 1))
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        assert ends(process)[::2] == (0, "")


class TestDeaths:
    def test_of_a_reading_worker(self, tmp_path, start, run_script, line):
        process = start(*line, *NEVER_ENDS, "--save-dir", tmp_path)
        wait_for(tmp_path / "last.pt", process)
        os.kill(workers(process)[-1], signal.SIGKILL)
        code, _, errors = ends(process)
        assert code == 2, errors
        assert "Traceback" not in errors
        (error,) = [text for text in errors.splitlines() if text.startswith("error: ")]
        for part in ("killed by SIGKILL", "memory", "--num-workers (now 2)", "--resume"):
            assert part in error

    def test_of_the_main_process(self, tmp_path, start, line):
        """Its workers die with it and hold no lock: a run that is started at once goes on."""
        process = start(*line, *NEVER_ENDS, "--save-dir", tmp_path)
        wait_for(tmp_path / "last.pt", process)
        orphans = workers(process)
        process.kill()
        process.communicate()
        again = start("train_sample.py", "--save-dir", tmp_path, "--resume")
        modified = (tmp_path / "last.pt").stat().st_mtime_ns
        deadline = time.monotonic() + DIES
        while (tmp_path / "last.pt").stat().st_mtime_ns == modified and time.monotonic() < deadline:
            assert again.poll() is None, again.communicate()
            time.sleep(0.05)
        assert not any(Path(f"/proc/{orphan}").exists() for orphan in orphans)


class TestAutoResume:
    def test_one_line_starts_resumes_and_ends(self, tmp_path, start, run_script, refuses, line):
        run = (*line, "--save-dir", tmp_path, "--auto-resume")
        process = start(*run, "--epoch", 12)
        wait_for(tmp_path / "last.pt", process)
        process.terminate()
        assert ends(process)[0] == EXIT_STOPPED
        assert "continues   after" in run_script(*run, "--epoch", 12).stdout
        done = run_script(*run, "--epoch", 12)
        assert "the run is complete, 12 epochs" in done.stdout
        assert not list(tmp_path.glob("earlier-*"))


@pytest.mark.skipif(
    subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode != 0, reason="no right to mount"
)
class TestSmallSharedMemory:
    """A Docker container's /dev/shm of 64 MB: an error within seconds, no wait for batches that never come."""

    def run(self, *line: object) -> subprocess.CompletedProcess:
        mount = 'mount -t tmpfs -o size=64m tmpfs /dev/shm && exec "$@"'
        command = ["unshare", "-m", "sh", "-c", mount, "sh", sys.executable, *map(str, line)]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=DIES)

    @pytest.mark.parametrize("script", ["train", "test"])
    def test_batches_that_do_not_fit(self, tmp_path, rendered, small_checkpoint, script):
        frames, network = rendered / "frames", ("--pretrain-model", small_checkpoint, "--prune", "--num-workers", 4)
        if script == "train":
            size = ("--batch-size", 64, "--crop", 512, "--sample-ratio", 40, "--amp", "off", "--epoch", 1)
            done = self.run("train_sample.py", "--train-folder-sample", frames, *size, *network, "--save-dir", tmp_path)
        else:
            size = ("--batch-size", 4, "--short-side", 1200)
            done = self.run("test_sample.py", "--test-folder-sample", frames, *size, *network)
        assert done.returncode == 2, done.stderr
        assert "Traceback" not in done.stderr
        for part in ("/dev/shm is too small", "64 MiB", "--shm-size=", "--num-workers"):
            assert part in done.stderr
        assert not (tmp_path / "last.pt").exists()


class TestRandomMoments:
    def test_a_run_that_is_killed_again_and_again_ends_with_the_same_numbers(
        self, tmp_path, start, run_script, line, kills
    ):
        """Signals at random moments, SIGKILL among them; --auto-resume each time, until the run is complete."""
        chance = random.Random(kills)
        epochs = ("--epoch", 3 * kills + 3, "--schedule", "cosine", "--warmup-steps", 5, "--ema", 0.9)
        options = (*epochs, "--save-every", 0.001, "--auto-resume")
        whole, killed = tmp_path / "whole", tmp_path / "killed"
        run_script(*line, *options, "--save-dir", whole)
        for _ in range(kills):
            process = start(*line, *options, "--save-dir", killed)
            if not (killed / "last.pt").exists():
                wait_for(killed / "last.pt", process)
            time.sleep(chance.uniform(0, 8))
            number = chance.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP])
            if process.poll() is None:
                (os.killpg if chance.random() < 0.5 else os.kill)(process.pid, number)
            code, _, errors = ends(process)
            assert code in {0, EXIT_STOPPED, -number}, errors
            torch.load(killed / "last.pt", weights_only=True)
        run_script(*line, *options, "--save-dir", killed)
        assert same(whole / "last.pt", killed / "last.pt")
        assert rows(whole) == rows(killed)
        assert not [path for path in killed.iterdir() if path.name.startswith(".") and path.name != ".lock"]
        shutil.rmtree(killed)
