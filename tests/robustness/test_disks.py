"""A full disk at every writer: an error that names the target, exit code 2, and no half-written file.

The disk is a small tmpfs of its own. A test fills it up to a given room, runs a command that writes there, and checks
every file that is then on it.
"""

import csv
import errno
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from datasets import SampleDataset
from tests.conftest import ROOT
from tests.helpers import box, cell, write_mat, write_picture
from utils.checkpoint import load_model
from utils.data.images import read_image
from utils.data.video import VideoReader, VideoWriter
from utils.decode import Thresholds
from utils.runtime.files import append_line, copy_file, umask, write_file
from utils.runtime.results import ResultFolder
from utils.training.tensorboard import open_board

PAGE = 4096
"""Bytes that a tmpfs gives out at once."""


@pytest.fixture
def disk(tmp_path):
    """The folder of a disk of 1 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    line = ["mount", "-t", "tmpfs", "-o", "size=1m,nr_inodes=2k", "none", str(folder)]
    done = subprocess.run(line, capture_output=True, text=True) if shutil.which("mount") else None
    if done is None or done.returncode:
        pytest.skip(f"no disk of its own can be mounted here: {done.stderr.strip() if done else 'there is no mount'}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(disk: Path, pages: int) -> None:
    """Leave so many pages free."""
    state = os.statvfs(disk)
    (disk / ".filling").write_bytes(bytes((state.f_bavail - pages) * state.f_frsize))
    assert os.statvfs(disk).f_bavail == pages


def assert_whole(folder: Path) -> list[str]:
    """Check that every file with a final name is whole; returns the names. No temporary file may be left."""
    names = []
    for path in sorted(folder.rglob("*")):
        if path.is_dir() or path.name == ".filling" or path.suffix == ".results" or path.name == ".data-set":
            continue
        assert not path.name.startswith("."), path
        names.append(path.name)
        if path.suffix in (".jpg", ".png"):
            read_image(path)
        elif path.suffix == ".mp4":
            with VideoReader(path) as reader:
                assert len(list(reader)) == reader.count
        elif path.suffix == ".jsonl":
            assert path.read_bytes() == b"" or path.read_bytes().endswith(b"\n")
            for line in path.read_text().splitlines():
                json.loads(line)
        elif path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix == ".txt":
            assert all(len(re.split("[, ]", line)) >= 8 for line in path.read_text().splitlines())
        elif path.suffix == ".csv":
            rows = list(csv.reader(path.read_text().splitlines()))
            assert len({len(row) for row in rows}) == 1
        else:
            raise AssertionError(f"what is {path}?")
    return names


def assert_names_the_target(
    process: subprocess.CompletedProcess, disk: Path, message: str = "No space left on device; free some space"
) -> None:
    errors = process.stderr.splitlines()
    assert "Traceback" not in process.stderr, process.stderr
    (line,) = [line for line in errors if line.startswith("error: ")]
    assert str(disk) in line, line
    assert message in line, line


class TestFunctions:
    """The writers that all commands use."""

    @pytest.mark.parametrize("pages", [0, 1, 5])
    def test_files(self, disk, tmp_path, pages):
        (disk / "old").write_bytes(b"old")
        fill(disk, pages)
        (tmp_path / "source").write_bytes(bytes(10 * PAGE))
        writers = (
            lambda: write_file(disk / "old", bytes(10 * PAGE)),
            lambda: copy_file(tmp_path / "source", disk / "old"),
        )
        for write in writers:
            with pytest.raises(OSError, match="No space left") as caught:
                write()
            assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(disk / "old"))
            assert (disk / "old").read_bytes() == b"old"
            assert {path.name for path in disk.iterdir()} == {"old", ".filling"}

    @pytest.mark.parametrize("pages", [0, 1, 2])
    def test_lines(self, disk, pages):
        """All of a line, or nothing of it."""
        append_line(disk / "a.jsonl", "first")
        fill(disk, pages)
        with pytest.raises(OSError, match="No space left") as caught:
            for _ in range(10):
                append_line(disk / "a.jsonl", "x" * 3000)
        assert caught.value.filename == str(disk / "a.jsonl")
        first, *others = (disk / "a.jsonl").read_text().splitlines()
        assert first == "first"
        assert others == ["x" * 3000] * len(others)
        assert len(others) == (1 + pages) * PAGE // 3001

    @pytest.mark.parametrize("pages", [1, 30])
    def test_videos(self, disk, pages):
        """OpenCV's writer reports nothing; the frames are noise, which takes room."""
        fill(disk, pages)
        rng = np.random.default_rng(0)
        with pytest.raises(OSError, match="No space left") as caught, VideoWriter(disk / "a.mp4", 25) as writer:
            for _ in range(20):
                writer.write(rng.integers(0, 255, (240, 320, 3), np.uint8))
        assert caught.value.filename == str(disk / "a.mp4")
        assert {path.name for path in disk.iterdir()} == {".filling"}

    def test_a_long_video_ends_soon_after_the_disk_is_full(self, disk):
        rng = np.random.default_rng(0)
        frame = rng.integers(0, 255, (240, 320, 3), np.uint8)
        written = 0
        with pytest.raises(OSError, match="No space left"), VideoWriter(disk / "a.mp4", 25) as writer:
            for _ in range(1000):
                writer.write(frame)
                written += 1
        assert written < 300
        assert not list(disk.iterdir())

    @pytest.mark.parametrize("rate", [25, 29.97, 1, 12.5, 240, 1000 / 33])
    def test_whole_videos_pass_the_check(self, tmp_path, rate):
        for frames in (1, 2, 75):
            with VideoWriter(tmp_path / "a.mp4", rate) as writer:
                for number in range(frames):
                    writer.write(np.full((48, 64, 3), number, np.uint8))
            with VideoReader(tmp_path / "a.mp4") as reader:
                assert len(list(reader)) == reader.count == frames

    def test_tensorboard(self, disk, rendered, small_checkpoint):
        """The epoch's checkpoint is saved by then."""
        pytest.importorskip("tensorboard", reason="TensorBoard is not installed: requirements-extra.txt")
        board = open_board(disk / "board", SampleDataset(rendered / "frames"), Thresholds(0.5, 0.2))
        network = load_model(small_checkpoint)[0]
        fill(disk, 20)
        with pytest.raises(OSError, match="No space left") as caught:
            for epoch in range(50):
                board.write(epoch, {"train_loss": 1.0}, network)
        assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(disk / "board"))

    def test_a_video_ended_by_an_error_is_kept_as_far_as_it_goes(self, tmp_path):
        with pytest.raises(KeyboardInterrupt), VideoWriter(tmp_path / "a.mp4", 25) as writer:
            for _ in range(3):
                writer.write(np.zeros((48, 64, 3), np.uint8))
            raise KeyboardInterrupt
        with VideoReader(tmp_path / "a.mp4") as reader:
            assert len(list(reader)) == 3

    def test_what_a_killed_process_left_is_removed(self, tmp_path):
        line = (
            "import os; import numpy as np; from pathlib import Path; from utils.data.video import VideoWriter; "
            f"writer = VideoWriter(Path({str(tmp_path / 'a.mp4')!r}), 25); "
            "[writer.write(np.zeros((48, 64, 3), np.uint8)) for _ in range(3)]; os.kill(os.getpid(), 9)"
        )
        subprocess.run([sys.executable, "-c", line], cwd=ROOT, capture_output=True)
        assert [path.suffix for path in tmp_path.iterdir()] == [".mp4"]
        with VideoWriter(tmp_path / "b.mp4", 25) as writer:
            writer.write(np.zeros((48, 64, 3), np.uint8))
            ResultFolder(tmp_path, "test")
        assert [path.name for path in tmp_path.iterdir()] == ["b.mp4"]
        assert (tmp_path / "b.mp4").stat().st_mode & 0o777 == 0o666 & ~umask()

    def test_a_video_in_a_folder_that_is_not_there(self, tmp_path):
        path = tmp_path / "none" / "a.mp4"
        with pytest.raises(FileNotFoundError) as caught, VideoWriter(path, 25) as writer:
            writer.write(np.zeros((48, 64, 3), np.uint8))
        assert caught.value.filename == str(path)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    """Six pictures of noise and a video."""
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(6):
        write_picture(folder / f"{number}.jpg", 200, 300)
    writer = cv2.VideoWriter(str(folder / "clip.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (320, 240))
    rng = np.random.default_rng(0)
    for _ in range(8):
        writer.write(rng.integers(0, 255, (240, 320, 3), np.uint8))
    writer.release()
    return folder


class TestCommands:
    """Each with room for a part of its results."""

    @pytest.fixture
    def detect(self, small_checkpoint, disk, run_script):
        def run(*more, pages: int) -> subprocess.CompletedProcess:
            (disk / "out").mkdir()
            fill(disk, pages)
            start = ("detect.py", "--pretrain-model", small_checkpoint, "--output-dir", disk / "out")
            process = run_script(*start, "--short-side", 64, "--score-threshold", 0.05, *more, expect=2)
            assert_names_the_target(process, disk)
            return process

        return run

    def test_detect_pictures(self, detect, pictures, disk):
        detect(*sorted(pictures.glob("*.jpg")), pages=60)
        names = assert_whole(disk / "out")
        assert "res_0.txt" in names  # what is written already stays
        assert len(names) < 12

    def test_detect_json_lines(self, detect, pictures, disk):
        detect(pictures, "--format", "jsonl", "--no-pictures", pages=20)
        assert assert_whole(disk / "out") == ["detections.jsonl"]
        assert (disk / "out" / "detections.jsonl").stat().st_size > 0

    def test_detect_a_video(self, detect, pictures, disk):
        """The video does not fit; the words of its frames, written before, stay."""
        process = detect(pictures / "clip.avi", "--format", "txt", "--score-threshold", 1, pages=40)
        assert "det_clip.mp4" in process.stderr
        names = assert_whole(disk / "out")
        assert "res_clip_000000.txt" in names
        assert "det_clip.mp4" not in names

    def test_report(self, disk, rendered, small_checkpoint, run_script):
        (disk / "out").mkdir()
        fill(disk, 12)
        start = ("test_sample.py", "--pretrain-model", small_checkpoint, "--prune", "--short-side", 64)
        line = (*start, "--test-folder-sample", rendered / "frames", "--output-dir", disk / "out")
        assert_names_the_target(run_script(*line, expect=2), disk)
        names = assert_whole(disk / "out")
        assert "index.html" not in names
        assert "metrics.json" in names

    @pytest.mark.parametrize("to", ["gt.mat", "txt", "labelme", "coco", "yolo", "cvat", "ppocrlabel"])
    def test_convert(self, disk, rendered, tmp_path, run_script, to):
        fill(disk, 30)
        line = ("-m", "tools.convert", rendered / "frames", disk / "out", "--to", to, "--copy")
        assert_names_the_target(run_script(*line, expect=2), disk)
        assert_whole(disk / "out")

    def test_render_and_demo_data(self, disk, run_script):
        fill(disk, 20)
        line = ("-m", "tools.render", "--images", 40, "--size", 200, 300, "--out", disk / "out")
        assert_names_the_target(run_script(*line, "--workers", 2, expect=2), disk)
        assert assert_whole(disk / "out")
        shutil.rmtree(disk / "out")
        assert_names_the_target(run_script("-m", "tools.demo_data", "--out", disk / "out", expect=2), disk)
        assert assert_whole(disk / "out")

    def test_frames_of_a_video(self, disk, pictures, run_script):
        fill(disk, 40)
        line = ("-m", "tools.extract_frames", pictures / "clip.avi", "--every", 1, "--out", disk / "out")
        assert_names_the_target(run_script(*line, expect=2), disk)
        names = assert_whole(disk / "out")
        assert names[0] == "clip_000000.jpg"
        assert len(names) < 8

    def test_sheets(self, disk, rendered, run_script):
        fill(disk, 4)
        line = ("-m", "tools.inspect_data", rendered / "frames", "--samples", 4, "--out", disk / "out")
        assert_names_the_target(run_script(*line, expect=2), disk)
        assert not assert_whole(disk / "out")

    def test_prune_and_publish(self, disk, small_checkpoint, run_script):
        fill(disk, 20)
        line = ("prune.py", "--pretrain-model", small_checkpoint, "--save-dir", disk / "out", "--size", 64, 64)
        assert_names_the_target(run_script(*line, expect=2), disk, "could not be written (disk full)")
        assert not assert_whole(disk / "out")
        line = ("-m", "tools.publish", small_checkpoint, disk / "published" / "a.pt")
        assert_names_the_target(run_script(*line, expect=2), disk, "could not be written (disk full)")
        assert not assert_whole(disk / "published")

    def test_the_annotation_index(self, disk, tmp_path, run_script):
        names = [f"1/{number}.jpg" for number in range(500)]
        write_mat(tmp_path / "gt.mat", [cell(box(5, 5, 40, 20))] * 500, names)
        write_picture(tmp_path / names[0])
        fill(disk, 2)
        line = ("-m", "tools.inspect_data", tmp_path, "--samples", 1, "--cache-dir", disk / "cache")
        process = run_script(*line, expect=2)
        assert f"{disk / 'cache'}: No space left on device" in process.stderr
        assert "give --cache-dir a folder with room" in process.stderr
        assert not assert_whole(disk / "cache")
