"""Threads: the affinity mask, a container's CPU quota (cgroup v1 and v2), OMP_NUM_THREADS and --threads."""

import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from utils.runtime import cores
from utils.runtime.cores import affinity_cores, available_cores, choose_threads, quota_cores


@pytest.fixture
def groups(tmp_path):
    """Write control groups: own(lines of /proc/self/cgroup, files) -> arguments of quota_cores."""

    def write(own: str, files: dict[str, str]):
        for name, text in files.items():
            path = tmp_path / "cgroup" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        (tmp_path / "own").write_text(own)
        return tmp_path / "cgroup", tmp_path / "own"

    return write


class TestQuota:
    def test_version_2(self, groups):
        assert quota_cores(*groups("0::/\n", {"cpu.max": "150000 100000\n"})) == 1.5
        assert quota_cores(*groups("0::/\n", {"cpu.max": "max 100000\n"})) is None

    def test_the_smallest_of_all_groups_around(self, groups):
        files = {"a/cpu.max": "400000 100000", "a/b/cpu.max": "max 100000", "a/b/c/cpu.max": "800000 100000"}
        assert quota_cores(*groups("0::/a/b/c\n", files)) == 4

    @pytest.mark.parametrize("folder", ["cpu,cpuacct", "cpu"])
    def test_version_1(self, groups, folder):
        files = {f"{folder}/x/cpu.cfs_quota_us": "50000\n", f"{folder}/x/cpu.cfs_period_us": "100000\n"}
        assert quota_cores(*groups("5:memory:/\n4:cpu,cpuacct:/x\n", files)) == 0.5
        files[f"{folder}/x/cpu.cfs_quota_us"] = "-1\n"
        assert quota_cores(*groups("4:cpu,cpuacct:/x\n", files)) is None

    def test_none(self, tmp_path):
        assert quota_cores(tmp_path, tmp_path / "own") is None


class TestThreads:
    @pytest.fixture(autouse=True)
    def _no_choice(self, monkeypatch):
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)

    def test_the_order(self, monkeypatch):
        assert choose_threads() == (available_cores(), choose_threads().reason)
        assert choose_threads(processes=1000).number == 1
        monkeypatch.setenv("OMP_NUM_THREADS", "3,2")
        assert choose_threads() == (3, "OMP_NUM_THREADS")
        assert choose_threads(5) == (5, "--threads")

    @pytest.mark.parametrize(("quota", "count"), [(0.5, 1), (1.5, 1), (1000, affinity_cores())])
    def test_a_quota(self, monkeypatch, quota, count):
        monkeypatch.setattr(cores, "quota_cores", lambda: quota)
        chosen = choose_threads()
        assert chosen.number == count
        assert ("CPU quota" in chosen.reason) == (quota < affinity_cores())


@pytest.mark.parametrize(
    ("environment", "expected"),
    [({}, "5000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "None")],
)
def test_spinning_is_limited_unless_the_user_has_chosen(environment, expected):
    code = "import sys, os, utils.runtime.openmp; print(os.environ.get('GOMP_SPINCOUNT'), 'torch' in sys.modules)"
    clean = {name: value for name, value in os.environ.items() if name not in {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"}}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=clean | environment, capture_output=True, text=True
    )
    assert done.stdout.split() == [expected, "False"], done.stderr


def test_training_spins_longer():
    code = "import os; import utils.runtime.openmp_training; print(os.environ['GOMP_SPINCOUNT'])"
    clean = {name: value for name, value in os.environ.items() if name not in {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"}}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=clean, capture_output=True, text=True)
    assert done.stdout.strip() == "10000", done.stderr


def test_scripts_limit_it_before_they_load_pytorch():
    for script in ("train_sample.py", "test_sample.py", "detect.py", "prune.py", "export.py"):
        lines = [text for text in (ROOT / script).read_text().splitlines() if text.startswith(("import ", "from "))]
        assert lines[0].startswith("import utils.runtime.openmp"), script
