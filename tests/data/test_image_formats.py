"""Pictures of every format: limits from their headers, transparency, orientation, ends, and files that are none."""

import contextlib
import os
import socket
import struct
import tempfile
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.data.test_images import smooth, write_jpeg
from utils.data.image_headers import read_header
from utils.data.image_types import ReadOptions
from utils.data.images import IMAGE_SUFFIXES, UnreadableImage, image_problem, read_image, read_picture

FORMATS = ("jpg", "png", "bmp", "tif", "webp", "gif", "jp2", "avif", "ppm", "pgm", "pbm", "pam", "ras")
WRITTEN = [suffix for suffix in FORMATS if cv2.haveImageWriter(f"a.{suffix}")]
"""Older versions of OpenCV have no GIF and no AVIF."""


def encode(suffix: str, picture: np.ndarray) -> bytes:
    """A file of the picture; GIF cannot be written to memory."""
    if suffix in {"pgm", "pbm"}:
        picture = picture[..., 0]
    with tempfile.TemporaryDirectory() as folder:
        assert cv2.imwrite(f"{folder}/a.{suffix}", picture)
        return Path(folder, f"a.{suffix}").read_bytes()


def tiff(entries: list[tuple[int, int, int]], big: bool = False, order: str = "<") -> bytes:
    """A TIFF of one directory and no pixels. entries: (tag, type, value)."""
    mark = b"II" if order == "<" else b"MM"
    if big:
        data = mark + struct.pack(f"{order}HHHQQ", 43, 8, 0, 16, len(entries))
        return (
            data + b"".join(struct.pack(f"{order}HHQQ", tag, kind, 1, value) for tag, kind, value in entries) + bytes(8)
        )
    data = mark + struct.pack(f"{order}HIH", 42, 8, len(entries))
    for tag, kind, value in entries:
        field = struct.pack(f"{order}HH" if kind == 3 else f"{order}I", *([value, 0] if kind == 3 else [value]))
        data += struct.pack(f"{order}HHI", tag, kind, 1) + field
    return data + bytes(4)


def webp(chunk: bytes, body: bytes) -> bytes:
    data = b"WEBP" + chunk + struct.pack("<I", len(body)) + body
    return b"RIFF" + struct.pack("<I", len(data)) + data


def box(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(body), name) + body


def png_chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


SIDE = 32_000
JPEG_SIZE = b"\xff\xc0\0\x0b\x08" + struct.pack(">HH", SIDE, SIDE) + b"\x01\x01\x11\0\xff\xd9"
SIZ = b"\xff\x4f\xff\x51" + struct.pack(">HHIIIIIIIIH", 41, 0, SIDE, SIDE, 0, 0, SIDE, SIDE, 0, 0, 1) + b"\x07\x01\x01"
CANVAS = struct.pack("<I", SIDE - 1)[:3] * 2
AVIF_SIZE = box(b"iprp", box(b"ipco", box(b"ispe", struct.pack(">III", 0, SIDE, SIDE))))
HUGE = {
    "jpeg": b"\xff\xd8" + JPEG_SIZE,
    "jpeg with odd bytes": b"\xff\xd8\xff\xfe\0\x04ab" + b"odd\xff\0bytes\xff\xff" + JPEG_SIZE,
    "png": b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", struct.pack(">IIBBBBB", SIDE, SIDE, 1, 0, 0, 0, 0)),
    "bmp": b"BM" + struct.pack("<IIIIiiHHIIIIII", 60, 0, 54, 40, SIDE, -SIDE, 1, 8, 1, 0, 0, 0, 0, 0),
    "bmp of OS/2": b"BM" + struct.pack("<IIIIHHHH", 30, 0, 26, 12, SIDE, SIDE, 1, 1),
    "tiff": tiff([(256, 4, SIDE), (257, 3, SIDE), (258, 3, 8)]),
    "tiff, most significant byte first": tiff([(256, 3, SIDE), (257, 4, SIDE)], order=">"),
    "bigtiff": tiff([(256, 4, SIDE), (257, 4, SIDE)], big=True),
    "tile of a small tiff": tiff([(256, 4, 8), (257, 4, 8), (322, 4, SIDE), (323, 4, SIDE)]),
    "webp, extended": webp(b"VP8X", b"\0\0\0\0" + CANVAS),
    "webp, lossless": webp(b"VP8L", b"\x2f" + struct.pack("<I", 16_383 | 16_383 << 14)),
    "webp, lossy": webp(b"VP8 ", b"\0\0\0\x9d\x01\x2a" + struct.pack("<HH", 16_383, 16_383)),
    "gif": b"GIF89a" + struct.pack("<HHBBB", SIDE, SIDE, 0, 0, 0),
    "jpeg 2000": b"\0\0\0\x0cjP  \r\n\x87\n" + box(b"jp2h", b"") + box(b"jp2c", SIZ),
    "jpeg 2000 codestream": SIZ,
    "avif": box(b"ftyp", b"avif\0\0\0\0mif1") + box(b"meta", bytes(4) + AVIF_SIZE),
    "pnm": b"P5 # a comment\n32000\n# another\n 32000 255\n",
    "pam": b"P7\nWIDTH 32000\nHEIGHT 32000\nDEPTH 3\nMAXVAL 255\nTUPLTYPE RGB\nENDHDR\n",
    "sun": b"\x59\xa6\x6a\x95" + struct.pack(">7i", SIDE, SIDE, 24, 0, 1, 0, 0),
}


@pytest.mark.parametrize("name", HUGE)
def test_the_limit_holds_before_decoding(tmp_path, monkeypatch, name):
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    (tmp_path / "a.jpg").write_bytes(HUGE[name])
    with pytest.raises(UnreadableImage, match=r"a\.jpg: \d+x\d+ pixels; at most 100000000 are read \(--max-pixels\)"):
        read_image(tmp_path / "a.jpg")
    assert "--max-pixels" in image_problem(tmp_path / "a.jpg")


@pytest.mark.parametrize("suffix", WRITTEN)
def test_the_limit_can_be_set(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(encode(suffix, smooth(40, 60)))
    assert read_header(path.read_bytes())[1:4] == (40, 60, 1)
    assert read_image(path, ReadOptions(max_pixels=2400)).shape == (40, 60, 3)
    assert image_problem(path, ReadOptions(max_pixels=2400)) is None
    with pytest.raises(UnreadableImage, match="60x40 pixels; at most 2399 are read"):
        read_image(path, ReadOptions(max_pixels=2399))
    assert f".{suffix}" in IMAGE_SUFFIXES


@pytest.mark.parametrize("suffix", WRITTEN)
def test_a_cut_off_file_is_never_a_picture(tmp_path, suffix):
    """At each of 40 places. What is read anyway is equal to the whole."""
    path = tmp_path / f"a.{suffix}"
    data = encode(suffix, smooth(40, 60))
    path.write_bytes(data)
    whole = read_image(path)
    for end in np.random.default_rng(0).integers(0, len(data), 40):
        path.write_bytes(data[:end])
        with contextlib.suppress(UnreadableImage):
            assert np.array_equal(read_image(path), whole), f"cut at {end}"


@pytest.mark.parametrize(
    "tail", [b"\xff\xda", b"ftypmp42" + bytes(range(256)) * 300, b"\xff\xd8\xff\xe1\0\x10cut", b"\0"]
)
def test_motion_photos(tmp_path, tail):
    """A JPEG with a video, a second picture or anything else behind it is whole; its end decides."""
    path = write_jpeg(tmp_path / "a.jpg", smooth(300, 200), 6)
    whole = read_image(path)
    data = path.read_bytes()
    path.write_bytes(data + tail)
    assert image_problem(path) is None
    assert np.array_equal(read_image(path), whole)
    path.write_bytes(data[:-500] + tail.replace(b"\xff\xd9", b"\xff\0"))
    assert image_problem(path) == "the file is cut off"


@pytest.mark.parametrize("length", [0x7FFFFFFF, 0xFFFFFFFF, 100_000])
def test_a_png_chunk_that_claims_more_than_the_file(tmp_path, length):
    """OpenCV took 4 GB for such a chunk before it read it."""
    data = bytearray(encode("png", smooth(40, 60)))
    place = data.index(b"IDAT") - 4
    data[place : place + 4] = struct.pack(">I", length)
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(UnreadableImage, match="the file is cut off"):
        read_image(tmp_path / "a.png")


def test_a_progressive_jpeg_ends_behind_its_last_scan(tmp_path):
    data = cv2.imencode(".jpg", smooth(200, 300), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    scans = [place for place in range(len(data)) if data[place : place + 2] == b"\xff\xda"]
    assert len(scans) > 3
    path = tmp_path / "a.jpg"
    for tail in (b"", b"trailing"):
        path.write_bytes(data + tail)
        assert image_problem(path) is None
    path.write_bytes(data[: scans[-1]] + b"trailing")
    assert image_problem(path) == "the file is cut off"


TRANSPARENT = ("png", "png, 16 bits", "tif", "tif, 16 bits", "webp", "gif", "jp2", "avif", "png, palette", "png, grey")


def transparent_file(path, kind: str) -> np.ndarray:
    """Black letters on nothing; returns which pixels are transparent."""
    picture = np.zeros((40, 60, 4), np.uint8)
    picture[10:20, 10:30, 3] = 255
    if kind == "png, palette":
        rows = b"".join(b"\0" + bytes(row.tolist()) for row in (picture[..., 3] > 0).astype(np.uint8))
        header = struct.pack(">IIBBBBB", 60, 40, 8, 3, 0, 0, 0)
        chunks = [
            (b"IHDR", header),
            (b"PLTE", bytes(6)),
            (b"tRNS", b"\0\xff"),
            (b"IDAT", zlib.compress(rows)),
            (b"IEND", b""),
        ]
    elif kind == "png, grey":
        rows = b"".join(b"\0" + bytes(row.tolist()) for row in np.where(picture[..., 3] > 0, 0, 7).astype(np.uint8))
        header = struct.pack(">IIBBBBB", 60, 40, 8, 0, 0, 0, 0)
        chunks = [(b"IHDR", header), (b"tRNS", b"\0\x07"), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    else:
        suffix, *deep = kind.split(", ")
        stored = picture.astype(np.uint16) * 257 if deep else picture
        path.write_bytes(encode(suffix, stored))
        return picture[..., 3] == 0
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks))
    return picture[..., 3] == 0


@pytest.mark.parametrize("kind", [kind for kind in TRANSPARENT if kind.split(",")[0] in WRITTEN])
def test_transparent_pictures_are_composited(tmp_path, kind):
    path = tmp_path / "a.any"
    clear = transparent_file(path, kind)
    white, red = read_image(path), read_image(path, ReadOptions(background=(255, 0, 0)))
    for picture, background in ((white, (255, 255, 255)), (red, (255, 0, 0))):
        expected = np.where(clear[..., None], background, 0)
        assert np.abs(picture.astype(int) - expected).max() <= (16 if kind == "avif" else 0)


def test_half_transparent_colours(tmp_path):
    picture = np.zeros((8, 8, 4), np.uint8)
    picture[:] = (200, 100, 40, 128)
    straight = np.rint(np.array([40, 100, 200]) * (128 / 255) + 255 * (127 / 255))
    for suffix in ("png", "tif", "webp"):
        options = [cv2.IMWRITE_WEBP_QUALITY, 101] if suffix == "webp" else []
        (tmp_path / "a.any").write_bytes(cv2.imencode(f".{suffix}", picture, options)[1].tobytes())
        assert np.abs(read_image(tmp_path / "a.any") - straight).max() <= 1


@pytest.mark.parametrize("suffix", ["png", "webp", "tif"])
def test_opaque_pictures_with_an_alpha_channel_stay_as_they_are(tmp_path, suffix):
    picture = np.dstack([smooth(30, 50), np.full((30, 50), 255, np.uint8)])
    data = cv2.imencode(f".{suffix}", picture)[1]
    (tmp_path / "a.any").write_bytes(data.tobytes())
    assert np.array_equal(read_image(tmp_path / "a.any"), cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_transparent_png_turned_by_exif(tmp_path, orientation):
    """Orientation holds for pictures with and without transparency alike."""
    corner = np.full((20, 30, 4), 255, np.uint8)
    corner[:5, :8] = (0, 0, 200, 255)
    exif = b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    shown = []
    for alpha in (255, 0):
        corner[10:, 20:, 3] = alpha
        data = cv2.imencode(".png", corner)[1].tobytes()
        path = tmp_path / "a.png"
        path.write_bytes(data[:33] + png_chunk(b"eXIf", exif) + data[33:])
        assert read_header(path.read_bytes()).orientation == orientation
        shown.append(read_image(path))
    assert np.array_equal(*shown)  # white shows through the hole
    jpeg = read_image(write_jpeg(tmp_path / "a.jpg", corner[..., :3], orientation))
    assert np.abs(jpeg.astype(int) - shown[0]).mean() < 8


def test_16_bit_and_grey(tmp_path):
    deep = smooth(30, 50).astype(np.uint16) * 257
    for suffix in ("png", "tif"):
        cv2.imwrite(str(tmp_path / f"a.{suffix}"), deep)
        assert np.array_equal(read_image(tmp_path / f"a.{suffix}"), smooth(30, 50)[..., ::-1])
        cv2.imwrite(str(tmp_path / f"b.{suffix}"), smooth(30, 50)[..., 0])
        assert (read_image(tmp_path / f"b.{suffix}") == smooth(30, 50)[..., :1]).all()


def test_only_regular_files(tmp_path):
    """A pipe would wait for its writer forever, /dev/zero would never end."""
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "device.png").symlink_to("/dev/zero")
    (tmp_path / "folder.jpg").mkdir()
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(str(tmp_path / "s.jpg"))
        for name, what in (
            ("pipe.jpg", "pipe"),
            ("device.png", "device"),
            ("folder.jpg", "folder"),
            ("s.jpg", "socket"),
        ):
            with pytest.raises(UnreadableImage, match=rf"{name}: a {what}, not a regular file"):
                read_picture(tmp_path / name)
            assert image_problem(tmp_path / name) == f"a {what}, not a regular file"


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 9\n", "git lfs pull"),
        (b"\n<!DOCTYPE html><html><head>", "HTML page"),
        (b"%PDF-1.7 ", "PDF"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0isom", "video"),
        (b"\xff\x0a\xfa\x1f", "JPEG XL"),
        (b"some text", "not a picture (JPEG, PNG"),
        (b"", "the file is empty"),
    ],
)
def test_what_a_file_is_instead(tmp_path, content, what):
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(UnreadableImage) as error:
        read_image(tmp_path / "a.jpg")
    assert what in str(error.value)
