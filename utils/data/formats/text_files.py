"""Annotation files of unknown origin, as bytes and as text."""

import codecs
import re
from pathlib import Path

from utils.data.formats.entries import Malformed
from utils.data.problems import Problems

_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_CHINESE = re.compile("[\u3000-\u303f\u4e00-\u9fff\uff00-\uffef]")


def read_bytes(path: Path) -> bytes:
    """The whole file. Raises `Malformed` if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise Malformed(f"cannot be read ({error.strerror})") from None


def read_text(path: Path, problems: Problems) -> str:
    """The whole file, as `decode_text`. Raises `Malformed` if it cannot be read."""
    return decode_text(read_bytes(path), str(path), problems)


def head_of(path: Path, size: int = 1 << 16) -> bytes:
    """The first bytes of a file; b"" if it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read(size)
    except OSError:
        return b""


def head_text(path: Path, size: int = 1 << 16) -> str:
    """The first bytes of a file as text in the encoding that they look like, to see what it is; "" as `head_of`."""
    return decode_text(head_of(path, size), str(path), Problems())


def decode_text(data: bytes, place: str, problems: Problems) -> str:
    """UTF-8 (with or without a mark), UTF-16 or GBK; other bytes become U+FFFD, counted. place: names the file."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return _lenient(data[len(mark) :], encoding, place, problems)
    if encoding := _utf_16(data):
        return _lenient(data, encoding, place, problems)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        pass
    if (text := _gbk(data)) is not None:
        problems.add("files without UTF-8 that were read as GBK", place)
        return text
    return _lenient(data, "utf-8", place, problems)


def _utf_16(data: bytes) -> str | None:
    """UTF-16 without a mark: in numbers and commas every second byte is zero."""
    first, second = (data[start::2].count(0) / max(len(data) // 2, 1) for start in (0, 1))
    if max(first, second) < 0.5 or min(first, second) > 0.1:
        return None
    return "utf-16-be" if first > second else "utf-16-le"


def _gbk(data: bytes) -> str | None:
    """The text if the bytes are GBK and nearly all letters beyond ASCII are Chinese characters or punctuation."""
    try:
        text = data.decode("gbk")
    except UnicodeDecodeError:
        return None
    foreign = [letter for letter in text if letter > "\x7f"]
    chinese = sum(bool(_CHINESE.match(letter)) for letter in foreign)
    return text if chinese >= 0.9 * len(foreign) else None


def _lenient(data: bytes, encoding: str, place: str, problems: Problems) -> str:
    text = data.decode(encoding, errors="replace")
    if "\ufffd" in text:
        problems.add("files with letters in an unknown encoding; save them as UTF-8", place)
    return text
