"""Videos of constant and variable frame rate, streams that stop and come back, and the names of sources."""

import contextlib
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from detect import expand_inputs
from tests.conftest import ROOT
from utils.data.video import Connection, UnreadableVideo, VideoReader, VideoWriter
from utils.data.video_sources import shown_source, source_stem, stream_or_camera

RATE = 12.5


def level(number: int) -> np.ndarray:
    """A frame whose grey level gives its number."""
    return np.full((48, 64, 3), (24 * number + 16) % 256, np.uint8)


def number_of(image: np.ndarray) -> int:
    return int(image.mean() / 24)


def write_video(path: Path, frames: int = 20) -> Path:
    with VideoWriter(path, RATE) as writer:
        for number in range(frames):
            writer.write(level(number))
    return path


def with_durations(data: bytes, milliseconds: list[int]) -> bytes:
    """The MP4 with these durations of its frames, instead of one duration for all (table `stts` of ISO 14496-12)."""
    table = b"".join(struct.pack(">II", 1, each) for each in milliseconds)
    new = struct.pack(">I4sII", 16 + len(table), b"stts", 0, len(milliseconds)) + table
    start = data.index(b"stts") - 4
    grown = bytearray(data[:start] + new + data[start + struct.unpack(">I", data[start : start + 4])[0] :])
    for name in (b"moov", b"trak", b"mdia", b"minf", b"stbl"):
        place = grown.index(name) - 4
        size = struct.unpack(">I", grown[place : place + 4])[0]
        grown[place : place + 4] = struct.pack(">I", size + len(new) - 24)
    clock = grown.index(b"mdhd") + 16
    grown[clock : clock + 8] = struct.pack(">II", 1000, sum(milliseconds))
    return bytes(grown)


def without_edit_list(data: bytes) -> bytes:
    """The MP4 without the statement of how long its track is shown."""
    return data.replace(b"edts", b"free")


def without_rate(data: bytes, times: list[int]) -> bytes:
    """The WebM, of one cluster, without its statement of the rate and with these times of its frames, in ms."""
    changed = bytearray(data)
    place = changed.index(b"\x23\xe3\x83\x84")  # DefaultDuration, 4 bytes long
    changed[place : place + 8] = b"\xec\x86" + bytes(6)  # Void
    place = changed.index(b"\xa3", changed.index(b"\x1fC\xb6u") + 4)  # the first SimpleBlock of the cluster
    for time_ms in times:
        assert changed[place] == 0xA3
        length = 9 - changed[place + 1].bit_length()
        size = int.from_bytes(changed[place + 1 : place + 1 + length], "big") - (1 << 7 * length)
        place += 1 + length
        struct.pack_into(">h", changed, place + 1, time_ms)
        place += size
    return bytes(changed)


class TestTimes:
    def test_of_a_webm_that_states_no_rate(self, tmp_path):
        """OpenCV reports its clock's rate, 1000, and a frame for each millisecond of its duration."""
        path = tmp_path / "a.webm"
        video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"VP80"), 25, (64, 48))
        assert video.isOpened()
        for number in range(40):
            video.write(level(number))
        video.release()
        times = [0, *np.cumsum(np.random.default_rng(0).integers(20, 60, 39)).tolist()]
        path.write_bytes(without_rate(path.read_bytes(), times))
        capture = cv2.VideoCapture(str(path))
        assert (capture.get(cv2.CAP_PROP_FPS), capture.get(cv2.CAP_PROP_FRAME_COUNT)) == (1000, 1600)
        with VideoReader(path) as reader:
            assert reader.rate == pytest.approx(39_000 / times[-1])
            assert reader.count == pytest.approx(1.6 * reader.rate, abs=1)
            frames = list(reader.frames())
        assert [round(frame.time_ms) for frame in frames] == times
        assert frames[0].number == 0

    def test_of_a_high_rate_that_the_frames_have(self, tmp_path):
        with VideoWriter(tmp_path / "a.mp4", 480) as writer:
            for number in range(9):
                writer.write(level(number))
        with VideoReader(tmp_path / "a.mp4") as reader:
            assert (reader.rate, reader.count) == (480, 9)
            assert [number_of(image) for image in reader] == list(range(9))

    def test_of_a_constant_rate(self, tmp_path):
        with VideoReader(write_video(tmp_path / "a.mp4")) as reader:
            frames = list(reader.frames())
        assert [frame.number for frame in frames] == list(range(20))
        assert np.allclose([frame.time_ms for frame in frames], 80 * np.arange(20), atol=0.01)

    def test_of_a_variable_rate(self, tmp_path, run_script, small_checkpoint):
        durations = [40, 40, 200, 40, 400, 80, 40, 40, 120, 40]
        times = [sum(durations[:number]) for number in range(10)]
        path = write_video(tmp_path / "a.mp4", 10)
        path.write_bytes(without_edit_list(with_durations(path.read_bytes(), durations)))
        with VideoReader(path) as reader:
            assert np.allclose([frame.time_ms for frame in reader.frames()], times, atol=0.01)
        line = ("detect.py", "--pretrain-model", small_checkpoint, "--output-dir", tmp_path / "out")
        run_script(*line, "--short-side", 32, "--format", "jsonl", "--score-threshold", 1, path)
        lines = [json.loads(line) for line in (tmp_path / "out" / "detections.jsonl").read_text().splitlines()]
        assert [line["time_ms"] for line in lines] == times
        with VideoReader(tmp_path / "out" / "det_a.mp4") as reader:
            shown = [number_of(image) for image in reader]
        positions = np.rint(np.array(times) * reader.rate / 1000)
        assert len(shown) == positions[-1] + 1
        assert shown == [np.flatnonzero(positions <= slot)[-1] for slot in range(len(shown))]

    def test_of_unreadable_frames(self, tmp_path):
        path = tmp_path / "a.avi"
        video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
        for number in range(8):
            video.write(level(number))
        video.release()
        data = bytearray(path.read_bytes())
        starts = [found.start() for found in re.finditer(b"\xff\xd8\xff", data)]
        for number in (3, 4, 6):
            data[starts[number] : starts[number + 1] - 8] = bytes(starts[number + 1] - 8 - starts[number])
        path.write_bytes(data)
        with VideoReader(path) as reader:
            frames = list(reader.frames())
        assert [frame.number for frame in frames] == list(range(8))
        assert [frame.number for frame in frames if frame.image is None] == [3, 4, 6]
        assert np.allclose([frame.time_ms for frame in frames], 100 * np.arange(8), atol=0.01)

    @pytest.mark.parametrize(("name", "code"), [("a.avi", "MJPG"), ("a.mkv", "mp4v"), ("a.webm", "VP80")])
    def test_of_a_file_that_is_cut_off(self, tmp_path, name, code):
        """OpenCV reports the frames that the file's head states, and ends without an error."""
        path, rng = tmp_path / name, np.random.default_rng(0)
        video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*code), 25, (64, 48))
        for _ in range(100):
            video.write(rng.integers(0, 255, (48, 64, 3), np.uint8))
        video.release()
        with VideoReader(path) as reader:
            assert len(list(reader.frames())) == 100
            assert reader.lost is None
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with VideoReader(path) as reader:
            count = len(list(reader.frames()))
            assert 30 < count < 70
            assert f"{path}: ended after {count} of 100 frames, " in reader.lost


class TestWriter:
    def test_frames_are_repeated_and_left_out(self, tmp_path):
        with VideoWriter(tmp_path / "a.mp4", 10) as writer:
            for number, time_ms in enumerate((500, 600, 610, 630, 700, 1000, 1100)):
                writer.write(level(number), time_ms)
        with VideoReader(tmp_path / "a.mp4") as reader:
            assert [number_of(image) for image in reader] == [0, 3, 4, 4, 4, 5, 6]

    def test_a_long_gap_is_shortened(self, tmp_path):
        with VideoWriter(tmp_path / "a.mp4", 10) as writer:
            for number, time_ms in enumerate((0, 100, 10_000_000, 10_000_100)):
                writer.write(level(number), time_ms)
        with VideoReader(tmp_path / "a.mp4") as reader:
            assert [number_of(image) for image in reader] == [0, *[1] * 600, 2, 3]

    @pytest.mark.parametrize(
        ("rate", "written"),
        [(119.927, 119.93), (238.074, 238.07), (700.55, 700.5), (30000 / 1001, 29.97), (1e-4, 0.01)],
    )
    def test_rates_that_the_codec_does_not_have(self, tmp_path, rate, written):
        with VideoWriter(tmp_path / "a.mp4", rate) as writer:
            for number in range(5):
                writer.write(level(number), 1000 * number / rate if rate > 1 else None)
        with VideoReader(tmp_path / "a.mp4") as reader:
            assert reader.rate == pytest.approx(written)
            assert [number_of(image) for image in reader] == list(range(5))

    def test_a_video_that_cannot_be_written_is_left_out(self, tmp_path, run_script, small_checkpoint):
        """OpenCV's MPEG-4 has no frames wider than 8190 pixels; MJPEG has."""
        wide = cv2.VideoWriter(str(tmp_path / "wide.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (8208, 16))
        for number in range(3):
            wide.write(np.full((16, 8208, 3), 80 * number, np.uint8))
        wide.release()
        other, out = write_video(tmp_path / "other.mp4", 2), tmp_path / "out"
        line = ("detect.py", "--pretrain-model", small_checkpoint, "--short-side", 32, "--output-dir", out)
        process = run_script(*line, tmp_path / "wide.avi", other)
        assert "1 videos not written, their words are" in process.stdout
        assert "det_wide.mp4: a video of 8208x16 at 10 frames a second could not be opened" in process.stdout
        assert "in 5 frames" in process.stdout
        texts = {f"res_wide_{number:06}.txt" for number in range(3)} | {
            f"res_other_{number:06}.txt" for number in (0, 1)
        }
        assert {path.name for path in out.glob("[!.]*")} == texts | {"det_other.mp4"}
        assert not [path for path in out.glob(".*") if path.suffix != ".results"]

    def test_frames_of_another_size(self, tmp_path):
        with VideoWriter(tmp_path / "a.mp4", 10) as writer:
            writer.write(level(5))
            writer.write(np.full((30, 30, 3), 90, np.uint8))
        with VideoReader(tmp_path / "a.mp4") as reader:
            assert [(image.shape, number_of(image)) for image in reader] == [((48, 64, 3), 5), ((48, 64, 3), 3)]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Server:
    """The server of `tests.data.stream_server`, started and killed as often as a test wants."""

    def __init__(self, file: Path, rate: float = 25):
        self.port, self.file, self.rate = free_port(), file, rate
        self.process: subprocess.Popen | None = None

    def start(self) -> None:
        line = (sys.executable, "-m", "tests.data.stream_server", str(self.port), str(self.file), str(self.rate))
        self.process = subprocess.Popen(line, cwd=ROOT)
        for _ in range(600):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return
            time.sleep(0.05)
        raise AssertionError("the server does not start")

    def kill(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()

    def address(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"


@pytest.fixture
def server(tmp_path):
    server = Server(write_video(tmp_path / "clip.mp4", 4))
    server.start()
    yield server
    server.kill()


class TestStreams:
    def test_a_stream_is_killed_and_comes_back(self, server):
        with VideoReader(server.address("/live"), connection=Connection(6, 10)) as reader:
            assert reader.count is None
            frames = []
            for frame in reader.frames():
                frames.append(frame)
                if frame.number == 20:
                    server.kill()
                    server.start()
                if reader.reconnections and frame.number >= 60:
                    break
        assert reader.reconnections == 1
        assert reader.lost is None
        assert [frame.number for frame in frames] == list(range(len(frames)))
        assert all(one.time_ms < other.time_ms for one, other in pairwise(frames))
        brightness = [float(frame.image.mean()) for frame in frames]
        assert min(brightness[20:]) < 20 < brightness[20]  # the second stream begins with a dark frame

    def test_a_stream_that_stays_away(self, server):
        with VideoReader(server.address("/live"), connection=Connection(2, 1)) as reader:
            start = time.monotonic()
            for frame in reader.frames():
                if frame.number == 5:
                    server.kill()
                    start = time.monotonic()
        assert time.monotonic() - start < 8
        assert "ended after" in reader.lost
        assert "2 attempts" in reader.lost

    def test_waiting_is_limited(self, server):
        start = time.monotonic()
        with pytest.raises(UnreadableVideo, match="within 1 s"):
            VideoReader(server.address("/silent"), connection=Connection(0, 1))
        assert time.monotonic() - start < 8

    def test_a_file_on_a_server_goes_on_where_it_was(self, tmp_path):
        path, rng = tmp_path / "clip.avi", np.random.default_rng(0)
        video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (256, 192))
        for number in range(30):
            noise = rng.integers(0, 12, (192, 256, 3), np.uint8)
            video.write(np.full((192, 256, 3), 8 * number, np.uint8) + noise)
        video.release()
        server = Server(path)
        server.start()
        try:
            with VideoReader(server.address("/file"), connection=Connection(6, 10)) as reader:
                assert reader.count == 30
                numbers = []
                for frame in reader.frames():
                    numbers.append(round((frame.image.mean() - 5.5) / 8))
                    if frame.number == 8:
                        server.kill()
                        server.start()
        finally:
            server.kill()
        assert len(numbers) == 30
        assert sum(numbers[each] != each for each in range(30)) <= 1  # the frame at the break may be damaged
        assert reader.reconnections >= 1
        assert reader.lost is None

    def test_detect_reads_a_stream(self, server, tmp_path, run_script, small_checkpoint):
        line = ("detect.py", "--pretrain-model", small_checkpoint, "--output-dir", tmp_path / "out", "--short-side", 32)
        address = server.address("/file?token=secret").replace("//", "//user:word@")
        process = run_script(*line, "--format", "jsonl", "--reconnect", 1, "--wait", 5, address)
        assert "in 4 frames" in process.stdout
        names = {path.name for path in (tmp_path / "out").iterdir() if not path.name.startswith(".")}
        assert names == {"detections.jsonl", f"det_127.0.0.1_{server.port}_file.mp4"}
        lines = (tmp_path / "out" / "detections.jsonl").read_text()
        assert len(lines.splitlines()) == 4
        lists = "".join(path.read_text() for path in (tmp_path / "out").glob(".*.results"))
        assert "secret" not in lines + lists + process.stdout
        assert "word@" not in lines + process.stdout

    def test_a_live_stream_faster_than_the_network_drops_frames(self, server, tmp_path, small_checkpoint):
        """Until Ctrl-C. All frames are taken from the stream, the newest one is detected from."""
        server.kill()
        server.rate = 500
        server.start()
        out = tmp_path / "out"
        line = ("detect.py", "--pretrain-model", small_checkpoint, "--output-dir", out, "--short-side", 640)
        command = [sys.executable, *map(str, line), "--format", "jsonl", server.address("/live")]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            lines: list[str] = []
            deadline = time.monotonic() + 90
            while len(lines) < 12 and time.monotonic() < deadline:
                time.sleep(0.1)
                lines = (
                    (out / "detections.jsonl").read_text().splitlines() if (out / "detections.jsonl").exists() else []
                )
            process.send_signal(signal.SIGINT)
            output, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        rows = [json.loads(line) for line in (out / "detections.jsonl").read_text().splitlines()]
        numbers = [row["frame"] for row in rows]
        assert numbers == sorted(set(numbers))
        (dropped,) = map(int, re.findall(r"(\d+) frames of a live source that came faster", output))
        assert dropped >= numbers[-1] + 1 - len(numbers) > 0  # of those that came after the last one, too
        with VideoReader(out / f"det_127.0.0.1_{server.port}_live.mp4") as video:
            assert next(iter(video)) is not None

    def test_an_address_without_a_server(self, tmp_path, refuses, small_checkpoint):
        line = ("detect.py", "--pretrain-model", small_checkpoint, "--output-dir", tmp_path / "out", "--wait", 2)
        address = f"http://user:word@127.0.0.1:{free_port()}/a?token=secret"
        printed = refuses(*line, address, parts=["none of the 1 inputs", "127.0.0.1"])
        assert "word" not in printed
        assert "secret" not in printed


class TestNames:
    def test_what_is_a_stream_or_camera(self, tmp_path, monkeypatch):
        for text in ("rtsp://10.0.0.7/live", "HTTP://example.org/a.mp4", "udp://@:1234"):
            assert stream_or_camera(text) == text
        assert stream_or_camera("/dev/video3") == 3
        for text in ("a.mp4", "http://", "file:///a.mp4", "/dev/null", "3", "x/http://a"):
            assert stream_or_camera(text) is None
        monkeypatch.setattr(os.path, "realpath", lambda path: "/dev/video2" if "by-id" in path else path)
        assert stream_or_camera("/dev/v4l/by-id/usb-camera") == 2
        assert expand_inputs(["/dev/video0", "rtsp://a/b", "7"]) == [0, "rtsp://a/b", 7]

    def test_secrets_are_not_shown(self):
        address = "rtsp://admin:pass@10.0.0.7:554/live/ch1?key=1"
        assert shown_source(address) == "rtsp://10.0.0.7:554/live/ch1"
        assert source_stem(address) == "10.0.0.7_554_live_ch1"
        assert shown_source("HTTP://a:b@[::1]:80/live#c") == "http://[::1]:80/live"
        assert (shown_source(2), source_stem(2)) == ("camera 2", "camera2")
        assert (shown_source(Path("a/b.mp4")), source_stem(Path("a/b.mp4"))) == ("a/b.mp4", "b")

    def test_paths_that_are_not_utf_8(self, tmp_path, run_script, small_checkpoint):
        """OpenCV crashes on them."""
        odd, out = (Path(os.fsdecode(os.fsencode(tmp_path) + name)) for name in (b"/caf\xe9.mp4", b"/n\xe9"))
        video = write_video(tmp_path / "clip.mp4", 3)
        odd.write_bytes(video.read_bytes())
        line = ("detect.py", "--pretrain-model", small_checkpoint, "--short-side", 32, "--output-dir")
        process = run_script(*line, tmp_path / "out", odd, video, "http://caf\udce9/live")
        assert "2 inputs unreadable" in process.stdout
        assert r"caf\xe9.mp4: OpenCV cannot open a video whose path is not UTF-8; rename it" in process.stdout
        assert "in 3 frames" in process.stdout
        refused = run_script(*line, out, video, expect=2)
        assert r"n\xe9: OpenCV cannot write a video" in refused.stderr
        assert [path.name for path in out.iterdir() if not path.name.startswith(".")] == []
        run_script(*line, out, video, "--no-pictures")
        assert len(list(out.glob("res_clip_*.txt"))) == 3

    def test_a_colon_in_a_relative_path(self, tmp_path, monkeypatch):
        write_video(tmp_path / "2024-05-01T12:30:00.mp4", 3)
        monkeypatch.chdir(tmp_path)
        with VideoReader(Path("2024-05-01T12:30:00.mp4")) as reader:
            assert len(list(reader)) == 3

    def test_addresses_and_cameras_that_cannot_be(self, tmp_path, refuses, small_checkpoint):
        line = ("detect.py", "--pretrain-model", small_checkpoint, "--output-dir", tmp_path / "out", "--wait", 2)
        printed = refuses(*line, "http://[user:word@bad/x", 99999999999, parts=["none of the 2 inputs", "http://bad/x"])
        assert "camera 99999999999: no camera has such a number" in printed
        assert "word" not in printed
