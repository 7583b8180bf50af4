"""--max-pixels and --background reach every place that reads pictures."""

import argparse

import cv2
import numpy as np
import pytest
import torch

from datasets import EpochSampler, make_loader, open_dataset
from utils.data.image_types import ReadOptions
from utils.data.images import UnreadableImage
from utils.detector import load_detector
from utils.options.parser import Parser
from utils.options.reading import add_reading_options, colour, read_options


def parse(*line: str) -> ReadOptions:
    parser = Parser(None)
    add_reading_options(parser)
    return read_options(parser.parse_args(list(line)))


def test_defaults_and_values():
    assert parse() == ReadOptions() == (100_000_000, (255, 255, 255))
    assert parse("--max-pixels", "200000000", "--background", "black") == (200_000_000, (0, 0, 0))
    assert colour("12,0,255") == colour("12 0 255") == (12, 0, 255)
    for text in ("pink", "1,2", "1,2,256", "-1,0,0", "", "1,2,3,4"):
        with pytest.raises(argparse.ArgumentTypeError, match="expected white, black"):
            colour(text)


@pytest.fixture
def folder(tmp_path):
    """One transparent picture with a word, one opaque picture of four times its size."""
    (tmp_path / "train_images1").mkdir()
    (tmp_path / "sample_train_annotation_txt").mkdir()
    for name, side in (("a", 64), ("b", 128)):
        picture = np.zeros((side, side, 4), np.uint8)
        picture[..., 3] = 255 * (name == "b")
        cv2.imwrite(str(tmp_path / "train_images1" / f"{name}.png"), picture)
        text = tmp_path / "sample_train_annotation_txt" / f"{name}.txt"
        text.write_text("5,5,40,5,40,20,5,20,word\n")
    return tmp_path


def test_in_a_dataset_and_its_workers(folder):
    dataset = open_dataset(None, folder, True, max_pixels=64 * 64, background=(9, 8, 7))
    assert len(dataset) == 1
    assert "128x128 pixels; at most 4096 are read" in str(dataset.problems)
    batch = next(iter(make_loader(dataset, EpochSampler(dataset), 1, 1)))
    assert (batch.images == torch.tensor([9, 8, 7], dtype=torch.uint8)).all(-1).any()
    (frame,) = batch.frames
    assert (frame.picture() == (9, 8, 7)).all()
    assert (open_dataset(None, folder, True).frame(0).info.picture() == 255).all()


def test_in_a_detector(folder, small_checkpoint):
    detector = load_detector(small_checkpoint)
    detector.detect(folder / "train_images1" / "b.png")
    detector.reading = ReadOptions(max_pixels=100)
    with pytest.raises(UnreadableImage, match="at most 100 are read"):
        detector.detect(folder / "train_images1" / "b.png")
