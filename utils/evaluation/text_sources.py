"""The .txt files of a folder or a zip archive, within limits: nothing that unpacks to fill the memory."""

import struct
import zipfile
from pathlib import Path, PurePosixPath

from utils.errors import UserError
from utils.runtime.inputs import foreign_type, open_regular, read_regular

MAX_TEXT_BYTES = 1 << 29
"""Of all texts together: 512 MiB are some ten million words."""
MAX_DIRECTORY_BYTES = 1 << 26
"""Of a zip's directory: 64 MiB are some 600,000 files."""

_END_OF_DIRECTORY = b"PK\x05\x06"
_LONGEST_END = 22 + (1 << 16)
_UNPACK = "unpack it and give the folder"


def read_text_sources(source: Path) -> dict[str, bytes]:
    """Return name -> contents of the .txt files in a folder or zip. Raises `UserError`."""
    try:
        files = _read_folder(source) if source.is_dir() else _read_zip(source)
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"{error.filename or source}: {reason}; give a folder or a zip of .txt files") from None
    if not files:
        raise UserError(f"{source}: no .txt file in it; expected one for each image, gt_NAME.txt or res_NAME.txt")
    return files


def _read_folder(source: Path) -> dict[str, bytes]:
    files, left = {}, MAX_TEXT_BYTES
    for path in sorted(source.glob("*.txt")):
        if path.is_dir():
            continue
        left -= path.stat().st_size
        if left < 0:
            raise UserError(f"{source}: its .txt files have more than {MAX_TEXT_BYTES} bytes; give ICDAR's text files")
        files[path.name] = read_regular(path)
    return files


def _read_zip(source: Path) -> dict[str, bytes]:
    with open_regular(source) as file:
        head = file.read(64)
        if not head.startswith(b"PK") and (foreign := foreign_type(head)):
            raise UserError(f"{source}: {foreign}; give a folder or a zip of .txt files")
        file.seek(max(file.seek(0, 2) - _LONGEST_END, 0))
        if _directory_bytes(file.read()) > MAX_DIRECTORY_BYTES:
            raise UserError(f"{source}: the zip's directory has more than {MAX_DIRECTORY_BYTES} bytes; {_UNPACK}")
        try:
            with zipfile.ZipFile(file) as archive:
                return _read_members(source, archive)
        except UserError:
            raise
        except Exception as error:  # zipfile and its decompressors raise whatever a damaged byte leads to
            reason = str(error) or type(error).__name__
            raise UserError(f"{source}: not an intact zip ({reason}); give a folder or a zip of .txt files") from None


def _directory_bytes(tail: bytes) -> int:
    place = tail.rfind(_END_OF_DIRECTORY)
    return struct.unpack_from("<I", tail, place + 12)[0] if 0 <= place <= len(tail) - 16 else 0


def _read_members(source: Path, archive: zipfile.ZipFile) -> dict[str, bytes]:
    members = {}
    for member in archive.infolist():
        name = PurePosixPath(member.filename).name
        if not name.endswith(".txt") or name.startswith("._"):  # macOS adds files of such names to zips
            continue
        if name in members:
            raise UserError(f"{source}: two files named {name}; keep one")
        if member.flag_bits & 1:
            raise UserError(f"{source}: {name} is encrypted; {_UNPACK}")
        if member.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
            raise UserError(f"{source}: {name} has compression method {member.compress_type}; {_UNPACK}")
        members[name] = member
    left = MAX_TEXT_BYTES
    if sum(member.file_size for member in members.values()) > left:
        raise UserError(f"{source}: its .txt files unpack to more than {left} bytes; give ICDAR's text files")
    files = {}
    for name, member in members.items():
        with archive.open(member) as file:
            files[name] = file.read(left + 1)
        left -= len(files[name])
        if left < 0:  # the directory claims less
            raise UserError(f"{source}: its .txt files unpack to more than {MAX_TEXT_BYTES} bytes; it is damaged")
    return files
