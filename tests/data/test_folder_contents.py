"""Everything in a folder is used, or counted with a reason."""

import shutil

import cv2
import pytest

from tests.data.test_images import smooth
from utils.data.annotations import read_text_files
from utils.data.images import IMAGE_SUFFIXES

LINE = "5,5,40,5,40,20,5,20,word\n"


@pytest.fixture
def picture(tmp_path):
    cv2.imwrite(str(tmp_path / "picture.jpg"), smooth(64, 64))
    return tmp_path / "picture.jpg"


def test_all_suffixes_are_seen(tmp_path, picture):
    """A JPEG under every suffix: its first bytes decide how it is read."""
    folder = tmp_path / "data"
    folder.mkdir()
    for suffix in IMAGE_SUFFIXES:
        shutil.copy(picture, folder / f"{suffix[1:]}{suffix.upper()}")
        (folder / f"{suffix[1:]}.txt").write_text(LINE)
    annotations = read_text_files(folder, folder)
    assert len(annotations.usable(range(len(annotations)))) == len(IMAGE_SUFFIXES)
    assert not annotations.problems


def test_what_is_not_used_is_counted(tmp_path, picture):
    folder = tmp_path / "data"
    folder.mkdir()
    for name in ("a.jpg", "a.png", "b.jpg", "c.jpg", "phone.heic", "page.pdf", "notes.json", ".hidden", "Thumbs.db"):
        shutil.copy(picture, folder / name)
    for name in ("a.txt", "b.TXT", "lost.TXT"):
        (folder / name).write_text(LINE)
    annotations = read_text_files(folder, folder)
    assert list(annotations.names) == ["a.jpg", "a.png", "b.jpg"]
    found = {kind: (count, example) for kind, count, example in annotations.problems.rows()}
    shared = found.pop("annotation files that several images of one name share, used for each")
    assert shared == (1, f"{folder / 'a.txt'}: a.jpg, a.png")
    assert found.pop("annotation files without an image, left out") == (1, str(folder / "lost.TXT"))
    assert found.pop("files of a type that is not read, left out") == (1, str(folder / "page.pdf"))
    (key,) = (kind for kind in found if "format that is not read" in kind)
    assert found.pop(key) == (1, str(folder / "phone.heic"))
    assert set(found) == {"images without annotation, left out"}


def test_in_detection(tmp_path, picture, small_checkpoint, run_script):
    folder = tmp_path / "data"
    folder.mkdir()
    for name in ("a.jfif", "b.mpo", "c.heic", "d.doc"):
        shutil.copy(picture, folder / name)
    line = ["detect.py", "--pretrain-model", small_checkpoint, "--output-dir", tmp_path / "out", "--ngpus", 0]
    output = run_script(*line, folder).stdout
    assert "words in 2 frames" in output
    assert "1 pictures of a format that is not read (save them as PNG or JPEG), left out" in output
    assert "1 files of a type that is not read, left out" in output
