"""Input files: opened only if they are regular files, and named for what they are if they are something else.

A path that a user gives may be a pipe, a device or a socket, which block a reader or never end. A file may hold
something else than its name says: a Git LFS pointer, or the HTML page that a failed download left.
"""

import os
import stat
from pathlib import Path
from typing import BinaryIO

_SPECIAL = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
_DOWNLOAD = "an HTML page, as a download without a login leaves it: download the file itself"
_LFS = "a Git LFS pointer, not the file itself: run `git lfs pull`"
_SIGNATURES = (
    (b"version https://git-lfs.github.com/", _LFS),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    (b"%PDF-", "a PDF file: save its pages as PNG or JPEG"),
    (b"PK\x03\x04", "a zip archive: unpack it"),
    (b"\x1f\x8b", "a gzip archive: unpack it"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive: unpack it"),
    (b"Rar!\x1a\x07", "a RAR archive: unpack it"),
    (b"8BPS", "a Photoshop file: save it as PNG or JPEG"),
    (b"\xff\x0a", "a JPEG XL picture: save it as PNG or JPEG"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL picture: save it as PNG or JPEG"),
    (b"v/1\x01", "an OpenEXR picture: save it as PNG or JPEG"),
    (b"#?RADIANCE", "a Radiance HDR picture: save it as PNG or JPEG"),
    (b"\x1aE\xdf\xa3", "a Matroska or WebM video"),
)
_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}


class NotRegular(OSError):
    """The path names a folder, a pipe, a device or a socket. `strerror` says which."""


def open_regular(path: str | Path) -> BinaryIO:
    """Open a file for reading; only a regular file (or a link to one), so that nothing blocks.

    Raises OSError (`NotRegular` for a pipe, a device, a socket or a folder) and ValueError for a path with a zero byte.
    """
    refuse_special(path)
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        _refuse_mode(path, os.fstat(handle).st_mode)
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def read_regular(path: str | Path) -> bytes:
    """Return the contents of a regular file. Raises as `open_regular`."""
    with open_regular(path) as file:
        return file.read()


def refuse_special(path: str | Path) -> None:
    """Raise `NotRegular` if the path names something else than a regular file, OSError if it names nothing."""
    _refuse_mode(path, os.stat(path).st_mode)


def _refuse_mode(path: str | Path, mode: int) -> None:
    for is_kind, name in _SPECIAL:
        if is_kind(mode):
            raise NotRegular(0, f"{name}, not a regular file", os.fspath(path))


def foreign_type(head: bytes) -> str | None:
    """Return what a file with these first bytes is, and the cure; None if it is of no type known here.

    head: 64 bytes or more.
    """
    for signature, name in _SIGNATURES:
        if head.startswith(signature):
            return name
    text = head[:64].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<script")):
        return _DOWNLOAD
    if text.startswith((b"<?xml", b"<svg")):
        return "an XML or SVG file"
    if head[4:8] == b"ftyp":
        heic = head[8:12] in _HEIC_BRANDS
        return "an HEIC picture: save it as PNG or JPEG" if heic else "an MP4 or QuickTime video"
    if head[:4] == b"RIFF" and head[8:12] in {b"AVI ", b"WAVE"}:
        return "an AVI video or a WAV sound"
    return None
