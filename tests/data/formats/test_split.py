"""Which images are for training and which for testing where the folders do not say it."""

from pathlib import Path

import numpy as np
import pytest

from datasets import MergedDataset, SampleDataset, SampleFolder, open_dataset
from tests.data.formats import samples
from tools.convert import WRITTEN, Conversion
from utils.data.formats.entries import Entry
from utils.data.formats.folder import Folder
from utils.data.formats.names import part_of, part_of_word
from utils.data.formats.split import choose_part, first_test_image
from utils.errors import UserError


def entries(*names: str, part: str | None = None) -> list[Entry]:
    return [Entry(name, np.zeros((0, 4, 2)), np.zeros(0, bool), [], part) for name in names]


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("train", "train"),
        ("ch4_training_images", "train"),
        ("Challenge2_Test_Task12_Images", "test"),
        ("val2017", "test"),
        ("validation", "test"),
        ("images", None),
        ("trainer", None),
        ("train_val", None),
        ("contest", None),
    ],
)
def test_part_of_a_word(name, part):
    assert part_of_word(name) == part
    assert part_of(f"{name}/a.jpg") == part
    assert part_of(f"{name}.jpg") is None


def test_the_last_tenth_in_natural_order():
    everything = entries(*(f"img_{number}.jpg" for number in range(1, 101)))
    train, rule = choose_part(everything, "train", Path("frames"))
    test, _ = choose_part(everything, "test", Path("frames"))
    assert [entry.name for entry in test] == [f"img_{number}.jpg" for number in range(91, 101)]
    assert len(train) == 90
    assert rule == "no train and test folders: the last 10 of 100 images are for testing"


def test_videos_and_folders_stay_whole():
    names = [f"a_{number:03}.jpg" for number in range(85)] + [f"b_{number:03}.jpg" for number in range(15)]
    assert first_test_image(names) == 85
    names = [f"one/{number}.jpg" for number in range(93)] + [f"two/{number}.jpg" for number in range(7)]
    assert first_test_image(names) == 93
    names = [f"one/{number}.jpg" for number in range(50)] + [f"two/{number}.jpg" for number in range(50)]
    assert first_test_image(names) == 90  # no border near 90 %


@pytest.mark.parametrize(("count", "start"), [(0, 0), (1, 1), (2, 1), (5, 4), (10, 9), (25, 23)])
def test_few_images(count, start):
    assert first_test_image([f"a{number}.jpg" for number in range(count)]) == start


def test_names_decide_first():
    several = entries("a.jpg") + entries("train/b.jpg", part="train") + entries("val/c.jpg", part="test")
    assert [entry.name for entry in choose_part(several, "train", Path("x"))[0]] == ["a.jpg", "train/b.jpg"]
    assert [entry.name for entry in choose_part(several, "test", Path("x"))[0]] == ["val/c.jpg"]
    with pytest.raises(
        UserError,
        match=r"x: no images for testing \(2 images, parts by .*\); put some in a folder named test/",
    ):
        choose_part(several[:2], "test", Path("x"))


def test_a_folder_named_test_is_all_test():
    several = entries(*(f"{number}.jpg" for number in range(20)))
    assert len(choose_part(several, "test", Path("data/test"))[0]) == 20
    assert len(choose_part(several, "train", Path("data/train"))[0]) == 20
    with pytest.raises(UserError, match="no images for training"):
        choose_part(several, "train", Path("data/val"))


def test_links_that_lead_back_end(tmp_path):
    samples.labelme(tmp_path / "a")
    (tmp_path / "a" / "again").symlink_to(tmp_path)
    assert len(Folder(tmp_path).images) == 1


SEVERAL = (samples.labelme, samples.cvat, samples.coco, samples.yolo, samples.td500, samples.ppocrlabel)


@pytest.fixture
def several(tmp_path) -> list[Path]:
    folders = []
    for sample in SEVERAL:
        folders.append(tmp_path / sample.__name__)
        sample(folders[-1])
    return folders


def test_several_folders_of_different_formats(several, rendered):
    dataset = open_dataset(rendered / "synthtext", several, True, draw=5)
    assert isinstance(dataset, MergedDataset)
    own = [SampleDataset(folder) for folder in several]
    assert [len(part) for part in dataset.parts] == [16, *map(len, own)]
    names = [part.annotations.source.split(":")[0] for part in own]
    assert names == [sample.__name__ for sample in SEVERAL]
    for index in (0, 15, 16, len(dataset) - 1, -1):
        frame = dataset.frame(index, seed=0)
        assert frame.info.dataset_index == index % len(dataset)
    assert dataset.frame(16, seed=0).info.path == several[0] / "a.jpg"
    assert dataset.frame(-1, seed=0).info.path == several[-1] / "a.jpg"
    with pytest.raises(IndexError):
        dataset.frame(len(dataset))


def test_each_folder_has_its_ratio(several):
    folders = [SampleFolder(several[0], 3.0), SampleFolder(several[2], 2.0, "coco")]
    dataset = open_dataset(None, folders, True)
    drawn = dataset.draw_epoch(np.random.default_rng(0)).tolist()
    assert sorted(drawn) == [0, 0, 0, 1, 1]
    dataset = open_dataset(None, several[:2], True, sample_ratio=2)
    assert sorted(dataset.draw_epoch(np.random.default_rng(0))) == [0, 0, 1, 1]


def test_format_overrules(several):
    with pytest.raises(UserError, match="no annotation of the format labelme"):
        SampleDataset(several[1], format_name="labelme")
    with pytest.raises(UserError, match="--format voc: there is no such format"):
        SampleDataset(several[1], format_name="voc")


def test_half_a_layout_is_not_split(tmp_path, rendered):
    (tmp_path / "train_images1").symlink_to(rendered / "frames" / "train_images1")
    (tmp_path / "sample_train_annotation_txt").symlink_to(rendered / "frames" / "sample_train_annotation_txt")
    assert len(SampleDataset(tmp_path)) == 6
    with pytest.raises(UserError, match="no images for testing: expected test_images1/ beside train_images1/"):
        SampleDataset(tmp_path, train=False)


@pytest.mark.parametrize("to", WRITTEN)
def test_a_data_set_of_one_part_only_says_so(tmp_path, to):
    samples.labelme(tmp_path / "source" / "train")
    Conversion(tmp_path / "source", tmp_path / "out").run(to)
    assert len(SampleDataset(tmp_path / "out")) == 1
    with pytest.raises(UserError, match=r"no images for testing.*; (put some in a folder named test/|add it)"):
        SampleDataset(tmp_path / "out", train=False)


@pytest.mark.parametrize("to", WRITTEN)
def test_a_conversion_keeps_the_parts(tmp_path, to):
    """Also where nothing in the names says them."""
    for number in range(20):
        samples.labelme(tmp_path / "flat")
        for suffix in (".jpg", ".json"):
            file = (tmp_path / "flat" / "a").with_suffix(suffix)
            file.rename(file.with_stem(f"photo{number}"))
        file = tmp_path / "flat" / f"photo{number}.json"
        file.write_text(file.read_text().replace("a.jpg", f"photo{number}.jpg"))
    counts = Conversion(tmp_path / "flat", tmp_path / "converted").run(to)
    assert counts == {"train": 18, "test": 2}
    for train in (True, False):
        before, after = (SampleDataset(tmp_path / name, train=train) for name in ("flat", "converted"))
        assert [before.frame(i, 0).info.path.name for i in range(len(before))] == [
            after.frame(i, 0).info.path.name for i in range(len(after))
        ]
