"""JSON documents from files of unknown origin."""

import json
from pathlib import Path

from utils.data.formats.encoding import decode_text
from utils.data.formats.entries import Malformed
from utils.data.problems import Problems


def read_json(path: Path) -> object:
    """The document. Raises `Malformed`."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise Malformed(f"cannot be read ({error.strerror})") from None
    return parse_json(data)


def parse_json(data: bytes | str) -> object:
    """The document in UTF-8 (a byte order mark is allowed), UTF-16 or UTF-32. Raises `Malformed`."""
    try:
        return json.loads(data)
    except RecursionError:
        raise Malformed("JSON that is nested too deeply") from None
    except ValueError as error:  # also UnicodeDecodeError
        raise Malformed(f"not a JSON document ({error})") from None


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


def dicts_of(value: object) -> list[dict]:
    """The items of a list that are objects; [] for anything else."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
