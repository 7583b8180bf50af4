"""Data with parts missing: no word that counts, words that cannot be read, SynthText that is on disk in part."""

import json

import numpy as np
import pytest

from datasets import MergedDataset, SampleDataset, SynthText, TextDataset, open_dataset, require_words
from tests.helpers import box, cell, write_mat, write_picture
from utils.data.annotation_index import read_synthtext
from utils.data.annotations import Annotations, Words
from utils.data.problems import Problems
from utils.errors import UserError

MISSING = "images of the gt.mat that are not on disk, left out"
SPLIT = "images on disk that are split 80 to 20 among themselves, as the list's last 20 % are not all there"


def write_sample(folder, *texts: str):
    """A sample dataset with a training image for each text file's contents."""
    for number, text in enumerate(texts):
        write_picture(folder / "train_images1" / f"{number}.jpg")
        file = folder / "sample_train_annotation_txt" / f"{number}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return folder


def write_synthtext(folder, count: int, there) -> None:
    """A gt.mat of `count` images, 50 in a folder, of which those numbered in `there` are on disk."""
    names = [f"{number // 50}/image{number}.png" for number in range(count)]
    write_mat(folder / "gt.mat", [cell(box(5, 5, 40, 20))] * count, names)
    data = write_picture(folder / "one.png", 32, 48).read_bytes()
    for number in there:
        path = folder / names[number]
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)


class TestWordsThatCount:
    WORD = "10,10,50,10,50,30,10,30,word\n"
    DONT_CARE = "10,10,50,10,50,30,10,30,###\n"

    def test_counts(self, tmp_path):
        dataset = SampleDataset(write_sample(tmp_path / "a", self.WORD * 2 + self.DONT_CARE, "", self.WORD))
        assert dataset.count_words() == (3, 1)
        both = MergedDataset(None, [tmp_path / "a", write_sample(tmp_path / "b", self.DONT_CARE)])
        assert both.count_words() == (3, 2)
        part = TextDataset(dataset.annotations, indices=np.array([2]))
        assert part.count_words() == (1, 0)

    @pytest.mark.parametrize("texts", [[DONT_CARE, DONT_CARE], ["", "\n"]], ids=["don't-cares", "empty"])
    def test_none(self, tmp_path, texts):
        dataset = open_dataset(None, write_sample(tmp_path, *texts), True)
        with pytest.raises(UserError, match=r"training data: not a single word that counts in 2 images \([02] don't"):
            require_words(dataset, "training")

    def test_another_separator(self, tmp_path):
        write_sample(tmp_path, self.WORD.replace(",", ";"), self.WORD.replace(",", ";"))
        with pytest.raises(UserError, match=r"no image with a readable \.txt"):
            SampleDataset(tmp_path)

    def test_training_ends_with_an_error_before_it_starts(self, tmp_path, refuses):
        data = write_sample(tmp_path / "data", self.DONT_CARE, self.DONT_CARE)
        start = ("train_sample.py", "--train-folder-sample", data, "--save-dir", tmp_path / "run", "--ngpus", 0)
        line = (*start, "--width", 0.1, "--batch-size", 1, "--crop", 96)
        refuses(*line, parts=["not a single word that counts in 2 images (2 don't-care words)", "inspect_data"])
        assert not list((tmp_path / "run").glob("*.pt"))

    def test_the_header_says_both_counts(self, tmp_path, run_script):
        data = write_sample(tmp_path / "data", self.WORD * 2 + self.DONT_CARE, self.WORD)
        start = ("train_sample.py", "--train-folder-sample", data, "--save-dir", tmp_path / "run", "--ngpus", 0)
        line = ("--width", 0.1, "--batch-size", 1, "--crop", 96, "--epoch", 1, "--num-workers", 0)
        process = run_script(*start, *line)
        assert "of all images 3 words count, 1 are don't-care" in process.stdout


class TestMalformed:
    def test_an_image_whose_lines_are_all_malformed_is_left_out(self, tmp_path):
        dataset = SampleDataset(write_sample(tmp_path, TestWordsThatCount.WORD, "a;b\nc;d\n", ""))
        assert len(dataset) == 2
        assert dataset.problems.count("images whose annotation has no readable line, left out") == 1

    def test_in_labelme_files_too(self, tmp_path):
        shapes = {
            "good": {"label": "word", "shape_type": "polygon", "points": [[5, 5], [40, 5], [40, 20], [5, 20]]},
            "bad": {"label": "word", "shape_type": "polygon", "points": [[5, 5]]},
        }
        for name, chosen in {"a": ["good", "bad"], "b": ["bad", "bad"], "c": []}.items():
            write_picture(tmp_path / "train" / f"{name}.jpg")
            document = {"version": "5", "imagePath": f"{name}.jpg", "shapes": [shapes[each] for each in chosen]}
            (tmp_path / "train" / f"{name}.json").write_text(json.dumps(document))
        dataset = SampleDataset(tmp_path)
        assert [dataset.annotations.names[index] for index in dataset.indices] == ["train/a.jpg", "train/c.jpg"]
        assert dataset.problems.count("images whose annotation has no readable word, left out") == 1

    def test_words_that_are_all_invalid(self, tmp_path):
        """No area, no numbers: such an image is not background."""
        good, flat = np.array([box(5, 5, 40, 20)]), np.array([box(5, 5, 40, 5)])
        words = [Words(quads, np.zeros(1, bool)) for quads in (good, flat, flat * np.nan)]
        for number in range(4):
            write_picture(tmp_path / f"{number}.jpg")
        words.append(Words(np.zeros((0, 4, 2)), np.zeros(0, bool)))
        annotations = Annotations(tmp_path, [f"{number}.jpg" for number in range(4)], words, Problems())
        assert annotations.usable(np.arange(4)).tolist() == [0, 3]
        assert annotations.problems.count("images without a single valid word, left out") == 2

    def test_words_of_a_gt_mat_that_are_all_invalid(self, tmp_path):
        good, flat = box(5, 5, 40, 20), box(5, 5, 40, 5)
        names = [f"{number}.jpg" for number in range(5)]
        for name in names:
            write_picture(tmp_path / name)
        cells = [cell(good), cell(flat), cell(good), cell(np.full((4, 2), np.nan)), cell(good)]
        write_mat(tmp_path / "gt.mat", cells, names)
        annotations = read_synthtext(tmp_path)
        assert [annotations.names[index] for index in range(len(annotations))] == ["0.jpg", "2.jpg", "4.jpg"]
        assert [len(annotations.words(index).quads) for index in range(3)] == [1, 1, 1]
        assert annotations.problems.count("images without a single valid word, left out") == 2


class TestSynthTextInPart:
    def test_all_there(self, tmp_path):
        write_synthtext(tmp_path, 100, range(100))
        assert SynthText(tmp_path).indices.tolist() == list(range(80))
        assert SynthText(tmp_path, train=False).indices.tolist() == list(range(80, 100))
        assert not SynthText(tmp_path).problems

    def test_a_part_of_every_folder(self, tmp_path):
        """The split of the list stays; each missing image is counted once, by its own part."""
        there = range(0, 500, 4)
        write_synthtext(tmp_path, 500, there)
        train, validation = SynthText(tmp_path), SynthText(tmp_path, train=False)
        assert train.indices.tolist() == [number for number in there if number < 400]
        assert validation.indices.tolist() == [number for number in there if number >= 400]
        assert (train.problems.count(MISSING), validation.problems.count(MISSING)) == (300, 75)
        assert train.problems.rows() == [(MISSING, 300, str(tmp_path / "0" / "image1.png"))]

    def test_only_the_first_folders(self, tmp_path):
        """Nothing of the list's last 20 % is there: what is there is split."""
        write_synthtext(tmp_path, 1000, range(50))
        train, validation = SynthText(tmp_path), SynthText(tmp_path, train=False)
        assert train.indices.tolist() == list(range(40))
        assert validation.indices.tolist() == list(range(40, 50))
        assert train.problems.count(MISSING) + validation.problems.count(MISSING) == 950
        assert train.problems.count(SPLIT) == validation.problems.count(SPLIT) == 50
        validation.frame(0)

    def test_only_the_last_folders(self, tmp_path):
        write_synthtext(tmp_path, 500, range(450, 500))
        train, validation = SynthText(tmp_path), SynthText(tmp_path, train=False)
        assert train.indices.tolist() == list(range(450, 490))
        assert validation.indices.tolist() == list(range(490, 500))

    def test_more_images_than_are_checked_one_by_one(self, tmp_path):
        """40,000 images listed, 600 there: true counts, and every drawn image can be read."""
        there = range(0, 40_000, 70)
        names = [f"{number // 4000}/image{number}.png" for number in range(40_000)]
        write_mat(tmp_path / "gt.mat", [cell(box(5, 5, 40, 20))] * 40_000, names)
        data = write_picture(tmp_path / "one.png", 32, 48).read_bytes()
        for number in there:
            (tmp_path / names[number]).parent.mkdir(exist_ok=True)
            (tmp_path / names[number]).write_bytes(data)
        dataset = SynthText(tmp_path, draw=50)
        assert len(dataset) == len([number for number in there if number < 32_000])
        for index in dataset.draw_epoch(np.random.default_rng(0)):
            dataset.frame(int(index))
        assert dataset.problems.rows()[0][1] == 32_000 - len(dataset)

    def test_none_there(self, tmp_path):
        write_synthtext(tmp_path, 10, [])
        with pytest.raises(UserError, match=r"none is on disk, such as 0/image0\.png; copy the images"):
            SynthText(tmp_path)

    def test_a_few_missing_are_left_out_one_by_one(self, tmp_path):
        write_synthtext(tmp_path, 200, [number for number in range(200) if number != 3])
        dataset = SynthText(tmp_path)
        assert len(dataset) == 159
        assert dataset.problems.count("images unreadable, left out") == 1
