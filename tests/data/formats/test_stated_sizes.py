"""Annotation files that state another size than the picture has: the words end up where the picture shows them."""

import json

import numpy as np
import pytest

from tests.data.formats import samples
from tests.data.formats.samples import HEIGHT, WIDTH, picture, text
from tests.data.test_images import smooth, write_jpeg
from utils.data.formats.entries import Entry
from utils.data.formats.folder import Folder
from utils.data.formats.registry import read_entries, recognise
from utils.data.images import read_image
from utils.data.problems import Problems

SCALED = "pictures of another size than annotated, words scaled"
TURNED = "pictures annotated without their EXIF rotation, words turned"
AS_THEY_ARE = "pictures of another shape than annotated, words used as they are: check them"
STATING = samples.labelme, samples.cvat, samples.coco, samples.cocotext, samples.textocr, samples.hiertext


def read(root) -> tuple[dict[str, Entry], dict[str, int]]:
    problems, folder = Problems(), Folder(root)
    entries = {entry.name: entry for entry in read_entries(folder, recognise(folder), problems)}
    return entries, {kind: count for kind, count, _ in problems.rows()}


def with_pictures_of(root, height: int, width: int) -> None:
    for name in Folder(root).images:
        picture(root / name, height, width)


@pytest.mark.parametrize("sample", STATING, ids=lambda sample: sample.__name__)
def test_words_of_a_picture_that_was_resized_are_scaled(tmp_path, sample):
    sample(tmp_path)
    before, problems = read(tmp_path)
    assert SCALED not in problems
    with_pictures_of(tmp_path, HEIGHT // 2, WIDTH // 2)
    after, problems = read(tmp_path)
    assert problems[SCALED] == sum(len(entry.quads) > 0 for entry in before.values()) > 0
    for name, entry in before.items():
        assert np.allclose(after[name].quads, entry.quads / 2)
    with_pictures_of(tmp_path, HEIGHT, WIDTH * 2)
    after, problems = read(tmp_path)
    assert problems[AS_THEY_ARE] and SCALED not in problems
    assert all(np.array_equal(after[name].quads, entry.quads) for name, entry in before.items())


def one_word(root, quad, **size) -> None:
    document = {"shapes": [{"label": "word", "points": quad, "shape_type": "polygon"}], "imagePath": "a.jpg", **size}
    text(root / "a.json", json.dumps(document))


def test_the_frames_of_an_annotated_video_may_be_smaller(tmp_path):
    samples.cvat_video(tmp_path)
    before, _ = read(tmp_path)
    file = next(tmp_path.rglob("*.xml"))
    size = f"<original_size><width>{WIDTH * 2}</width><height>{HEIGHT * 2}</height></original_size>"
    file.write_text(file.read_text().replace("</task>", f"{size}</task>"))
    after, problems = read(tmp_path)
    assert problems[SCALED]
    for name, entry in before.items():
        assert np.allclose(after[name].quads, entry.quads / 2)


@pytest.mark.parametrize(
    "size", [{}, {"imageWidth": None, "imageHeight": 0}, {"imageWidth": "wide", "imageHeight": []}]
)
def test_without_a_valid_size_words_stay_as_they_are(tmp_path, size):
    picture(tmp_path / "a.jpg")
    one_word(tmp_path, samples.QUAD, **size)
    entries, problems = read(tmp_path)
    assert entries["a.jpg"].quads.tolist() == [samples.QUAD]
    assert not problems


def test_words_outside_of_the_stated_size_contradict_it(tmp_path):
    """Some tools write a fixed size: the words show that it is wrong."""
    picture(tmp_path / "a.jpg")
    one_word(tmp_path, samples.QUAD, imageWidth=40, imageHeight=30)
    entries, problems = read(tmp_path)
    assert entries["a.jpg"].quads.tolist() == [samples.QUAD]
    assert problems == {AS_THEY_ARE: 1}


def test_a_picture_that_cannot_be_read_is_counted_later(tmp_path):
    text(tmp_path / "a.jpg", b"\xff\xd8 cut off")
    one_word(tmp_path, samples.QUAD, imageWidth=40, imageHeight=30)
    assert read(tmp_path)[1] == {}


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_words_annotated_without_the_exif_rotation_are_turned(tmp_path, orientation):
    """The word marks the only bright place of the stored picture; so it does in the picture as it is shown."""
    stored = np.zeros((60, 100, 3), np.uint8)
    stored[8:20, 10:50] = 255
    write_jpeg(tmp_path / "a.jpg", stored, orientation)
    one_word(tmp_path, samples.box(10, 8, 50, 20), imageWidth=100, imageHeight=60)
    entries, problems = read(tmp_path)
    assert problems == {TURNED: 1}
    shown = read_image(tmp_path / "a.jpg")
    assert shown.shape == (100, 60, 3)
    marked = np.zeros(shown.shape[:2], np.uint8)
    left, top = entries["a.jpg"].quads[0].min(0).astype(int)
    right, bottom = entries["a.jpg"].quads[0].max(0).astype(int)
    marked[top:bottom, left:right] = 255
    assert (abs(shown[..., 0].astype(int) - marked) < 100).all()


def test_the_exif_rotation_may_be_in_the_annotation_already(tmp_path):
    write_jpeg(tmp_path / "a.jpg", smooth(60, 100), 6)
    quad = [[10, 8], [50, 8], [50, 20], [10, 20]]
    one_word(tmp_path, quad, imageWidth=60, imageHeight=100)
    entries, problems = read(tmp_path)
    assert entries["a.jpg"].quads.tolist() == [quad]
    assert not problems
