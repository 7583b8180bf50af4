"""Zips and folders of result files: limits on what they unpack to, and one clear line for each damage."""

import os
import random
import struct
import zipfile

import pytest

from utils.errors import UserError
from utils.evaluation import text_sources
from utils.evaluation.result_files import read_ground_truth, read_results
from utils.evaluation.text_sources import read_text_sources

LINE = b"10,10,90,10,90,40,10,40\r\n"


def write_zip(path, files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def test_a_zip_that_unpacks_to_gigabytes(tmp_path):
    """260 kB become 4.8 GB if all is read."""
    zeros = b"0" * (1 << 24)
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for number in range(40):
            archive.writestr(f"res_{number}.txt", zeros)
    with pytest.raises(UserError, match=r"bomb\.zip: its \.txt files unpack to more than 536870912 bytes"):
        read_results(tmp_path / "bomb.zip")


def test_a_directory_that_lies_about_its_sizes(tmp_path, monkeypatch):
    path = write_zip(tmp_path / "a.zip", {"res_1.txt": b"0" * 100_000})
    data = bytearray(path.read_bytes())
    place = data.index(b"PK\1\2")
    data[place + 24 : place + 28] = struct.pack("<I", 100)
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"a\.zip: "):
        read_results(path)
    monkeypatch.setattr(text_sources, "MAX_TEXT_BYTES", 60)
    write_zip(path, {"res_1.txt": LINE * 2, "res_2.txt": LINE})
    with pytest.raises(UserError, match="more than 60 bytes"):
        read_results(path)
    monkeypatch.setattr(text_sources, "MAX_DIRECTORY_BYTES", 60)
    with pytest.raises(UserError, match="directory has more than 60 bytes; unpack it"):
        read_results(path)


def test_encrypted_and_unusual_members(tmp_path):
    path = write_zip(tmp_path / "a.zip", {"res_1.txt": LINE})
    data = bytearray(path.read_bytes())
    data[6] |= 1
    data[data.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"a\.zip: res_1\.txt is encrypted; unpack it"):
        read_results(path)
    write_zip(path, {"res_1.txt": LINE}, zipfile.ZIP_LZMA)
    with pytest.raises(UserError, match=r"a\.zip: res_1\.txt has compression method 14"):
        read_results(path)


def test_a_wrong_checksum(tmp_path):
    path = write_zip(tmp_path / "a.zip", {"res_1.txt": LINE}, zipfile.ZIP_STORED)
    path.write_bytes(path.read_bytes().replace(LINE, LINE.replace(b"90", b"80", 1)))
    with pytest.raises(UserError, match=r"a\.zip: not an intact zip \(Bad CRC-32 for file 'res_1\.txt'\)"):
        read_results(path)


@pytest.mark.parametrize("read", [read_results, read_ground_truth])
def test_mutated_zips(tmp_path, read, mutations):
    whole = write_zip(tmp_path / "a.zip", {f"{number}.txt": LINE * number for number in range(1, 9)}).read_bytes()
    rng = random.Random(0)
    for _ in range(mutations):
        data = bytearray(whole)
        for _ in range(rng.choice((1, 1, 2, 8))):
            data[rng.randrange(len(data))] = rng.randrange(256)
        (tmp_path / "a.zip").write_bytes(data[: rng.choice((len(data), len(data), rng.randrange(len(data))))])
        try:
            assert read(tmp_path / "a.zip")
        except UserError as error:
            assert "\n" not in str(error)
            assert str(error).startswith(str(tmp_path / "a.zip"))


def test_pipes_and_devices(tmp_path):
    (tmp_path / "gt").mkdir()
    os.mkfifo(tmp_path / "gt" / "1.txt")
    with pytest.raises(UserError, match=r"1\.txt: a pipe, not a regular file"):
        read_text_sources(tmp_path / "gt")
    (tmp_path / "zero").symlink_to("/dev/zero")
    with pytest.raises(UserError, match="zero: a device, not a regular file"):
        read_text_sources(tmp_path / "zero")
    (tmp_path / "page.zip").write_bytes(b"<!DOCTYPE html><html>")
    with pytest.raises(UserError, match=r"page\.zip: an HTML page"):
        read_text_sources(tmp_path / "page.zip")
