"""Annotations and images as they come: repaired or left out, counted, never a crash."""

import itertools
import multiprocessing
import shutil
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from datasets import (
    EpochSampler,
    MergedDataset,
    SampleDataset,
    SynthText,
    TextDataset,
    collate,
    make_loader,
    open_dataset,
    open_folder,
)
from tests.helpers import box, cell, read_words, write_mat, write_picture
from tools.split_icdar import split
from utils.data.annotations import Annotations, Words, write_words
from utils.data.augmentation import TrainTransform, WholeFrame
from utils.data.problems import Problems
from utils.errors import UserError


@pytest.fixture
def sample(tmp_path) -> Path:
    """Layout 1 with three good frames of different shapes."""
    for part in ("train", "test"):
        for number, (height, width) in enumerate([(60, 80), (90, 70), (64, 200)]):
            write_picture(tmp_path / f"{part}_images1" / f"f{number}.jpg", height, width)
            text = tmp_path / f"sample_{part}_annotation_txt" / f"f{number}.txt"
            text.parent.mkdir(exist_ok=True)
            text.write_text("10,10,50,10,50,30,10,30,word\n")
    return tmp_path


class TestSynthText:
    def test_first_80_percent_train_the_rest_validate(self, rendered):
        train, validation = SynthText(rendered / "synthtext"), SynthText(rendered / "synthtext", train=False)
        assert train.indices.tolist() == list(range(16))
        assert validation.indices.tolist() == list(range(16, 20))

    def test_words_of_a_true_file(self, real_data):
        dataset = SynthText(real_data / "synthtext_format" / "cyrillic3")
        assert len(dataset) == 2
        frame = dataset.frame(0)
        assert frame.info.words.quads.shape == (3, 4, 2)
        assert frame.info.words.quads[0, 0] == pytest.approx([355.72015, 9.443871])
        assert frame.target().score_map.sum() >= 0

    def test_a_true_file_without_its_image(self, real_data):
        with pytest.raises(UserError, match=r"no usable image among"):
            SynthText(real_data / "synthtext_format" / "gt_ballet_106_0_only.mat", train=False)

    def test_one_word_and_no_word_cells(self, tmp_path):
        cells = [cell(box(5, 5, 40, 20)), cell(box(5, 5, 40, 20), box(5, 30, 40, 50)), np.zeros((2, 4, 0))]
        write_mat(tmp_path / "gt.mat", cells)
        for number in range(3):
            write_picture(tmp_path / "1" / f"image{number}.jpg")
        dataset = TextDataset(SynthText(tmp_path).annotations)
        assert [len(dataset.annotations.words(number).quads) for number in range(3)] == [1, 2, 0]
        assert dataset.annotations.words(0).quads[0].tolist() == box(5, 5, 40, 20)

    def test_odd_cells_are_left_out_and_counted(self, tmp_path):
        odd = [
            np.zeros((3, 4)),
            np.zeros((2, 5, 2)),
            np.array(["text"]),
            np.zeros((2, 4, 1, 2)),
            np.full((2, 4), np.nan),
        ]
        write_mat(tmp_path / "gt.mat", [cell(box(5, 5, 40, 20)), *odd, cell(box(1, 1, 9, 9))])
        for number in range(7):
            write_picture(tmp_path / "1" / f"image{number}.jpg")
        dataset = SynthText(tmp_path)
        assert dataset.problems.count("images with malformed words, left out") == 4
        assert dataset.problems.count("words with corners that are no numbers, left out") == 1
        assert "wordBB[1] has shape (3, 4); expected (2, 4) or (2, 4, M)" in str(dataset.problems)
        assert dataset.problems.count("images without a single valid word, left out") == 1
        assert [dataset.annotations.path(number).name for number in range(2)] == ["image0.jpg", "image6.jpg"]

    def test_names_that_leave_the_folder_are_refused(self, tmp_path):
        for name in ("../secret.jpg", "/etc/passwd", "1/../../x.jpg"):
            write_mat(tmp_path / "gt.mat", [cell(box(5, 5, 40, 20))], [name])
            with pytest.raises(UserError, match="leaves the dataset's folder"):
                SynthText(tmp_path)

    @pytest.mark.parametrize("size", [0, 50, 130, 400])
    def test_truncated_file(self, tmp_path, size):
        whole = write_mat(tmp_path / "gt.mat", [cell(box(5, 5, 40, 20))] * 4).read_bytes()
        (tmp_path / "gt.mat").write_bytes(whole[:size])
        with pytest.raises(UserError, match=r"gt\.mat: cannot be read"):
            SynthText(tmp_path)

    def test_no_file(self, tmp_path):
        with pytest.raises(UserError, match=r"there is no gt\.mat"):
            SynthText(tmp_path)

    def test_draw_is_without_repetition_and_of_the_size_asked_for(self, rendered):
        dataset = SynthText(rendered / "synthtext", draw=7)
        drawn = dataset.draw_epoch(np.random.default_rng(0))
        assert len(set(drawn.tolist())) == 7
        assert SynthText(rendered / "synthtext").draw == 15_000
        assert SynthText(rendered / "synthtext", train=False).draw == 3_500


class TestSample:
    def test_layout_of_ones_own_videos(self, sample):
        dataset = SampleDataset(sample)
        assert len(dataset) == len(SampleDataset(sample, train=False)) == 3
        image, target = dataset[0]
        assert image.shape == (280, 280, 3)
        assert image.dtype == np.uint8
        assert [values.shape for values in target] == [(1, 70, 70), (4, 70, 70), (1, 70, 70), (1, 70, 70)]

    def test_layout_of_icdar_2015(self, sample):
        (sample / "train_images1").rename(sample / "ch4_training_images")
        texts = sample / "ch4_training_localization_transcription_gt"
        (sample / "sample_train_annotation_txt").rename(texts)
        for text in list(texts.iterdir()):
            text.rename(texts / f"gt_{text.name}")
        assert len(SampleDataset(sample)) == 3
        assert len(SampleDataset(sample, train=False)) == 3  # still in the other layout

    def test_layout_of_synthtext(self, tmp_path, rendered):
        shutil.copytree(rendered / "synthtext", tmp_path / "train")
        shutil.copytree(rendered / "synthtext", tmp_path / "test")
        assert len(SampleDataset(tmp_path)) == len(SampleDataset(tmp_path, train=False)) == 20

    def test_no_layout(self, tmp_path):
        with pytest.raises(UserError, match="no sample dataset: no annotation in a known format among 0 files"):
            SampleDataset(tmp_path)

    def test_validation_shows_whole_frames_of_every_shape(self, sample):
        dataset = SampleDataset(sample, train=False)
        sizes = [dataset.frame(number).info.size for number in range(3)]
        assert sizes == [(280, 373), (360, 280), (280, 875)]
        for number in range(3):
            image, target = dataset[number]
            assert image.shape[0] % 32 == image.shape[1] % 32 == 0
            assert target.score_map.shape == (1, image.shape[0] // 4, image.shape[1] // 4)

    def test_photographs(self, real_data):
        dataset = SampleDataset(real_data / "icdar2015")
        assert len(dataset) == 1000
        assert len(dataset.annotations.quads) == 11_886
        assert dataset.annotations.ignored.sum() == 7_418
        assert dataset.annotations.path(9).name == "img_10.jpg"

    def test_split_of_the_photographs(self, tmp_path, real_data):
        train, test, problems = split(real_data / "icdar2015", tmp_path, 800)
        assert (train, test, bool(problems)) == (800, 200, False)
        train, test = SampleDataset(tmp_path), SampleDataset(tmp_path, train=False)
        assert (len(train), len(test)) == (800, 200)
        assert test.annotations.path(0).name == "img_801.jpg"


class TestWords:
    def test_commas_byte_order_mark_and_dont_care(self, tmp_path):
        content = "\ufeff1,2,11,2,11,8,1,8,a, b,c\r\n\r\n1,2,11,2,11,8,1,8,###\n1.5,2,11,2,11,8,1,8,#### \n"
        (tmp_path / "a.txt").write_bytes(content.encode())
        problems = Problems()
        words = read_words(tmp_path / "a.txt", problems)
        assert words.quads.shape == (3, 4, 2)
        assert words.ignored.tolist() == [False, True, False]
        assert not problems

    @pytest.mark.parametrize("line", ["1,2,3,4,5,6,7,word", "one,2,3,4,5,6,7,8,x", "nothing", ",,,,,,,,", "\x00\xff"])
    def test_a_malformed_line_is_left_out_and_counted(self, tmp_path, line):
        (tmp_path / "a.txt").write_bytes(b"1,2,11,2,11,8,1,8,a\n" + line.encode("latin-1") + b"\n")
        problems = Problems()
        assert len(read_words(tmp_path / "a.txt", problems).quads) == 1
        assert problems.count("malformed lines, left out") == 1
        assert "a.txt:2" in str(problems)

    def test_written_words_are_read_again(self, tmp_path):
        words = Words(np.array([box(1, 2, 11, 8), box(5, 5, 20, 9)], np.float32), np.array([False, True]))
        write_words(tmp_path / "a.txt", words)
        again = read_words(tmp_path / "a.txt", Problems())
        assert np.array_equal(again.quads, words.quads)
        assert again.ignored.tolist() == [False, True]


class TestQuads:
    def annotations(self, *quads) -> Annotations:
        words = Words(np.array(quads, float), np.zeros(len(quads), bool))
        return Annotations(Path("x"), ["a.jpg"], [words], Problems())

    def test_bow_tie_and_anticlockwise_are_repaired(self):
        good = box(10, 10, 50, 30)
        found = self.annotations(good, [good[0], good[2], good[1], good[3]], [good[0], good[3], good[2], good[1]])
        assert (found.quads == np.array(good)).all()
        assert found.problems.count("words with crossing sides, corners put in order") == 1
        assert found.problems.count("words with corners anticlockwise, turned round") == 1

    def test_no_area_and_no_numbers_are_left_out(self):
        no_area = [[5, 5]] * 4, [[0, 0], [9, 0], [5, 0], [2, 0]]
        no_numbers = [box(0, 0, value, 9) for value in (np.nan, np.inf, 1e30)]
        found = self.annotations(box(1, 1, 9, 9), *no_area, *no_numbers)
        assert found.quads.tolist() == [box(1, 1, 9, 9)]
        assert found.problems.count("words without area, left out") == 2
        assert found.problems.count("words with corners that are no numbers, left out") == 3

    def test_words_outside_their_image(self, sample):
        (sample / "sample_train_annotation_txt" / "f0.txt").write_text(
            "10,10,50,10,50,30,10,30,in\n70,40,95,40,95,55,70,55,past the right edge\n200,10,240,10,240,30,200,30,out\n"
        )
        frame = SampleDataset(sample, transform=WholeFrame(60)).frame(0)
        assert len(frame.info.words.quads) == 2
        assert frame.problems.count("words outside their image, left out") == 1
        x = frame.target().score_map[0].nonzero()[:, 1].max()
        assert x * 4 < 80


class TestUnreadableImages:
    def spoil(self, sample: Path) -> None:
        whole = (sample / "test_images1" / "f0.jpg").read_bytes()
        bad = {"cut.jpg": whole[: len(whole) // 2], "text.jpg": b"this is no picture", "none.jpg": b""}
        for name, content in bad.items():
            (sample / "test_images1" / name).write_bytes(content)
            (sample / "sample_test_annotation_txt" / name).with_suffix(".txt").write_text("")
        (sample / "sample_test_annotation_txt" / "lonely.txt").write_text("")
        write_picture(sample / "test_images1" / "unannotated.jpg")

    def test_left_out_and_counted(self, sample):
        self.spoil(sample)
        dataset = SampleDataset(sample, train=False)
        assert len(dataset) == 3
        assert dataset.problems.count("images unreadable, left out") == 3
        assert dataset.problems.count("images without annotation, left out") == 1
        for number in range(3):
            dataset[number]

    def test_one_that_breaks_later_is_left_out_of_its_batch(self, sample):
        dataset = SampleDataset(sample, train=False)
        (sample / "test_images1" / "f1.jpg").unlink()
        batches = list(make_loader(dataset, EpochSampler(dataset), batch_size=1, workers=2))
        missing = [batch for batch in batches if isinstance(batch, Problems)]
        assert len(batches) == 3
        assert len(missing) == 1
        assert "f1.jpg" in str(missing[0])

    def test_none_usable(self, sample):
        for image in (sample / "train_images1").iterdir():
            image.write_bytes(b"")
        with pytest.raises(UserError, match=r"no usable image among 3"):
            SampleDataset(sample)

    def test_no_images_or_no_texts(self, sample):
        for text in (sample / "sample_train_annotation_txt").iterdir():
            text.unlink()
        with pytest.raises(UserError, match=r"no image with a readable \.txt"):
            SampleDataset(sample)
        (sample / "sample_train_annotation_txt").rmdir()
        with pytest.raises(UserError, match=r"there is no such folder"):
            SampleDataset(sample)


class TestBatches:
    def test_merged_draws_part_of_synthtext_and_all_frames(self, rendered):
        dataset = MergedDataset(rendered / "synthtext", rendered / "frames", draw=5)
        assert len(dataset) == 16 + 6
        drawn = dataset.draw_epoch(np.random.default_rng(0))
        assert len(drawn) == len(set(drawn.tolist())) == 11
        assert (drawn >= 16).sum() == 6
        assert "frames" in str(dataset.frame(21).info.path)
        assert "frames" in str(dataset.frame(-1).info.path)

    def test_frames_know_their_index_in_the_dataset_that_was_asked(self, rendered):
        dataset = MergedDataset(rendered / "synthtext", rendered / "frames", draw=5)
        assert [dataset.frame(index).info.dataset_index for index in (0, 15, 16, 21, -1)] == [0, 15, 16, 21, 21]
        drawn = [index for index, _ in EpochSampler(dataset, seed=4)]
        batches = make_loader(dataset, EpochSampler(dataset, seed=4), 4, 0)
        assert [info.dataset_index for batch in batches for info in batch.frames] == drawn

    def test_one_door_for_all_folders(self, rendered):
        synthtext, frames = rendered / "synthtext", rendered / "frames"
        assert len(open_dataset(synthtext, frames, True)) == 16 + 6
        assert len(open_dataset(synthtext, None, False)) == 4
        whole = open_dataset(None, frames, False, transform=WholeFrame(64))
        assert whole.frame(0).info.size[0] == 64
        assert isinstance(open_folder(synthtext, True), SynthText)
        assert isinstance(open_folder(synthtext / "gt.mat", True), SynthText)
        assert isinstance(open_folder(frames, False), SampleDataset)
        with pytest.raises(UserError, match="no dataset: give the folder"):
            open_dataset(None, None, True)

    def test_epochs_differ_and_seeds_repeat(self, rendered):
        dataset = SynthText(rendered / "synthtext", draw=8)
        sampler, same = EpochSampler(dataset, seed=3), EpochSampler(dataset, seed=3)
        assert list(sampler) == list(same)
        sampler.set_epoch(1)
        assert list(sampler) != list(same)
        same.set_epoch(1)
        assert list(sampler) == list(same)

    def test_ranks_share_the_draw(self, rendered):
        dataset = MergedDataset(rendered / "synthtext", rendered / "frames", draw=7)  # 13 images
        whole = list(EpochSampler(dataset, seed=2))
        ranks = [list(EpochSampler(dataset, seed=2, rank=rank, world=3)) for rank in range(3)]
        assert [len(rank) for rank in ranks] == [4, 4, 4]
        assert sorted(itertools.chain(*ranks)) == sorted(whole[:12])
        with pytest.raises(UserError, match="rank 3 of 3"):
            EpochSampler(dataset, rank=3, world=3)
        with pytest.raises(UserError, match="13 images for 20 processes"):
            EpochSampler(dataset, rank=3, world=20)

    def test_an_epoch_goes_on_where_it_was_cut_off(self, rendered):
        sampler = EpochSampler(SynthText(rendered / "synthtext"), seed=2, rank=1, world=2)
        sampler.set_epoch(4)
        whole = list(sampler)
        sampler.set_epoch(4, start=5)
        assert len(sampler) == len(whole) - 5
        assert list(sampler) == whole[5:]
        sampler.set_epoch(5)
        assert len(sampler) == len(whole)

    @pytest.mark.parametrize(("ratio", "counts"), [(0.5, [1] * 3), (1, [1] * 6), (2.5, [2] * 3 + [3] * 3)])
    def test_sample_ratio(self, rendered, ratio, counts):
        dataset = MergedDataset(rendered / "synthtext", rendered / "frames", draw=5, sample_ratio=ratio)
        drawn = dataset.draw_epoch(np.random.default_rng(0))
        assert sorted(np.unique(drawn[drawn >= 16], return_counts=True)[1].tolist()) == counts
        assert (drawn < 16).sum() == 5

    def test_a_ratio_that_means_nothing(self, rendered):
        with pytest.raises(UserError, match="sample ratio: 0"):
            MergedDataset(rendered / "synthtext", rendered / "frames", sample_ratio=0)

    def test_a_sample_ratio_without_synthtext(self, rendered):
        dataset = open_dataset(None, rendered / "frames", True, sample_ratio=2.0)
        drawn = dataset.draw_epoch(np.random.default_rng(0))
        assert np.unique(drawn, return_counts=True)[1].tolist() == [2] * len(dataset)

    def test_batches_do_not_depend_on_the_workers(self, rendered):
        dataset = SynthText(rendered / "synthtext", transform=TrainTransform(160, 10, (0.9, 1.1), 128))
        runs = [list(make_loader(dataset, EpochSampler(dataset, seed=1), 3, workers)) for workers in (0, 2)]
        for here, there in zip(*runs, strict=True):
            assert (here.images == there.images).all()
            assert (here.target.distances == there.target.distances).all()

    @pytest.mark.parametrize("workers", [0, 1])
    def test_loading_draws_nothing_from_the_global_generator(self, rendered, workers):
        """Else the loss of a validation would depend on how many a process has made before, and on its workers."""
        dataset = SynthText(rendered / "synthtext", train=False, transform=WholeFrame(64))
        loader, state = make_loader(dataset, EpochSampler(dataset), 4, workers), torch.get_rng_state()
        for _ in range(2):
            assert list(loader)
            assert torch.equal(torch.get_rng_state(), state)

    def test_frames_of_different_shapes_are_padded_and_masked(self, sample):
        dataset = SampleDataset(sample, train=False, transform=WholeFrame(64))
        batch = collate([dataset.frame(0), dataset.frame(1), dataset.frame(2)])
        assert batch.images.shape == (3, 96, 224, 3)
        assert batch.target.training_mask.shape == (3, 1, 24, 56)
        assert batch.target.training_mask[0, 0, 16:].sum() == 0
        assert batch.target.training_mask[0, 0, :, 22:].sum() == 0
        for number in range(3):
            assert batch.frames[number].dataset_index == number
            assert batch.frames[number].path == dataset.frame(number).info.path
            alone = dataset.frame(number).target()
            for values, own in zip(batch.target, alone, strict=True):
                height, width = own.shape[1:]
                assert torch.equal(values[number, :, :height, :width], own)
                assert not values[number, :, height:].any() and not values[number, :, :, width:].any()


def test_workers_start_whatever_the_default_method_is(rendered):
    """Python 3.14 starts processes by a server on Linux: a worker's parent would not be the loader's process."""
    before = multiprocessing.get_start_method(allow_none=True)
    dataset = SynthText(rendered / "synthtext", train=False, transform=WholeFrame(64))
    multiprocessing.set_start_method("forkserver", force=True)
    try:
        assert len(list(make_loader(dataset, EpochSampler(dataset), 4, 1))) == 1
    finally:
        multiprocessing.set_start_method(before, force=True)


def test_many_loaders_leave_other_processes_alone(rendered):
    """A notebook makes many: the handlers of their workers do not pile up."""
    dataset = SynthText(rendered / "synthtext", train=False, transform=WholeFrame(64))
    assert list(make_loader(dataset, EpochSampler(dataset), 4, 1))
    handler = signal.getsignal(signal.SIGCHLD)
    assert list(make_loader(dataset, EpochSampler(dataset), 4, 1))
    assert signal.getsignal(signal.SIGCHLD) == handler
    assert subprocess.run(["true"], check=False).returncode == 0
