"""The ICDAR 2015 protocol on cases computed by hand."""

import numpy as np
import pytest

from tests.helpers import box, words_of
from utils.evaluation import evaluate


def quads(*boxes) -> np.ndarray:
    return np.array(boxes, float).reshape(-1, 4, 2)


def test_counts_add_up_over_images():
    truth = [words_of(box(0, 0, 100, 20), box(0, 50, 100, 70)), words_of(box(0, 0, 50, 50))]
    found = [quads(box(0, 0, 100, 20), box(300, 0, 400, 20)), quads()]
    result = evaluate(truth, found)
    assert result == pytest.approx((1 / 2, 1 / 3, 2 * (1 / 2) * (1 / 3) / (1 / 2 + 1 / 3), 1, 3, 2))


def test_iou_must_be_above_one_half():
    truth = [words_of(box(0, 0, 100, 20))]
    assert evaluate(truth, [quads(box(0, 0, 50, 20))]).matched == 0  # exactly 0.5
    assert evaluate(truth, [quads(box(0, 0, 51, 20))]).matched == 1


def test_one_to_one():
    truth = [words_of(box(0, 0, 100, 20))]
    result = evaluate(truth, [quads(box(0, 0, 100, 20), box(1, 0, 100, 20))])
    assert (result.precision, result.recall) == (0.5, 1)


def test_matching_takes_the_first_in_file_order():
    """Not the best one: the first word takes the first detection, which leaves none for the second."""
    truth = [words_of(box(0, 0, 100, 20), box(20, 0, 120, 20))]
    result = evaluate(truth, [quads(box(10, 0, 110, 20), box(0, 0, 75, 20))])
    assert result.matched == 1


def test_dont_care():
    truth = [words_of(box(0, 0, 100, 20), box(0, 50, 100, 70), ignored=[1])]
    found = quads(box(0, 0, 100, 20), box(0, 50, 30, 70), box(0, 40, 100, 60), box(0, 39, 100, 59))
    result = evaluate(truth, [found])
    # the second lies inside the don't-care word; of the third exactly half of the area does, of the last less
    assert (result.matched, result.words, result.detections) == (1, 1, 3)


def test_a_dont_care_word_takes_a_detection_that_would_match():
    truth = [words_of(box(0, 0, 100, 20), box(0, 0, 100, 20), ignored=[1])]
    result = evaluate(truth, [quads(box(0, 0, 100, 20))])
    assert (result.matched, result.words, result.detections) == (0, 1, 0)


def test_empty_sets():
    assert evaluate([words_of()], [quads()]) == (0, 0, 0, 0, 0, 0)
    assert evaluate([words_of(box(0, 0, 9, 9), ignored=[0])], [quads(box(0, 0, 9, 9))]).detections == 0
    assert evaluate([], []).hmean == 0


def test_rotated_and_odd_polygons():
    turned = np.array([[50, 0], [100, 50], [50, 100], [0, 50]])
    assert evaluate([words_of(turned)], [quads(turned[[1, 2, 3, 0]])]).hmean == 1
    bow_tie = turned[[0, 2, 1, 3]]  # its shoelace area is 0: the halves cancel
    assert evaluate([words_of(turned)], [quads(bow_tie)]).matched == 1
    assert evaluate([words_of(bow_tie)], [quads(bow_tie)]).matched == 0  # the union would be negative
    assert evaluate([words_of(turned)], [quads([[5, 5]] * 4)]).detections == 1


def test_the_output_of_decode_is_accepted():
    truth = [words_of(box(0, 0, 100, 20))]
    assert evaluate(truth, [(quads(box(0, 0, 100, 20)), np.array([0.9]))]).hmean == 1


def test_coordinates_are_truncated():
    truth = [words_of(box(0, 0, 100, 20))]
    assert evaluate(truth, [quads(box(0, 0, 50.9, 20))]).matched == 0
    assert evaluate(truth, [quads(box(-0.9, 0, 51.1, 20.9))]).matched == 1
    with pytest.raises(ValueError, match="not finite"):
        evaluate(truth, [quads(box(0, 0, np.nan, 20))])
