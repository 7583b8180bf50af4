"""SynthText's `gt.mat` as an index of flat arrays: built once, mapped into memory from then on.

The index of the full SynthText (858,750 images, 7.27 million words) is a file of 300 MB that opens immediately and
whose pages all processes share. It is beside the gt.mat, or in a cache folder if the gt.mat's folder is read-only. It
is rebuilt if the size, time or content of the gt.mat changes, or if the index is incomplete.

File format: the arrays, each at a multiple of 64 bytes; then JSON with the position of each array, the key of the
gt.mat and what was left out of it; then `_END`.
"""

import contextlib
import hashlib
import itertools
import json
import math
import mmap
import os
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from tqdm import tqdm

from utils.data.annotations import EMPTIED, Annotations, Names, check_words, emptied
from utils.data.gt_mat import damage_as_user_error, file_name_of, marks_of_cell, quads_of_cell, read_columns
from utils.data.mat_cells import Cell
from utils.data.problems import Problems
from utils.errors import UserError, printable
from utils.runtime.files import atomic_file

try:
    import fcntl
except ImportError:  # Windows: two runs that start at once both build the index, and the later one's remains
    fcntl = None  # type: ignore[assignment]

FORMAT = 2
"""Increased with every change of the file format, or of `utils.data.annotations.check_words`."""

_END = struct.Struct("<Q16s8s")
"""Length of the JSON, digest of everything before, magic."""
_MAGIC = b"TEXTIDX\n"
_ALIGNMENT = 64
_PROBES, _PROBE_BYTES = 64, 4096
_COLUMNS = "imnames", "wordBB", "dontcare"
_BATCH = 4096
"""Images whose words are checked at once."""


def read_synthtext(path: str | Path, cache_dir: str | Path | None = None) -> Annotations:
    """The annotations of SynthText's `gt.mat`: the file, or the folder that contains it. Raises `UserError`.

    The images are beside it or in `images/`. The first call builds the index. cache_dir: the folder for it; None:
    beside the gt.mat or, where that is read-only, in the user's cache ($XDG_CACHE_HOME or ~/.cache).
    """
    path = Path(path)
    file = path / "gt.mat" if path.is_dir() else path
    if not file.is_file():
        raise UserError(f"{path}: there is no gt.mat; give the folder that contains SynthText's gt.mat")
    try:
        return _open_or_build(file, _index_paths(file, cache_dir))
    except PermissionError:
        raise UserError(f"{file}: you have no permission to read it; change its mode") from None


class IndexedAnnotations(Annotations):
    """Annotations whose arrays are mapped from an index; a copy in another process maps the same file."""

    def __init__(self, file: Path, index: Path, key: dict):
        """file: the gt.mat. key: that the index must have. Raises `_NoIndex`."""
        contents, arrays = _map(index, key)
        self.file, self.index, self.key = file, index, key
        self.names = Names(arrays["name_offsets"], arrays["name_data"])
        self.offsets, self.quads, self.ignored = arrays["offsets"], arrays["quads"], arrays["ignored"]
        self.problems = Problems()
        for kind, count, example in contents["problems"]:
            self.problems.add(kind, example, count)
        folder = file.parent
        in_images = (folder / "images").is_dir() and len(self.names) and not (folder / self.names[0]).exists()
        self.root = folder / "images" if in_images else folder

    def __reduce__(self):
        return _open_again, (self.file, self.index, self.key)


def _open_again(file: Path, index: Path, key: dict) -> IndexedAnnotations:
    try:
        return IndexedAnnotations(file, index, key)
    except _NoIndex:
        raise UserError(f"{index}: it was removed or replaced during the run; start again") from None


class _NoIndex(Exception):
    """There is no index, or it is stale, incomplete or of another gt.mat."""


def _index_paths(file: Path, cache_dir: str | Path | None) -> list[Path]:
    """Possible files for the index, the preferred one first."""
    beside = file.with_name(f"{file.name}.index")
    name = f"{file.stem}-{hashlib.blake2b(str(file.resolve()).encode(), digest_size=8).hexdigest()}.index"
    if cache_dir is not None:
        return [Path(cache_dir) / name]
    users = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fots-text-detection"
    return [beside, users / name]


def _open_or_build(file: Path, paths: list[Path]) -> Annotations:
    key = _key(file)
    for turn in ("without the lock", "with it"):
        with _locked(file) if turn == "with it" else contextlib.nullcontext():
            for index in paths:
                with contextlib.suppress(_NoIndex):
                    return IndexedAnnotations(file, index, key)
            if turn == "with it":  # no other process has built it in the meantime
                index = _build(file, key, paths)
                return IndexedAnnotations(file, index, key)
    raise AssertionError("unreachable")


@contextlib.contextmanager
def _locked(file: Path) -> Iterator[None]:
    """Exclusive among processes that use this gt.mat. The gt.mat itself is locked: that needs no write access."""
    with open(file, "rb") as handle:
        if fcntl:
            with contextlib.suppress(OSError):  # a network file system without locks
                fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _key(file: Path) -> dict:
    """Identifies a gt.mat without reading all of it."""
    state = file.stat()
    with open(file, "rb") as handle:
        digest = _probe(handle, state.st_size)
    return {"format": FORMAT, "size": state.st_size, "mtime_ns": state.st_mtime_ns, "probe": digest.hex()}


def _probe(handle: BinaryIO, size: int) -> bytes:
    """Digest of evenly spread blocks of a file's first `size` bytes, or of all bytes of a small file."""
    digest = hashlib.blake2b(struct.pack("<Q", size), digest_size=16)
    last = max(size - _PROBE_BYTES, 0)
    for start in sorted({last * number // (_PROBES - 1) for number in range(_PROBES)}):
        handle.seek(start)
        digest.update(handle.read(min(_PROBE_BYTES, size - start)))
    return digest.digest()


def _map(index: Path, key: dict) -> tuple[dict, dict[str, np.ndarray]]:
    """The index's JSON and its arrays. Raises `_NoIndex`."""
    try:
        with open(index, "rb") as handle:
            size = handle.seek(0, os.SEEK_END) - _END.size
            if size < 0:
                raise _NoIndex
            handle.seek(size)
            length, digest, magic = _END.unpack(handle.read(_END.size))
            if magic != _MAGIC or length > size or digest != _probe(handle, size):
                raise _NoIndex
            handle.seek(size - length)
            contents = json.loads(handle.read(length))
            if contents["key"] != key:
                raise _NoIndex
            pages = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)
        arrays = {
            name: np.frombuffer(pages, dtype, math.prod(shape), start).reshape(shape)
            for name, (dtype, shape, start) in contents["arrays"].items()
        }
    except (OSError, ValueError, KeyError, TypeError):
        raise _NoIndex from None
    words = len(arrays["quads"])
    for offsets, end in ((arrays["offsets"], words), (arrays["name_offsets"], len(arrays["name_data"]))):
        if offsets[0] != 0 or offsets[-1] != end or (np.diff(offsets) < 0).any():
            raise _NoIndex
    if len(arrays["ignored"]) != words or len(arrays["offsets"]) != len(arrays["name_offsets"]):
        raise _NoIndex
    return contents, arrays


def _build(file: Path, key: dict, paths: list[Path]) -> Path:
    """Write the index to the first path that is writable."""
    reasons = []
    for index in paths:
        try:
            if index.parent == file.parent:
                _refuse_read_only(index.parent)
            index.parent.mkdir(parents=True, exist_ok=True)
            with atomic_file(index) as handle:
                _write(handle, file, key)
            return index
        except OSError as error:
            reasons.append(f"{index.parent}: {error.strerror}")
    raise UserError(f"{file}: its index cannot be written ({'; '.join(reasons)}); give --cache-dir a folder with room")


def _refuse_read_only(folder: Path) -> None:
    """Raise `PermissionError` for a folder whose mode is read-only, also for root, who could write there."""
    if not folder.stat().st_mode & 0o222:
        raise PermissionError(13, os.strerror(13))


def _write(handle: BinaryIO, file: Path, key: dict) -> None:
    """Write the whole index; the quads as they come from the gt.mat."""
    with damage_as_user_error(file):
        contents = _write_arrays(handle, file, *_read_mat(file))
    if _key(file) != key:
        raise UserError(f"{file}: it changed while it was read; start again when it is complete")
    text = json.dumps({"key": key, **contents}).encode()
    handle.write(text)
    size = handle.tell()
    digest = _probe(handle, size)
    handle.seek(size)
    handle.write(_END.pack(len(text), digest, _MAGIC))


def _write_arrays(handle: BinaryIO, file: Path, names: Names, cells: Iterable[tuple[Cell, Cell | None]]) -> dict:
    """Write the arrays; returns the JSON's `arrays` and `problems`.

    cells: of each image, those of wordBB and dontcare.
    """
    problems, kept, total = Problems(), [], 0
    counts, ignored = [], []
    bar = tqdm(cells, desc=f"{printable(file)}: first use, indexing", total=len(names), unit="img", disable=None)
    with contextlib.closing(bar):
        stream = enumerate(bar)
        while batch := list(itertools.islice(stream, _BATCH)):
            images = []
            for number, (boxes, marks) in batch:
                quads = quads_of_cell(boxes)
                if names.offsets[number] == names.offsets[number + 1]:
                    problems.add("images without a name, left out", f"{file.name}: imnames[{number}]")
                elif quads is None:
                    example = f"{file.name}: wordBB[{number}] has shape {boxes.shape}; expected (2, 4) or (2, 4, M)"
                    problems.add("images with malformed words, left out", example)
                else:
                    images.append((number, quads, marks_of_cell(marks, len(quads))))
            numbers, quads, marks = zip(*images, strict=True) if images else ((), (), ())
            given, batch_names = np.cumsum([0, *map(len, quads)]), [names[number] for number in numbers]
            checked = check_words(
                np.concatenate([np.zeros((0, 4, 2), np.float32), *quads]),
                np.concatenate([np.zeros(0, bool), *marks]),
                given,
                batch_names,
                problems,
            )
            filled = ~emptied(given, checked[2])
            if not filled.all():
                problems.add(EMPTIED, batch_names[int(np.argmin(filled))], int((~filled).sum()))
            handle.write(checked[0].astype("<f4").tobytes())
            total += len(checked[0])
            ignored.append(checked[1])
            counts.append(np.diff(checked[2])[filled])
            kept.append(np.array(numbers, np.int64)[filled])
    kept = np.concatenate([np.zeros(0, np.int64), *kept])
    name_parts = (names.data[names.offsets[number] : names.offsets[number + 1]] for number in kept)
    arrays = {"quads": ["<f4", [total, 4, 2], 0]}
    for name, dtype, parts in (
        ("ignored", "|b1", ignored),
        ("offsets", "<i8", [[0], np.cumsum(np.concatenate([np.zeros(0, np.int64), *counts]))]),
        ("name_offsets", "<i8", [[0], np.cumsum(np.diff(names.offsets)[kept])]),
        ("name_data", "|u1", name_parts),
    ):
        handle.write(bytes(-handle.tell() % _ALIGNMENT))
        start = handle.tell()
        for part in parts:
            handle.write(np.asarray(part, dtype).tobytes())
        arrays[name] = [dtype, [(handle.tell() - start) // np.dtype(dtype).itemsize], start]
    return {"arrays": arrays, "problems": problems.rows()}


def _read_mat(file: Path) -> tuple[Names, Iterator[tuple[Cell, Cell | None]]]:
    """The image names ("" for an invalid one), and the cells of wordBB and dontcare of each image.

    dontcare is written by `tools.convert` and marks `###` words; SynthText has none. Raises `Damaged`.
    """
    columns = read_columns(file, _COLUMNS)
    count, cells = columns["imnames"]
    bar = tqdm(cells, desc=f"{printable(file)}: first use, names", total=count, unit="img", leave=False, disable=None)
    names = Names.pack(file_name_of(cell, file) for cell in bar)
    marks = columns["dontcare"][1] if "dontcare" in columns else itertools.repeat(None)
    return names, zip(columns["wordBB"][1], marks, strict=False)
