"""Target maps against hand-computed values, a slow version cell by cell, and the way back."""

from itertools import pairwise

import numpy as np
import pytest
import shapely
import torch

from datasets import SampleDataset, SynthText
from tests.helpers import as_prediction, box, random_quads, words_of
from utils.data.annotations import Words
from utils.data.augmentation import WholeFrame
from utils.data.targets import SHRINK_RATIO, encode, encode_batch
from utils.decode import decode
from utils.geometry import min_area_rectangles, pairwise_iou
from utils.maps import padded_size


def test_a_straight_word():
    """80 x 40 pixels at (40, 60): 20 x 10 cells, shrunk by 3 cells on each side."""
    target = encode(words_of(box(40, 60, 120, 100)), 160, 200)
    expected = np.zeros((40, 50))
    expected[18:23, 13:28] = 1
    assert np.array_equal(target.score_map[0].numpy(), expected)
    ignored = np.zeros((40, 50), bool)
    ignored[15:26, 10:31] = True
    assert np.array_equal(target.training_mask[0].numpy() == 0, ignored & (expected == 0))
    assert target.distances[:, 20, 15].tolist() == pytest.approx([20, 60, 20, 20])  # top, right, bottom, left
    assert target.angle[0, 20, 15] == pytest.approx(np.pi / 4)
    assert target.distances[:, 0, 0].tolist() == [0, 0, 0, 0]


def test_dont_care_word_is_ignored_whole():
    target = encode(words_of(box(40, 60, 120, 100), ignored=[0]), 160, 200)
    assert target.score_map.sum() == 0
    assert (target.training_mask[0, 15:26, 10:31] == 0).all()
    assert target.training_mask.sum() == 40 * 50 - 11 * 21


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_the_smaller_word_wins(order):
    quads = [box(0, 0, 200, 160), box(80, 60, 140, 84)]
    target = encode(words_of(*[quads[number] for number in order]), 160, 200)
    assert target.distances[:, 18, 27].tolist() == pytest.approx([12, 32, 12, 28])
    assert target.score_map.max() == 1
    assert target.training_mask[0, 15, 20] == 0  # the small word's ring, inside the large word


def test_word_cut_by_the_border():
    """What is left of the word counts, shrunk by the whole word's short side; no positives near the border."""
    target = encode(words_of(box(-60, 40, 60, 80)), 120, 120)
    assert target.score_map[0, 13:18].sum(1).tolist() == [10] * 5  # columns 3 to 12 of the 0 to 15 left
    assert target.score_map[0, :, :3].sum() == 0
    assert target.distances[:, 15, 6].tolist() == pytest.approx([20, 36, 20, 24])


def test_words_outside_and_none_at_all():
    target = encode(words_of(box(300, 300, 340, 320), box(-50, 0, -10, 20)), 64, 64)
    assert target.score_map.sum() == 0
    assert target.training_mask.min() == 1
    assert encode(words_of(), 64, 64).training_mask.min() == 1


def test_padding_is_masked_and_cuts_words():
    target = encode(words_of(box(20, 20, 200, 60)), 96, 128, size=(90, 100))
    assert (target.training_mask[0, 23:] == 0).all()  # rows from pixel 92 on
    assert (target.training_mask[0, :, 25:] == 0).all()  # columns from pixel 100 on
    assert target.training_mask[0, 22, 24] == 1
    assert target.distances[1, 10, 12] == pytest.approx(100 - 48)


def slow_encode(words: Words, height: int, width: int):
    """DESIGN's rule, cell by cell, with shapely's intersection."""
    rows, columns = height // 4, width // 4
    score, mask = np.zeros((rows, columns)), np.ones((rows, columns))
    geometry = np.zeros((5, rows, columns))
    quads = words.quads.astype(float) / 4
    order = np.argsort([-min_area_rectangles(quad[None]).sizes[0].prod() for quad in quads], kind="stable")
    for number in order:
        shape = shapely.intersection(shapely.Polygon(quads[number]), shapely.box(0, 0, columns, rows))
        if shape.area == 0:
            continue
        hull = np.array(shapely.convex_hull(shape).exterior.coords)
        boxes = []
        for start, end in pairwise(hull):
            theta = (-np.arctan2(*(end - start)[::-1]) + np.pi / 4) % (np.pi / 2) - np.pi / 4
            along, down = hull @ [np.cos(theta), -np.sin(theta)], hull @ [np.sin(theta), np.cos(theta)]
            boxes.append((np.ptp(along) * np.ptp(down), theta, along.min(), along.max(), down.min(), down.max()))
        smallest = min(boxes)[0]
        _, theta, left, right, top, bottom = min(
            (box for box in boxes if box[0] <= smallest * (1 + 1e-9)), key=lambda box: round(abs(box[1]), 9)
        )
        shrink = SHRINK_RATIO * min_area_rectangles(quads[number][None]).sizes.min()
        crossed = [quads[number].min(0) < 0, quads[number].max(0) > [columns, rows]]
        for y in range(rows):
            for x in range(columns):
                along, down = x * np.cos(theta) - y * np.sin(theta), x * np.sin(theta) + y * np.cos(theta)
                sides = [down - top, right - along, bottom - down, along - left]
                if min(sides) < 0:
                    continue
                near = (crossed[0] & ([x, y] < shrink)) | (crossed[1] & ([x, y] > np.array([columns, rows]) - shrink))
                positive = min(sides) >= shrink and not near.any() and not words.ignored[number]
                score[y, x] = mask[y, x] = positive
                geometry[:, y, x] = [*(4 * np.array(sides)), theta + np.pi / 4]
    return score, geometry * score, mask


def test_equal_to_the_slow_version():
    """On random words, cut and overlapping ones too; a cell on a box's very edge may fall either way."""
    differing = cells = positives = same_box = 0
    for seed in range(12):
        quads = random_quads(9, seed=seed, spread=0.2) * 1.5 - 10
        words = Words(quads.astype(np.float32), np.arange(9) % 4 == 3)
        target = encode(words, 128, 160)
        score, geometry, mask = slow_encode(words, 128, 160)
        same = (target.score_map[0].numpy() == score) & (target.training_mask[0].numpy() == mask)
        differing, cells, positives = differing + (~same).sum(), cells + same.size, positives + score.sum()
        ours = np.concatenate([target.distances, target.angle])
        both = same & (score == 1)
        same_box += np.isclose(ours[:, both], geometry[:, both], atol=2e-3).all(0).sum()
    assert positives > 500
    assert differing <= cells * 2e-3
    assert same_box >= 0.99 * positives


def test_a_batch_equals_its_images_one_by_one():
    """Pictures of many sizes, padded to one; words cut at each border; bit for bit."""
    rng = np.random.default_rng(0)
    for _ in range(40):
        count = int(rng.integers(1, 6))
        sizes = [(int(height), int(width)) for height, width in rng.integers(20, 150, (count, 2))]
        corners = [rng.uniform(-20, 150, (words, 1, 2)) for words in rng.integers(0, 8, count)]
        quads = [(each + rng.uniform(-40, 40, (len(each), 4, 2))).astype(np.float32) for each in corners]
        images = [Words(each, rng.random(len(each)) < 0.2) for each in quads]
        together = encode_batch(images, 160, 192, sizes)
        for number, (words, size) in enumerate(zip(images, sizes, strict=True)):
            alone = encode(words, *padded_size(*size), size=size)
            for values, own in zip(together, alone, strict=True):
                expected = torch.zeros_like(values[number])
                expected[:, : own.shape[1], : own.shape[2]] = own
                assert torch.equal(values[number], expected)


def assert_round_trip(dataset) -> int:
    """Every word over 12 px high comes back at IoU > 0.9; returns how many."""
    count = 0
    for index in range(len(dataset)):
        frame = dataset.frame(index)
        info = frame.info
        quads, _ = decode(as_prediction(frame.target()))[0]
        moved = info.words_in_input().quads
        rectangles = min_area_rectangles(moved, info.size[::-1])
        for number, corners in enumerate(rectangles.corners()):
            whole = min_area_rectangles(moved[number][None]).sizes[0]
            is_cut = not np.allclose(np.sort(whole), np.sort(rectangles.sizes[number]))
            if info.words.ignored[number] or whole.min() < 12 or is_cut:
                continue
            overlap = pairwise_iou(np.repeat(corners[None], len(quads), 0), quads)
            assert overlap.max(initial=0) > 0.9, (info.path, number)
            count += 1
    return count


def test_round_trip_on_rendered_frames(rendered):
    view = WholeFrame(192)
    assert assert_round_trip(SynthText(rendered / "synthtext", transform=view)) > 30
    assert assert_round_trip(SampleDataset(rendered / "frames", transform=view)) > 5


def test_round_trip_on_photographs(real_data):
    dataset = SampleDataset(real_data / "icdar2015", transform=WholeFrame(720))
    dataset.indices = dataset.indices[:60]
    assert assert_round_trip(dataset) > 150
