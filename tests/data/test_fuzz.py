"""Whatever bytes come: a clear error or a counted exclusion, and targets of finite numbers."""

import struct
import tempfile
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import scipy.io
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from datasets import SampleDataset
from tests.helpers import box, cell, read_words, write_mat, write_picture
from utils.data.annotation_index import read_synthtext
from utils.data.annotations import Annotations, read_text_files
from utils.data.augmentation import TrainTransform, WholeFrame, transform_points
from utils.data.image_types import MAX_PIXELS
from utils.data.images import UnreadableImage, read_image, read_picture
from utils.data.problems import Problems
from utils.data.targets import encode
from utils.errors import UserError

often = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
seldom = settings(often, max_examples=60)


def check_targets(annotations: Annotations) -> None:
    rng = np.random.default_rng(0)
    for number in range(len(annotations)):
        words = annotations.words(number)
        assert np.isfinite(words.quads).all()
        matrix = TrainTransform().matrix(450, 600, rng)
        moved = words._replace(quads=transform_points(words.quads, matrix))
        for maps in (encode(words, 96, 128, size=(90, 100)), encode(moved, 280, 280)):
            assert all(np.isfinite(values.numpy()).all() for values in maps)
            assert set(np.unique(maps.score_map)) <= {0.0, 1.0}


numbers = st.one_of(
    st.integers(-20, 700).map(str),
    st.floats().map(repr),
    st.sampled_from(["1e400", "-inf", "nan", "0x1f", "", " 7 ", "1_0", "٣", "1e-320", "9" * 400]),
)
lines = st.one_of(
    st.lists(numbers, min_size=0, max_size=10).map(",".join), st.text(), st.just("###"), st.just("5,5,9,5,9,9,5,9,###")
)
txt_files = st.one_of(
    st.binary(), st.lists(lines, max_size=6).map(lambda rows: "\n".join(rows).encode("utf-8", "replace"))
)


@often
@given(txt_files)
def test_any_bytes_in_a_txt(content):
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        (folder / "a.jpg").write_bytes(b"")
        (folder / "a.txt").write_bytes(content)
        try:
            check_targets(read_text_files(folder, folder))
        except UserError as error:
            assert "no image with a readable .txt" in str(error)
        problems = Problems()
        words = read_words(folder / "a.txt", problems)
        assert len(words.quads) == len(words.ignored)


shapes = st.one_of(
    st.tuples(st.just(2), st.just(4), st.integers(0, 3)),
    st.just((2, 4)),
    st.lists(st.integers(0, 4), max_size=4).map(tuple),
)
values = st.one_of(
    st.tuples(shapes, st.sampled_from(["f4", "f8", "i2", "u1", "c16", "?"]), st.integers(0, 2**32 - 1)).map(
        lambda drawn: (np.random.default_rng(drawn[2]).normal(60, 80, drawn[0])).astype(drawn[1])
    ),
    st.tuples(shapes, st.floats(width=32)).map(lambda drawn: np.full(*drawn)),
    st.text(max_size=5).map(lambda text: np.array([text])),
    st.just(np.array([[np.zeros((2, 4)), "nested"]], object)),
    st.just({"a": 1.0}),
)
names = st.one_of(st.text(max_size=8), st.sampled_from(["1/a.jpg", "../a", "/etc/a", "a/../b", "\0"]), values)


@seldom
@given(st.lists(st.tuples(names, values), min_size=0, max_size=5), st.booleans())
@pytest.mark.filterwarnings("ignore")
def test_any_cells_in_a_gt_mat(rows, compressed):
    contents = {}
    for number, key in enumerate(("imnames", "wordBB")):
        contents[key] = np.empty((1, len(rows)), object)
        for place, row in enumerate(rows):
            contents[key][0, place] = np.array([row[number]]) if isinstance(row[number], str) else row[number]
    with tempfile.TemporaryDirectory() as folder:
        try:
            scipy.io.savemat(Path(folder, "gt.mat"), contents, do_compression=compressed)
        except (TypeError, ValueError, UnicodeError):
            return  # no such file exists
        try:
            annotations = read_synthtext(folder)
        except UserError as error:
            assert "gt.mat: " in str(error)
            return
        left_out = sum(count for kind, count, _ in annotations.problems.rows() if kind.startswith("images"))
        assert len(annotations) + left_out == len(rows)
        check_targets(annotations)


@pytest.fixture(scope="module")
def mats(tmp_path_factory) -> list[bytes]:
    file = write_mat(tmp_path_factory.mktemp("mat") / "gt.mat", [cell(box(5, 5, 40, 20)), cell(box(1, 1, 9, 9)) * 2])
    contents = {key: scipy.io.loadmat(file)[key] for key in ("imnames", "wordBB")}
    packed = file.with_name("packed.mat")
    scipy.io.savemat(packed, contents, do_compression=True)
    return [file.read_bytes(), packed.read_bytes()]


@often
@given(
    st.booleans(), st.lists(st.tuples(st.integers(0, 1000), st.binary(min_size=1, max_size=8)), max_size=3), st.data()
)
@pytest.mark.filterwarnings("ignore")
def test_a_damaged_gt_mat(mats, packed, changes, data):
    content = bytearray(mats[packed])
    for place, change in changes:
        place %= len(content)
        content[place : place + len(change)] = change
    content = content[: data.draw(st.integers(0, len(content)) if not changes else st.just(len(content)))]
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "gt.mat").write_bytes(content)
        try:
            check_targets(read_synthtext(folder))
        except UserError as error:
            assert "gt.mat: " in str(error)


def test_cells_that_claim_the_memory(mats, tmp_path):
    """A gt.mat of 100 kB that unpacks to 100 MB, and one whose cell claims 4 GB."""
    content = bytearray(mats[0])
    place = content.index(b"wordBB") + 8
    content[place + 4 : place + 8] = b"\xf0\xff\xff\xff"
    (tmp_path / "gt.mat").write_bytes(content)
    with pytest.raises(UserError, match=r"gt\.mat: cannot be read"):
        read_synthtext(tmp_path)
    start = mats[0].index(b"wordBB") - 48
    header = bytearray(mats[0][start : start + 56 + 8])
    bomb = zlib.compress(struct.pack("<II", 14, 100_000_000) + header[8:] + bytes(100_000_000), 9)
    packed = mats[0][:start] + struct.pack("<II", 15, len(bomb)) + bomb
    (tmp_path / "gt.mat").write_bytes(packed)
    with pytest.raises(UserError, match=r"gt\.mat: cannot be read"):
        read_synthtext(tmp_path)


@pytest.fixture(scope="module")
def jpeg() -> bytes:
    noise = np.random.default_rng(0).integers(0, 255, (33, 47, 3), np.uint8)
    return cv2.imencode(".jpg", noise)[1].tobytes()


image_files = st.one_of(st.binary(), st.binary().map(lambda tail: b"\xff\xd8\xff\xe1" + tail), st.none())


@often
@given(image_files, st.integers(2, 600), st.binary(max_size=6))
def test_any_bytes_in_an_image(jpeg, content, place, change):
    content = content if content is not None else jpeg[:place] + change + jpeg[place + len(change) :]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.jpg")
        path.write_bytes(content)
        try:
            picture = read_picture(path, lambda height, width: 4)
        except UnreadableImage as error:
            assert "a.jpg: " in str(error)
        else:
            assert picture.image.dtype == np.uint8
            assert picture.image.ndim == 3


def png(width: int, height: int) -> bytes:
    """A whole PNG of some kilobytes that claims a size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes(1_000_000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(60_000, 60_000), (2**31 - 1, 2**31 - 1), (20_000, 20_000)])
def test_decompression_bombs(tmp_path, size):
    (tmp_path / "bomb.png").write_bytes(png(*size))
    with pytest.raises(UnreadableImage, match=f"bomb.png: {size[0]}x{size[1]} pixels; at most {MAX_PIXELS}"):
        read_image(tmp_path / "bomb.png")


def test_a_bomb_is_left_out_of_its_dataset(tmp_path):
    for name in ("a", "b"):
        write_picture(tmp_path / "train_images1" / f"{name}.png")
        text = tmp_path / "sample_train_annotation_txt" / f"{name}.txt"
        text.parent.mkdir(exist_ok=True)
        text.write_text("")
    (tmp_path / "train_images1" / "b.png").write_bytes(png(60_000, 60_000))
    dataset = SampleDataset(tmp_path)
    assert len(dataset) == 1
    ((kind, count, example),) = dataset.problems.rows()
    assert (kind, count) == ("images unreadable, left out", 1)
    assert "b.png: 60000x60000 pixels" in example


@pytest.mark.parametrize("size", [(1, 1), (1, 900), (900, 1), (2, 3)])
@pytest.mark.parametrize("view", [TrainTransform(), WholeFrame()])
def test_tiny_images(tmp_path, size, view):
    for name, text in (("a", "0,0,1,0,1,1,0,1,x\n"), ("b", "")):
        write_picture(tmp_path / "train_images1" / f"{name}.jpg", *size)
        (tmp_path / "sample_train_annotation_txt").mkdir(exist_ok=True)
        (tmp_path / "sample_train_annotation_txt" / f"{name}.txt").write_text(text)
    dataset = SampleDataset(tmp_path, transform=view)
    for number in range(2):
        image, target = dataset[number]
        assert image.size <= 3 * 280 * 280 * 70
        assert all(np.isfinite(values.numpy()).all() for values in target)
