import numpy as np
import pytest
import torch

from benchmarks.decode import noisy_prediction, words_in_a_grid
from benchmarks.plain_decode import decode_plain, decode_sequential
from tests.helpers import as_prediction, box, words_of
from utils.data.targets import encode
from utils.decode import Thresholds, core_cells, decode, merge_words, suppress
from utils.evaluation import evaluate
from utils.geometry import least_iou, pairwise_iou
from utils.maps import Prediction, hide_padding


def blank(height: int = 40, width: int = 50) -> Prediction:
    return Prediction(
        torch.full((1, 1, height, width), -9.0), torch.zeros(1, 4, height, width), torch.zeros(1, 1, height, width)
    )


def test_one_cell_by_hand():
    """Cell (10, 5) is pixel (40, 20); no rotation: 8 up, 30 right, 4 down, 10 left."""
    maps = blank()
    maps.confidence[0, 0, 5, 10] = 2.0
    maps.distances[0, :, 5, 10] = torch.tensor([8.0, 30, 4, 10])
    maps.angle[0, 0, 5, 10] = np.pi / 4
    quads, scores = decode(maps, 0.5, 0.2)[0]
    assert quads.dtype == scores.dtype == np.float32
    assert np.allclose(quads, [[[30, 12], [70, 12], [70, 24], [30, 24]]], atol=1e-4)
    assert np.allclose(scores, [torch.sigmoid(torch.tensor(2.0))])


def test_threshold_is_a_probability():
    maps = blank()
    maps.confidence[0, 0, 5, 10] = 0.4  # a probability of 0.6
    maps.distances[0, :, 5, 10] = 10
    assert len(decode(maps, 0.59, 0.2)[0][0]) == 1
    assert len(decode(maps, 0.61, 0.2)[0][0]) == 0


def test_rotation_by_hand():
    """Theta = +30 degrees: the right end is higher."""
    maps = blank()
    maps.confidence[0, 0, 20, 20] = 5
    maps.distances[0, :, 20, 20] = torch.tensor([5.0, 20, 5, 20])
    maps.angle[0, 0, 20, 20] = np.pi / 4 + np.pi / 6
    quad = decode(maps, 0.5, 0.2)[0][0][0]
    right_middle = (quad[1] + quad[2]) / 2
    assert np.allclose(right_middle, [80 + 20 * np.cos(np.pi / 6), 80 - 20 * np.sin(np.pi / 6)], atol=1e-3)


def test_words_of_two_images_come_back_whole():
    words = [words_of(box(20, 20, 100, 44), box(20, 60, 160, 100)), words_of(box(40, 30, 90, 60))]
    predictions = [as_prediction(encode(each, 160, 200)) for each in words]
    batch = Prediction(*(torch.cat(maps) for maps in zip(*predictions, strict=True)))
    results = decode(batch, 0.5, 0.2)
    assert [len(quads) for quads, _ in results] == [2, 1]
    for (quads, scores), each in zip(results, words, strict=True):
        overlap = [pairwise_iou(np.repeat(word[None], len(quads), 0), quads).max() for word in each.quads]
        assert min(overlap) > 0.99
        assert (scores <= 1).all()


def test_scores_stay_probabilities_and_weigh_the_boxes():
    quads = np.array([box(0, 0, 40, 20), box(0, 0, 44, 20)], float)
    merged, scores, weights = merge_words(quads, np.array([0.9, 0.6]), np.array([0.9, 0.3]))
    assert np.allclose(merged, [box(0, 0, 41, 20)])
    assert np.allclose(scores, [(0.9 * 0.9 + 0.6 * 0.3) / 1.2])
    assert np.allclose(weights, 1.2)


def test_suppression_keeps_the_word_with_the_larger_weight():
    quads = np.array([box(0, 0, 40, 20), box(4, 0, 44, 20), box(100, 0, 140, 20)], float)
    assert suppress(quads, np.array([6.0, 9, 5]), 0.2).tolist() == [1, 2]


def test_nothing_and_noise():
    assert decode(blank(), 0.5, 0.2)[0][0].shape == (0, 4, 2)
    torch.manual_seed(0)
    noise = Prediction(torch.randn(1, 1, 72, 128), torch.rand(1, 4, 72, 128) * 60, torch.rand(1, 1, 72, 128))
    quads, scores = decode(noise, 0.5, 0.2)[0]
    assert len(quads) == len(scores) > 10
    noise.distances[0, 0, 3] = torch.nan
    noise.confidence[0, 0, 40] = torch.nan
    quads, scores = decode(noise, 0.5, 0.2)[0]
    assert np.isfinite(quads).all()
    assert np.isfinite(scores).all()


def test_padding_contains_no_text():
    maps = blank(8, 8)._replace(confidence=torch.full((1, 1, 8, 8), 5.0))
    hidden = hide_padding(maps, [(18, 13)])
    assert torch.isfinite(hidden.confidence[0, 0]).nonzero().max(0).values.tolist() == [4, 3]
    assert torch.isfinite(maps.confidence).all()


def test_arrays_give_the_words_of_tensors():
    """An exported network's maps are NumPy arrays."""
    maps = noisy_prediction([encode(words_in_a_grid(4, (200, 40), 1), 192, 640)], noise=1)
    arrays = Prediction(*(each.numpy() for each in maps))
    for sizes in ([(192, 640)], [(120, 333)]):
        (quads, scores), (expected, expected_scores) = (decode(hide_padding(each, sizes))[0] for each in (arrays, maps))
        assert len(quads) > 1
        assert np.array_equal(quads, expected)
        assert np.array_equal(scores, expected_scores)
    assert np.isfinite(arrays.confidence).all()


class TestAgainstThePlainVersion:
    """`benchmarks.plain_decode`: loops over cells, a shapely polygon for every pair."""

    @pytest.mark.parametrize("noise", [0, 1, 3])
    def test_the_same_boxes(self, noise):
        targets = [
            encode(words_in_a_grid(*grid, seed), 192, 640) for grid, seed in [((4, (200, 40)), 1), ((9, (90, 24)), 2)]
        ]
        maps = noisy_prediction(targets, noise=noise)
        for ours, plain in zip(decode(maps, 0.5, 0.2), decode_plain(maps, 0.5, 0.2), strict=True):
            assert len(ours[0]) == len(plain[0]) > 2
            # two words with equal scores can be in either order
            order, plain_order = (np.lexsort(np.rint(quads[:, 0].T)) for quads in (ours[0], plain[0]))
            assert np.allclose(ours[0][order], plain[0][plain_order], atol=2e-3)
            assert np.allclose(ours[1][order], plain[1][plain_order], atol=1e-5)

    def test_the_same_boxes_of_noise(self):
        generator = torch.Generator().manual_seed(0)
        maps = Prediction(*(torch.rand(1, channels, 12, 30, generator=generator) for channels in (1, 4, 1)))
        maps = Prediction((maps.confidence - 0.6) * 10, maps.distances * 30 + 1, maps.angle * 1.5)
        (quads, scores), (plain_quads, plain_scores) = decode(maps, 0.5, 0.2)[0], decode_plain(maps, 0.5, 0.2)[0]
        assert len(quads) > 10
        assert np.allclose(scores, plain_scores, atol=1e-5)
        assert np.allclose(quads, plain_quads, atol=2e-3)

    def test_hmean_no_lower_than_by_sequential_merging(self):
        words = [words_in_a_grid(4, (200, 40), seed) for seed in range(4)]
        maps = noisy_prediction([encode(each, 192, 640) for each in words], noise=3)
        ours, sequential = (evaluate(words, decoder(maps, 0.5, 0.2)) for decoder in (decode, decode_sequential))
        assert ours.hmean >= sequential.hmean


def test_least_iou_is_never_more_than_the_iou():
    rng = np.random.default_rng(0)
    first = np.array([box(0, 0, width, height) for width, height in rng.uniform(5, 80, (500, 2))])
    second = first + rng.normal(0, 1, (500, 1, 1)) + rng.normal(0, 1, first.shape)
    least, exact = least_iou(first, second), pairwise_iou(first, second)
    assert (least <= exact + 1e-9).all()
    assert least.mean() > 0.7 * exact.mean()
    assert least_iou(first[:1] * 0, second[:1]) == 0


def test_cells_that_are_not_finite_are_no_text():
    maps = blank()
    maps.confidence[0, 0, 5, 10:16] = 2.0
    maps.distances[0, :, 5, 10:16] = 10.0
    maps.angle[:] = np.pi / 4
    assert len(decode(maps)[0][0]) == 2  # of six boxes of 20 x 20, each 4 further right
    maps.confidence[0, 0, 5, 10] = torch.nan
    maps.confidence[0, 0, 5, 11] = torch.inf
    maps.distances[0, 2, 5, 12] = torch.nan
    maps.distances[0, 1, 5, 13] = torch.inf
    maps.angle[0, 0, 5, 14] = torch.nan
    quads, scores = decode(maps)[0]
    assert np.allclose(quads, [box(50, 10, 70, 30)])  # of the last cell alone
    assert (scores < 1).all()
    assert [len(quads) for quads, _ in decode(Prediction(*(each * torch.nan for each in maps)))] == [0]
    assert decode(Prediction(*(each[:0] for each in maps))) == []


@pytest.mark.parametrize("threshold", [0, 1])
def test_thresholds_at_their_ends(threshold):
    maps = hide_padding(blank(8, 8), [(16, 16)])
    maps.distances[:] = 1.5
    quads, _ = decode(maps, threshold, 0.2)[0]
    assert np.isfinite(quads).all()
    assert (len(quads) > 1) == (threshold == 0)


def test_incomplete_words_are_left_out():
    """A word of which less than the share has voted: half of its columns, all of them at half the probability."""
    words = words_of(box(20, 20, 180, 60), box(20, 80, 180, 120))
    maps = as_prediction(encode(words, 160, 200))
    maps.confidence[0, 0, 15:, ::3] = -9
    maps.confidence[0, 0, 15:, 1::3] = -9
    assert len(decode(maps, 0.5, 0.2)[0][0]) == 2
    (quad,), _ = decode(maps, 0.5, 0.2, 0.5)[0]
    assert np.allclose(quad, words.quads[0], atol=1e-3)
    assert len(decode(maps, 0.5, 0.2, 0.2)[0][0]) == 2
    assert len(decode(maps, *Thresholds())[0][0]) == 1


@pytest.mark.parametrize("size", [(160, 40), (40, 160), (24, 10), (300, 8), (9, 9)])
@pytest.mark.parametrize("angle", [0, 20, 40])
def test_words_as_trained_are_complete(size, angle):
    """Their weight is the number of core cells, as far as a grid of 4 pixels can count them."""
    (width, height), turn = size, np.deg2rad(angle)
    along, down = np.array([np.cos(turn), -np.sin(turn)]), np.array([np.sin(turn), np.cos(turn)])
    corners = [(-width, -height), (width, -height), (width, height), (-width, height)]
    quad = np.array([180 + x / 2 * along + y / 2 * down for x, y in corners])
    target = encode(words_of(quad), 352, 352)
    count = float(target.score_map.sum())
    assert count >= min(core_cells(quad[None], 88, 88)[0], 1) * 0.5 or count == 0
    if count >= 8:
        assert count == pytest.approx(core_cells(quad[None], 88, 88)[0], rel=0.3)
        assert len(decode(as_prediction(target), 0.5, 0.2, 0.5)[0][0]) == 1


def test_of_a_word_beyond_the_maps_only_the_visible_part_counts():
    whole, cut = core_cells(np.array([box(0, 0, 400, 100), box(-200, 0, 200, 100)], float), 40, 200)
    assert whole == pytest.approx(340 * 40 / 16)
    assert cut == pytest.approx(whole / 2)
