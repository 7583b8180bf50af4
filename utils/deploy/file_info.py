"""What an exported file says about itself: how to prepare pictures for it, and which checkpoint it was made from.

An ONNX file has it in its metadata, an OpenVINO file in its `rt_info`, a TorchScript file in a JSON file of its
archive. Reading it needs neither PyTorch nor one of the packages that run the file.
"""

import json
import os
import zipfile
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, BinaryIO
from xml.etree import ElementTree

from utils.errors import UserError
from utils.maps import IMAGE_MEAN, IMAGE_STD, SIZE_MULTIPLE
from utils.runtime.inputs import open_regular

FORMAT = 1
"""Version of the files that this code writes."""

SECTION = "text_detector"
"""Name of the section of `rt_info`, and of the JSON file."""

FORMATS = {".onnx": "onnx", ".xml": "openvino", ".torchscript": "torchscript"}
"""Suffix of an exported file -> its format, as --format names it."""

INPUT, OUTPUTS = "images", ("confidence", "distances", "angle")
"""Names of an exported network's input, (N, 3, H, W) float32 and normalised, and of its outputs, the maps of
`utils.maps.Prediction`."""

TEXT, REJECT_BELOW = "text", "reject_below"
"""Of a network with a rejector: one more output, (N,) probabilities of text, and one more input, a float32 scalar. If
all probabilities are below it, most of the network is not computed and the maps contain no text."""

_METADATA_FIELD, _LONGEST_ENTRY = 14, 1 << 20
_VARINT, _EIGHT_BYTES, _LENGTH, _FOUR_BYTES = 0, 1, 2, 5


@dataclass(frozen=True)
class ExportedInfo:
    """How an exported network is used."""

    short_side: int
    """Pixels to which a picture's short side is resized unless another value is asked for."""
    score_threshold: float
    """Lowest probability of a text cell unless another value is asked for."""
    plan: dict[str, int]
    """Channels by channel group, see `utils.network.channels`."""
    checkpoint: str
    """SHA-256 of the checkpoint, in hexadecimal digits."""
    size: tuple[int, int] | None = None
    """Height and width of the input; None: any multiples of 32, and any number of pictures at once."""
    precision: str = "float32"
    """float32 or int8."""
    mean: tuple[float, ...] = IMAGE_MEAN
    std: tuple[float, ...] = IMAGE_STD
    reject_below: float | None = None
    """The rejector's own threshold; None for a network without a rejector."""
    format: int = FORMAT

    def properties(self) -> dict[str, str]:
        """Each field as JSON, by name."""
        return {name: json.dumps(value) for name, value in asdict(self).items()}

    @classmethod
    def of_properties(cls, path: Path, properties: dict[str, str]) -> "ExportedInfo":
        """The reverse of `properties`. Raises `UserError` if an entry is missing or damaged."""
        if "format" not in properties:
            raise UserError(f"{path}: not a network that export.py wrote (no metadata); export a checkpoint with it")
        try:
            if (version := int(properties["format"])) > FORMAT:
                raise UserError(f"{path}: format {version} is newer than this program's {FORMAT}; update it")
            properties = {REJECT_BELOW: "null"} | properties  # files from before the rejector
            values: dict[str, Any] = {each.name: json.loads(properties[each.name]) for each in fields(cls)}
            for name in ("size", "mean", "std"):
                values[name] = values[name] and tuple(values[name])
            info = cls(**values)
            info._check()
        except (KeyError, ValueError, TypeError) as error:
            raise UserError(f"{path}: damaged metadata ({error}); export the checkpoint again") from None
        return info

    def _check(self) -> None:
        """Raise ValueError for values that cannot be."""
        if not (self.short_side >= 1 and 0 <= self.score_threshold <= 1):
            raise ValueError(f"short side {self.short_side}, score threshold {self.score_threshold}")
        if self.size and (len(self.size) != 2 or min(self.size) < 1 or any(side % SIZE_MULTIPLE for side in self.size)):
            raise ValueError(f"size {self.size}")
        if self.reject_below is not None and not 0 <= self.reject_below <= 1:
            raise ValueError(f"{REJECT_BELOW} {self.reject_below}")
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0:
            raise ValueError(f"mean {self.mean}, std {self.std}")


def megabytes_of(path: Path) -> float:
    """The size of an exported file in MB; an OpenVINO file's with the .bin file of its weights."""
    files = [path, path.with_suffix(".bin")] if path.suffix.lower() == ".xml" else [path]
    return sum(file.stat().st_size for file in files if file.exists()) / 1e6


def read_info(path: str | Path) -> ExportedInfo:
    """The description in an exported file. Raises `UserError` if there is none."""
    path = Path(path)
    readers = {"onnx": _onnx_properties, "openvino": _openvino_properties, "torchscript": _torchscript_properties}
    try:
        with open_regular(path) as file:
            properties = readers[FORMATS[path.suffix.lower()]](file)
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file; check the path") from None
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, ElementTree.ParseError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{path}: no exported network, or a damaged one ({reason}); export it again") from None
    return ExportedInfo.of_properties(path, properties)


def _onnx_properties(file: BinaryIO) -> dict[str, str]:
    """The metadata of an ONNX file: field 14 of the protocol buffer, entries of two strings. The rest is skipped."""
    end, properties = os.fstat(file.fileno()).st_size, {}
    while file.tell() < end:
        tag = _read_varint(file)
        kind = tag & 7
        if kind == _VARINT:
            _read_varint(file)
        elif kind in (_EIGHT_BYTES, _FOUR_BYTES):
            file.seek(8 if kind == _EIGHT_BYTES else 4, os.SEEK_CUR)
        elif kind == _LENGTH:
            length = _read_varint(file)
            if length > end - file.tell():
                raise ValueError("the file is cut off")
            if tag >> 3 == _METADATA_FIELD and length <= _LONGEST_ENTRY:
                key, value = _read_strings(file, file.tell() + length)
                properties[key] = value
            else:
                file.seek(length, os.SEEK_CUR)
        else:
            raise ValueError("not an ONNX file")
    return properties


def _read_strings(file: BinaryIO, end: int) -> tuple[str, str]:
    """The strings of fields 1 and 2, up to the position `end`."""
    found = {1: "", 2: ""}
    while file.tell() < end:
        tag, length = _read_varint(file), _read_varint(file)
        if tag & 7 != _LENGTH or length > end - file.tell():
            raise ValueError("not an ONNX file")
        found[tag >> 3] = file.read(length).decode("utf-8")
    return found[1], found[2]


def _read_varint(file: BinaryIO) -> int:
    """A whole number of 1 to 10 bytes, 7 bits each, the lowest ones first."""
    value = 0
    for position in range(10):
        byte = file.read(1)
        if not byte:
            break
        value |= (byte[0] & 0x7F) << 7 * position
        if byte[0] < 0x80:
            return value
    raise ValueError("not an ONNX file, or one that is cut off")


def _openvino_properties(file: BinaryIO) -> dict[str, str]:
    entries = ElementTree.parse(file).getroot().find(f"rt_info/{SECTION}")
    return {entry.tag: entry.get("value", "") for entry in entries} if entries is not None else {}


def _torchscript_properties(file: BinaryIO) -> dict[str, str]:
    with zipfile.ZipFile(file) as archive:
        for member in archive.infolist():
            if member.filename.endswith(f"/extra/{SECTION}.json") and member.file_size <= _LONGEST_ENTRY:
                entries = json.loads(archive.read(member))
                return {str(key): str(value) for key, value in entries.items()}
    return {}
