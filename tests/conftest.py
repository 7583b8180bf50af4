"""Real parts for the tests: rendered data, small networks, and the photographs where they are there."""

import os
import runpy
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from model_pruned import FOTSModelPruned
from tools.demo_data import make_frames, make_synthtext
from utils.checkpoint import save_checkpoint
from utils.network.channels import uniform_plan
from utils.runtime.signals import STOP_SIGNALS

ROOT = Path(__file__).resolve().parent.parent
REAL_DATA = Path(os.environ.get("TEXT_DATA", ROOT.parent / "shared" / "data"))


def pytest_addoption(parser):
    parser.addoption("--mutations", type=int, default=20, help="mutated files of each kind that tests/robustness reads")
    parser.addoption("--kills", type=int, default=3, help="kills and signals that a run gets")


@pytest.fixture(scope="session", autouse=True)
def _no_traces_in_the_users_cache(tmp_path_factory):
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session", autouse=True)
def _interruptible():
    """A shell has Ctrl-C ignored in the background, `nohup` SIGHUP: by the processes that the tests start, too."""
    for number in STOP_SIGNALS:
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


@pytest.fixture(scope="session")
def kills(request) -> int:
    return request.config.getoption("--kills")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of ICDAR 2015 photographs and genuine gt.mat files; TEXT_DATA names another place."""
    if not (REAL_DATA / "icdar2015").is_dir():
        pytest.skip(f"no real data at {REAL_DATA} (set TEXT_DATA to their folder)")
    return REAL_DATA


@pytest.fixture(scope="session")
def rendered(tmp_path_factory) -> Path:
    """synthtext/ (20 images) and frames/ (6 + 4)."""
    folder = tmp_path_factory.mktemp("rendered")
    make_synthtext(folder / "synthtext", 20, seed=1)
    make_frames(folder / "frames", 6, 4, seed=1)
    return folder


@pytest.fixture(scope="session")
def small_plan() -> dict[str, int]:
    return uniform_plan(1 / 16, keep=())


@pytest.fixture(scope="session")
def small_checkpoint(tmp_path_factory, small_plan) -> Path:
    """A narrow, untrained network's checkpoint: quick to run."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("small") / "small.pt"
    save_checkpoint(path, FOTSModelPruned(small_plan))
    return path


@pytest.fixture(scope="session")
def run_script():
    """Run one of the scripts as a user does; returns the finished process."""

    def run(*line: object, expect: int | None = 0, **options) -> subprocess.CompletedProcess:
        process = subprocess.run(
            [sys.executable, *map(str, line)], cwd=ROOT, capture_output=True, text=True, timeout=300, **options
        )
        if expect is not None:
            assert process.returncode == expect, f"exit code {process.returncode}\n{process.stdout}\n{process.stderr}"
        return process

    return run


@pytest.fixture
def refuses(capfd, monkeypatch):
    """A line that must end with exit code 2 and one clear line that holds all of `parts`; returns what is printed.

    The script is run from its file, with its own command line, in this process: to start one takes seconds.
    """

    def check(*line: object, parts: list[str]) -> str:
        script, *arguments = (str(word) for word in line if word != "-m")
        monkeypatch.chdir(ROOT)
        monkeypatch.setattr(sys, "argv", [script, *arguments])
        with pytest.raises(SystemExit) as end:
            if script.endswith(".py"):
                runpy.run_path(script, run_name="__main__")
            else:
                runpy.run_module(script, run_name="__main__", alter_sys=False)
        output, errors = capfd.readouterr()
        assert end.value.code == 2, errors
        assert len([text for text in errors.splitlines() if text.startswith("error: ")]) == 1, errors
        for part in parts:
            assert str(part) in errors
        return output + errors

    return check
