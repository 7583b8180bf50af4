"""gt.mat files made to end the process, to fill the memory, or that are no MATLAB v5 files."""

import itertools
import os
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
import scipy.io

from tests.conftest import ROOT
from tests.helpers import box, cell, write_mat
from utils.data import mat_nesting
from utils.data.annotation_index import read_synthtext
from utils.data.mat_cells import Damaged
from utils.data.mat_nesting import check_nesting
from utils.errors import UserError


def element(kind: int, data: bytes, order: str = "<") -> bytes:
    return struct.pack(f"{order}II", kind, len(data)) + data + bytes(-len(data) % 8)


def array(kind: int, shape: tuple[int, ...], data: bytes, name: bytes = b"", order: str = "<") -> bytes:
    """A matrix element of a MATLAB class."""
    head = element(6, struct.pack(f"{order}II", kind, 0), order)
    sides = element(5, struct.pack(f"{order}{len(shape)}i", *shape), order)
    return element(14, head + sides + element(1, name, order) + data, order)


def nested(levels: int, name: bytes, order: str = "<", lie: bool = False) -> bytes:
    """Cells of one cell each. lie: they claim to be shorter than what they hold."""
    body = array(6, (1, 1), element(9, struct.pack(f"{order}d", 1.0), order), order=order)
    for level in range(levels):
        body = array(1, (1, 1), body, name if level == levels - 1 else b"", order)
        if lie and level < levels - 1:
            body = body[:4] + struct.pack(f"{order}I", 48) + body[8:]
    return body


def mat_file(*variables: bytes, order: str = "<") -> bytes:
    mark = b"\0\1IM" if order == "<" else b"\1\0MI"
    return b"MATLAB 5.0 MAT-file".ljust(124) + mark + b"".join(variables)


def names_as_numbers(order: str) -> bytes:
    """An imnames that is no cell array, so that SciPy has to read the file."""
    return array(6, (1, 1), element(9, struct.pack(f"{order}d", 1.0), order), b"imnames", order)


READ_ALL = """
import sys
from utils.data.annotation_index import read_synthtext
from utils.errors import UserError
for path in sys.argv[1:]:
    try:
        read_synthtext(path)
    except UserError as error:
        print(error, flush=True)
"""


def test_cells_nested_deep(tmp_path):
    """10,000 levels ended the process inside SciPy: so it is a process of its own that reads them."""
    files = []
    for order, lie, packed in itertools.product("<>", (False, True), (False, True)):
        body = nested(10_000, b"wordBB", order, lie)
        if packed:
            body = element(15, zlib.compress(body), order)
        files.append(tmp_path / f"{len(files)}.mat")
        files[-1].write_bytes(mat_file(names_as_numbers(order), body, order=order))
    line = [sys.executable, "-c", READ_ALL, *map(str, files)]
    process = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert process.returncode == 0, process.stderr
    expected = "cannot be read (its arrays are nested more than 32 deep)"
    for file, answer in zip(files, process.stdout.splitlines(), strict=True):
        assert answer.startswith(f"{file}: {expected}")


def test_what_scipy_may_read(tmp_path):
    """Structs, sparse and complex matrices and characters within 32 levels are left to SciPy."""
    contents = {
        "imnames": {"a": {"b": np.array([["text"]], object)}, "c": 1 + 2j},
        "wordBB": np.array([[np.zeros((2, 4)), scipy.sparse.csc_matrix(np.eye(3)), "x"]], object),
        "other": np.zeros(3),
    }
    for packed in (False, True):
        scipy.io.savemat(tmp_path / "a.mat", contents, do_compression=packed)
        check_nesting(tmp_path / "a.mat", set(contents))
    scipy.io.savemat(tmp_path / "a.mat", {"wordBB": np.zeros((2, 4))}, format="4")
    check_nesting(tmp_path / "a.mat", {"wordBB"})


def test_limits_on_sizes(tmp_path, monkeypatch):
    path = tmp_path / "a.mat"
    for kind, shape in ((1, (2**20, 2**20)), (4, (2**15, 2**15)), (6, (2**30, 2**30)), (1, (-1, 3))):
        path.write_bytes(mat_file(array(kind, shape, element(1, b""), b"wordBB")))
        with pytest.raises(Damaged, match="an array of"):
            check_nesting(path, {"wordBB"})
    path.write_bytes(mat_file(array(17, (1, 1), b"", b"wordBB")))
    with pytest.raises(Damaged, match="class 17"):
        check_nesting(path, {"wordBB"})
    monkeypatch.setattr(mat_nesting, "MAX_BYTES", 100_000)
    path.write_bytes(mat_file(element(15, zlib.compress(array(6, (1, 1), element(9, bytes(200_000)), b"wordBB")))))
    with pytest.raises(Damaged, match="unpack to more than 100000 bytes"):
        check_nesting(path, {"wordBB"})


@pytest.mark.parametrize(
    ("content", "cure"),
    [
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "v7.3 (HDF5) file; load it in MATLAB and write it in version 7: save("),
        (b"MATLAB 7.3 MAT-file, Platform".ljust(512) + b"\x89HDF\r\n\x1a\n", "v7.3 (HDF5) file"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n",
            "Git LFS pointer, not the file itself: run `git lfs pull`",
        ),
        (
            b"<!DOCTYPE html>\n<html><title>Google Drive</title>",
            "an HTML page, as a download without a login leaves it",
        ),
        (b"PK\3\4 zip", "a zip archive: unpack it"),
        (b"text", "cannot be read"),
    ],
)
def test_what_a_gt_mat_is_instead(tmp_path, content, cure):
    (tmp_path / "gt.mat").write_bytes(content)
    with pytest.raises(UserError) as error:
        read_synthtext(tmp_path)
    assert cure in str(error.value)
    assert str(tmp_path / "gt.mat") in str(error.value)


def test_a_pipe(tmp_path):
    write_mat(tmp_path / "whole.mat", [cell(box(5, 5, 40, 20))])
    os.mkfifo(tmp_path / "gt.mat")
    with pytest.raises(UserError, match=r"gt\.mat"):
        read_synthtext(tmp_path)
