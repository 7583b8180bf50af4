"""Words followed through rendered frames with known motion: accuracy, numbers, gaps, cuts, borders."""

import cv2
import numpy as np
import pytest

from utils.geometry import pairwise_iou
from utils.rendering.scenes import Studio, Style, draw_scene
from utils.tracking.flow import FlowPicture, follow_points
from utils.tracking.tracker import WordTracker, is_convex, match_quads, same_corners, visible_shares

HEIGHT, WIDTH = 240, 320


@pytest.fixture(scope="module")
def wall():
    """A scene of 480x640 with words."""
    style = Style(size=(480, 640), words=(12, 16), heights=(12.0, 40.0), usual_height=20.0)
    return draw_scene(np.random.default_rng(3), Studio(), style)


def camera(number: int) -> np.ndarray:
    """(2, 3) map from the wall to frame `number`: it pans, zooms and turns."""
    matrix = cv2.getRotationMatrix2D((320, 240), 6 * np.sin(number / 9), 1 + 0.1 * np.sin(number / 7))
    matrix[:, 2] += [WIDTH / 2 - 320 + 40 * np.sin(number / 6), HEIGHT / 2 - 240 + 20 * np.cos(number / 8)]
    return matrix


def frame(wall, number: int, gain: float = 1.0) -> np.ndarray:
    picture = cv2.warpAffine(wall.picture, camera(number), (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR)
    noise = np.random.default_rng(number).normal(0, 2, picture.shape)
    return np.clip(gain * picture + noise, 0, 255).astype(np.uint8)


def truth(wall, number: int) -> np.ndarray:
    matrix = camera(number)
    return wall.quads @ matrix[:, :2].T + matrix[:, 2]


def visible(wall, number: int, least: float = 0.99) -> np.ndarray:
    return visible_shares(truth(wall, number), (HEIGHT, WIDTH)) > least


def overlaps(wall, tracker: WordTracker, words: np.ndarray, number: int) -> np.ndarray:
    """IoU of each tracked word with the truth; words: wall's index of each track."""
    tracked = tracker.words()
    places = np.array([word.quad for word in tracked]).reshape(-1, 4, 2)
    return pairwise_iou(places, truth(wall, number)[words[[word.track for word in tracked]]])


def test_words_move_with_the_picture(wall):
    tracker, words = WordTracker(), np.flatnonzero(visible(wall, 0))
    assert len(words) >= 3
    tracker.advance(frame(wall, 0))
    assert tracker.add(truth(wall, 0)[words]) == list(range(len(words)))
    for number in range(1, 40):
        tracker.advance(frame(wall, number))
        assert (overlaps(wall, tracker, words, number) > 0.8).all()
    ends = {word.track for word in tracker.words()}
    assert {each for each, word in enumerate(words) if visible(wall, 39)[word]} <= ends
    assert all(word.reliability > 0.1 and not word.detected for word in tracker.words())


def test_exposure_changes_and_a_frame_is_lost(wall):
    tracker, words = WordTracker(), np.flatnonzero(visible(wall, 0))
    tracker.advance(frame(wall, 0))
    tracker.add(truth(wall, 0)[words])
    for number in range(1, 20):
        picture = (
            np.full((HEIGHT, WIDTH, 3), 90, np.uint8) if number in (8, 9) else frame(wall, number, 1 - number / 40)
        )
        tracker.advance(picture)
        if number in (8, 9):
            assert all(word.reliability == 0 for word in tracker.words())
    assert len(tracker.words()) >= 3
    assert (overlaps(wall, tracker, words, 19) > 0.8).all()


def test_a_cut_ends_all_words(wall):
    tracker = WordTracker(gap=3)
    tracker.advance(frame(wall, 0))
    tracker.add(truth(wall, 0)[visible(wall, 0)])
    other = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
    for _ in range(3):
        tracker.advance(other)
        assert all(word.reliability == 0 for word in tracker.words())
    tracker.advance(other)
    assert tracker.words() == []
    tracker.advance(other[:100])
    assert tracker.words() == []


def test_another_word_at_a_lost_words_place_is_another_word(wall):
    tracker, words = WordTracker(), np.flatnonzero(visible(wall, 0))
    tracker.advance(frame(wall, 0))
    first = tracker.update(truth(wall, 0)[words], np.full(len(words), 0.9))
    tracker.advance(np.full((HEIGHT, WIDTH, 3), 90, np.uint8))
    tracker.advance(frame(wall, 2))
    assert tracker.update(truth(wall, 2)[words], np.full(len(words), 0.9)) == first
    tracker.advance(cv2.flip(frame(wall, 3), -1))
    places = np.array([word.quad for word in tracker.words()])
    assert not set(tracker.update(places, np.full(len(places), 0.9))) & set(first)


def test_detections_keep_their_numbers_and_are_averaged(wall):
    rng, tracker = np.random.default_rng(1), WordTracker()
    words = np.flatnonzero(visible(wall, 0))
    errors = []
    for number in range(12):
        tracker.advance(frame(wall, number))
        found = truth(wall, number)[words] + rng.normal(0, 1.5, (len(words), 4, 2))
        turned = np.roll(found, number % 4, axis=1)  # a detector may begin at another corner
        assert tracker.update(turned, np.full(len(words), 0.8)) == list(range(len(words)))
        means = np.array([word.quad for word in tracker.words()])
        whole = visible(wall, number)[words]
        errors.append([np.abs(each - truth(wall, number)[words])[whole].mean() for each in (found, means)])
    assert np.mean(errors[4:], 0)[1] < 0.7 * np.mean(errors[4:], 0)[0]
    assert all(word.detected and word.detections == 12 and word.score == pytest.approx(0.8) for word in tracker.words())


def test_words_given_by_hand_keep_their_shape(wall):
    tracker, words = WordTracker(), np.flatnonzero(visible(wall, 0))
    tracker.advance(frame(wall, 0))
    tracker.add(truth(wall, 0)[words])
    before = np.array([word.quad for word in tracker.words()])
    tracker.update(before + 2.0, np.full(len(words), 0.9))
    assert np.array_equal(np.array([word.quad for word in tracker.words()]), before)
    assert all(word.score == 1 and word.detected for word in tracker.words())


def test_a_word_that_leaves_the_picture_ends(wall):
    tracker, words = WordTracker(), np.flatnonzero(visible(wall, 0))
    tracker.advance(frame(wall, 0))
    tracker.add(truth(wall, 0)[words])
    picture = frame(wall, 0)
    for step in range(1, 30):
        moved = np.float32([[1, 0, -12 * step], [0, 1, 0]])
        tracker.advance(cv2.warpAffine(picture, moved, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REFLECT))
    assert tracker.words() == []


def test_points_come_back_to_their_place(wall):
    before, after = (FlowPicture(frame(wall, number)) for number in (0, 1))
    quad = truth(wall, 0)[visible(wall, 0)][0]
    points = before.choose_points(quad)
    assert len(points) > 6
    moved, good = follow_points(before, after, points, np.zeros_like(points))
    inverse = cv2.invertAffineTransform(camera(0))
    on_wall = points @ inverse[:, :2].T + inverse[:, 2]
    expected = on_wall @ camera(1)[:, :2].T + camera(1)[:, 2]
    assert good.mean() > 0.7
    assert np.median(np.linalg.norm(moved - expected, axis=1)[good]) < 0.3
    assert before.choose_points(quad + 5000).shape == (0, 2)


def test_geometry():
    square = np.array([[0, 0], [10, 0], [10, 10], [0, 10]], float)
    quads = np.stack([square, square + 100])
    assert match_quads(quads, np.stack([square + 101, square + 1])) == [(0, 1), (1, 0)]
    assert match_quads(quads, np.zeros((0, 4, 2))) == []
    assert np.array_equal(same_corners(np.roll(square, 3, 0), square), square)
    assert np.allclose(visible_shares(np.stack([square - 5, square, square + 200]), (50, 50)), [0.25, 1, 0], atol=1e-4)
    assert is_convex(square)
    assert not is_convex(square[::-1])
    assert not is_convex(square[[0, 2, 1, 3]])
    assert not is_convex(np.full((4, 2), np.nan))
