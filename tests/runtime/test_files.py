"""Atomic files: the old content or the new one, at every moment and after every error."""

import errno
import os
import stat
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from utils.runtime.files import atomic_file, link_or_copy, remove_unfinished


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_file_appears_when_the_block_ends(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with atomic_file(path) as file:
        file.write(b"new content")
        file.seek(0)
        assert file.read(3) == b"new"
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new content"
    assert names(tmp_path) == ["a.bin"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OSError])
def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with pytest.raises(error), atomic_file(path) as file:
        file.write(b"half")
        raise error
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["a.bin"]


def test_permissions_are_those_of_an_ordinary_new_file(tmp_path):
    (tmp_path / "ordinary").write_bytes(b"")
    with atomic_file(tmp_path / "ours"):
        pass
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("ordinary", "ours")}
    assert len(modes) == 1


def test_an_error_names_the_target(tmp_path):
    path = tmp_path / "no folder" / "a.bin"
    with pytest.raises(FileNotFoundError) as caught, atomic_file(path):
        pass
    assert caught.value.filename == str(path)
    with pytest.raises(OSError, match="full") as full, atomic_file(tmp_path / "b.bin"):
        raise OSError(errno.ENOSPC, "full")
    assert full.value.filename == str(tmp_path / "b.bin")


def test_an_error_about_another_file_keeps_its_name(tmp_path):
    with pytest.raises(FileNotFoundError) as caught, atomic_file(tmp_path / "a.bin"):
        open("/nowhere/source.bin")  # noqa: SIM115
    assert caught.value.filename == "/nowhere/source.bin"


@pytest.mark.parametrize("links", [True, False])
def test_link_or_copy(tmp_path, monkeypatch, links):
    def refuse(*_):
        raise OSError(errno.EPERM, "no hard links here")

    if not links:
        monkeypatch.setattr(os, "link", refuse)
    path, other = tmp_path / "a.bin", tmp_path / "b.bin"
    path.write_bytes(b"content")
    other.write_bytes(b"old")
    link_or_copy(path, other)
    assert other.read_bytes() == b"content"
    assert path.samefile(other) == links
    assert names(tmp_path) == ["a.bin", "b.bin"]


def test_the_file_of_a_killed_process_is_removed_that_of_a_living_one_stays(tmp_path):
    code = (
        "import pathlib, sys, time; from utils.runtime.files import atomic_file\n"
        "with atomic_file(pathlib.Path(sys.argv[1])) as file:\n"
        "    file.write(b'half'); file.flush(); print('writing', flush=True); time.sleep(600)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "a.bin")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as killed:
        assert killed.stdout.readline()
        remove_unfinished(tmp_path)
        assert len(names(tmp_path)) == 1  # it is still being written
        with atomic_file(tmp_path / "a.bin") as file:
            file.write(b"of another process")
        assert len(names(tmp_path)) == 2
        killed.kill()
    with atomic_file(tmp_path / "other.bin"):
        pass
    assert len(names(tmp_path)) == 3
    with atomic_file(tmp_path / "a.bin") as file:
        file.write(b"the next one")
    assert names(tmp_path) == ["a.bin", "other.bin"]


def test_a_folder_is_cleared_of_files_of_killed_processes(tmp_path):
    (tmp_path / ".a.bin.xyz.unfinished.mp4").write_bytes(b"half")
    with atomic_file(tmp_path / "b.bin") as file:
        file.write(b"new")
        assert len(names(tmp_path)) == 2
        remove_unfinished(tmp_path)
        assert len(names(tmp_path)) == 1
    assert names(tmp_path) == ["b.bin"]
