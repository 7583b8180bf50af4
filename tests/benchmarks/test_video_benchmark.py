"""`benchmarks.video`: rates of a loop and of threads."""

import numpy as np

from tests.deploy.conftest import CHECKPOINT
from utils.data.video import VideoWriter


def test_rates_and_their_ratio(tmp_path, run_script):
    with VideoWriter(tmp_path / "a.mp4", 25) as writer:
        for number in range(4):
            writer.write(np.full((96, 128, 3), 60 * number, np.uint8), 40 * number)
    line = (tmp_path / "a.mp4", f"net={CHECKPOINT}", "--short-sides", 64, "--threads", 1, "--turns", 1)
    row = run_script("-m", "benchmarks.video", *line).stdout.splitlines()[-1]
    assert row.startswith("net 64, pytorch")
    loop, threads, ratio, *drawn = map(float, row.split()[3:])
    assert len(drawn) == 3
    assert abs(threads / loop - ratio) < 0.02


def test_a_missing_video(tmp_path, refuses):
    refuses("-m", "benchmarks.video", tmp_path / "a.mp4", f"net={CHECKPOINT}", parts=["a.mp4", "no such video"])
