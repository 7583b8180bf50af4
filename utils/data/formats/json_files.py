"""JSON documents from files of unknown origin."""

import json
from pathlib import Path

from utils.data.formats.entries import Malformed
from utils.data.formats.text_files import read_bytes


def read_json(path: Path) -> object:
    """The document. Raises `Malformed`."""
    return parse_json(read_bytes(path))


def parse_json(data: bytes | str) -> object:
    """The document in UTF-8 (a byte order mark is allowed), UTF-16 or UTF-32. Raises `Malformed`."""
    try:
        return json.loads(data)
    except RecursionError:
        raise Malformed("JSON that is nested too deeply") from None
    except ValueError as error:  # also UnicodeDecodeError
        raise Malformed(f"not a JSON document ({error})") from None


def dicts_of(value: object) -> list[dict]:
    """The items of a list that are objects; [] for anything else."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
