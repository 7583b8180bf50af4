"""Pictures read smaller than they are: the same picture, at the same place, whatever its EXIF orientation."""

import struct

import cv2
import numpy as np
import pytest

from utils.data.augmentation import TrainTransform, WholeFrame
from utils.data.image_headers import read_header
from utils.data.image_types import BadHeader, ImageHeader
from utils.data.images import read_picture


def write_jpeg(path, image: np.ndarray, orientation: int | None = None, order: str = "<"):
    data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 98])[1].tobytes()
    if orientation is not None:
        mark = b"II*\0" if order == "<" else b"MM\0*"
        tiff = mark + struct.pack(f"{order}IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)
        segment = b"Exif\0\0" + tiff
        data = data[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + data[2:]
    path.write_bytes(data)
    return path


def smooth(height: int, width: int) -> np.ndarray:
    coarse = np.random.default_rng(0).uniform(0, 255, (9, 13, 3)).astype(np.float32)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", [None, *range(1, 9)])
@pytest.mark.parametrize("size", [(1280, 960), (1283, 957), (641, 322)])
def test_a_reduced_picture_shows_the_same(tmp_path, size, orientation, order):
    path = write_jpeg(tmp_path / "a.jpg", smooth(*size), orientation, order)
    transform = TrainTransform(short_side=100, rotation=10, crop=80)
    whole, reduced = read_picture(path), read_picture(path, transform.shrinkage)
    assert whole.size == reduced.size == whole.image.shape[:2]
    assert whole.size == (size if (orientation or 1) < 5 else size[::-1])
    turned = (orientation or 1) > 1
    assert reduced.reduced == {1280: 8, 1283: 1 if turned else 8, 641: 1 if turned else 2}[size[0]]
    for view in (transform, WholeFrame(100)):
        pictures = [view(each.image, np.random.default_rng(5), each.size, each.reduced) for each in (whole, reduced)]
        assert np.array_equal(pictures[0].matrix, pictures[1].matrix)
        assert pictures[0].size == pictures[1].size
        difference = np.abs(pictures[0].image.astype(float) - pictures[1].image)
        assert difference.mean() < 1.0
        assert difference[3:60, 3:60].max() < 12


def test_pictures_that_are_needed_whole(tmp_path):
    path = write_jpeg(tmp_path / "a.jpg", smooth(500, 700))
    assert read_picture(path, TrainTransform().shrinkage).reduced == 1
    assert read_picture(path, lambda height, width: 1.99).reduced == 1
    assert read_picture(path, lambda height, width: 2).reduced == 2
    assert read_picture(path, lambda height, width: 7.9).reduced == 4
    cv2.imwrite(str(tmp_path / "a.png"), smooth(500, 700))
    assert read_picture(tmp_path / "a.png", lambda height, width: 8).reduced == 1


def test_colours_are_red_green_blue(tmp_path):
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[..., 2] = 250  # OpenCV writes blue, green, red
    for path in (write_jpeg(tmp_path / "a.jpg", picture, 6), tmp_path / "a.png"):
        if path.suffix == ".png":
            cv2.imwrite(str(path), picture)
        for least in (1, 4):
            found = read_picture(path, lambda height, width, least=least: least).image
            assert found[..., 0].min() > 240
            assert found[..., 1:].max() < 10


def test_headers(tmp_path):
    for orientation, expected in ((6, 6), (99, 1)):
        header = read_header(write_jpeg(tmp_path / "a.jpg", smooth(30, 50), orientation).read_bytes())
        assert header == ImageHeader("JPEG", 30, 50, expected)
    for content in (b"", b"\xff\xd8", b"\xff\xd8\xff\xe1\0", b"\x89PNG", b"\xff\xd8\xff\xe0\xff\xff"):
        with pytest.raises(BadHeader):
            read_header(content)


def test_photographs_reduced(real_data):
    view = TrainTransform()
    for path in sorted((real_data / "icdar2015" / "ch4_training_images").iterdir())[:8]:
        whole, reduced = read_picture(path), read_picture(path, view.shrinkage)
        assert reduced.reduced == 2
        pictures = [view(each.image, np.random.default_rng(5), each.size, each.reduced) for each in (whole, reduced)]
        assert np.abs(pictures[0].image.astype(float) - pictures[1].image).mean() < 4


@pytest.mark.parametrize("size", [(1, 20_000), (20_000, 1)])
def test_a_strip_does_not_fill_the_memory(size):
    image, _, inner = WholeFrame()(np.zeros((*size, 3), np.uint8))
    assert max(inner) == 64 * 280
    assert image.size < 30_000_000
