import cv2
import numpy as np
import pytest

from utils.data.augmentation import TrainTransform, WholeFrame, invert, recolour, transform_points, warp
from utils.errors import UserError
from utils.maps import PADDING_COLOUR


def dots(height: int, width: int, points: np.ndarray) -> np.ndarray:
    """A black picture with a soft white dot at each point."""
    y, x = np.mgrid[:height, :width]
    picture = sum(np.exp(-((x - px) ** 2 + (y - py) ** 2) / 40) for px, py in points)
    return np.repeat((picture * 255).clip(0, 255).astype(np.uint8)[..., None], 3, 2)


def dot_at(image: np.ndarray, near: np.ndarray) -> np.ndarray:
    """Centre of brightness around a place."""
    x, y = np.rint(near).astype(int)
    window = image[max(y - 12, 0) : y + 13, max(x - 12, 0) : x + 13, 0].astype(float)
    rows, columns = np.mgrid[: window.shape[0], : window.shape[1]]
    total = window.sum()
    return np.array([(columns * window).sum() / total + max(x - 12, 0), (rows * window).sum() / total + max(y - 12, 0)])


@pytest.mark.parametrize(("height", "width"), [(450, 600), (720, 1280), (1600, 1200), (200, 300)])
def test_points_go_where_the_pixels_go(height, width):
    point = np.array([[width * 0.5, height * 0.5]])
    picture = dots(height, width, point)
    rng = np.random.default_rng(0)
    seen = 0
    for _ in range(40):
        image, matrix, size = TrainTransform()(picture, rng)
        assert image.shape == (280, 280, 3)
        assert size == (280, 280)
        moved = transform_points(point, matrix)[0]
        if (moved > 20).all() and (moved < 260).all():
            seen += 1
            assert dot_at(image, moved) == pytest.approx(moved, abs=0.35)
            assert transform_points(moved[None], invert(matrix)) == pytest.approx(point)
    assert seen > 10


def test_one_warp_equals_the_steps_one_after_the_other():
    """Resize, rotate, stretch, crop in floating point, each resampling on its own; where all pixels are inside."""
    rng = np.random.default_rng(1)
    coarse = rng.uniform(0, 255, (20, 28, 3)).astype(np.float32)
    picture = cv2.resize(coarse, (640, 480), interpolation=cv2.INTER_CUBIC).clip(0, 255).astype(np.uint8)
    for seed in range(8):
        transform = TrainTransform()
        image, matrix, _ = transform(picture, np.random.default_rng(seed))
        same = np.random.default_rng(seed)
        angle, stretch = same.uniform(-10, 10), same.uniform(0.9, 1.1)
        resized = cv2.resize(picture.astype(np.float32), (427, 320), interpolation=cv2.INTER_AREA)
        turn = cv2.getRotationMatrix2D((213, 159.5), angle, 1)
        turned = cv2.warpAffine(resized, turn, (427, 320), borderMode=cv2.BORDER_CONSTANT, borderValue=(-999,) * 3)
        height = round(320 * stretch)
        stretched = cv2.resize(turned, (427, height), interpolation=cv2.INTER_LINEAR)
        left, top = same.integers(0, 147, endpoint=True), same.integers(0, height - 280, endpoint=True)
        expected = stretched[top : top + 280, left : left + 280]
        inside = expected.min(2) >= 0
        assert inside.mean() > 0.8
        assert np.abs(image.astype(float) - expected)[inside].mean() < 1.5
        assert matrix.shape == (2, 3)


def test_every_crop_position_is_drawn_the_last_one_too():
    transform = TrainTransform(short_side=100, rotation=0, stretch=(1, 1), crop=96)
    offsets = set()
    rng = np.random.default_rng(0)
    for _ in range(400):
        matrix = transform.matrix(100, 102, rng)
        assert matrix[:, :2] == pytest.approx(np.eye(2))
        offsets.add((round(-matrix[0, 2]), round(-matrix[1, 2])))
    assert offsets == {(x, y) for x in range(7) for y in range(5)}


def test_the_parameters_mean_what_they_say():
    transform, rng = TrainTransform(), np.random.default_rng(0)
    angles, stretches = [], []
    for _ in range(500):
        linear = transform.matrix(640, 640, rng)[:, :2] / 0.5
        stretches.append(abs(np.linalg.det(linear)))
        angles.append(np.degrees(np.arctan2(linear[0, 1], linear[0, 0])))
    assert -10 <= min(angles) < -9
    assert 9 < max(angles) <= 10
    assert min(stretches) == pytest.approx(0.9, abs=0.01)
    assert max(stretches) == pytest.approx(1.1, abs=0.01)


def test_scale_is_a_factor_on_the_short_side():
    transform, rng = TrainTransform(rotation=0, stretch=(1, 1), scale=(0.5, 2)), np.random.default_rng(0)
    factors = [transform.matrix(640, 640, rng)[0, 0] / 0.5 for _ in range(500)]
    assert min(factors) == pytest.approx(0.5, abs=0.02)
    assert max(factors) == pytest.approx(2, abs=0.05)
    assert np.mean(np.array(factors) < 1) == pytest.approx(0.5, abs=0.07)
    assert transform.shrinkage(640, 640) == 1


def test_a_frame_of_less_than_a_pixel_is_one_of_a_pixel():
    image = np.full((40, 60, 3), 9, np.uint8)
    for options in ({"stretch": (0.1, 0.1)}, {"scale": (0.05, 0.05)}, {"stretch": (0.1, 0.1), "scale": (0.05, 0.05)}):
        picture, matrix, _ = TrainTransform(1, crop=68, rotation=0, **options)(image, np.random.default_rng(0))
        assert picture.shape == (68, 68, 3)
        assert (np.diag(matrix[:, :2]) > 0).all()


def test_crops_around_words():
    word = np.array([[[900.0, 40], [940, 40], [940, 60], [900, 60]]])
    for share, low, high in ((0, 0.0, 0.15), (0.5, 0.4, 0.65), (1, 1.0, 1.0)):
        transform, rng = TrainTransform(short_side=720, crop=128, word_crops=share), np.random.default_rng(0)
        centres = [transform_points(word[0].mean(0), transform.matrix(720, 1280, rng, word)) for _ in range(200)]
        assert low <= np.mean([((centre >= -1) & (centre <= 129)).all() for centre in centres]) <= high
    assert np.ptp(centres, 0).min() > 60  # not always in the middle
    nothing = np.zeros((0, 4, 2))
    same = (transform.matrix(720, 1280, np.random.default_rng(3), quads) for quads in (None, nothing))
    assert np.array_equal(*same)


def test_light_and_colour_change_pixels_but_not_places():
    y, x = np.mgrid[:300, :300]
    picture = np.dstack([y % 256, x % 256, np.full_like(x, 90)]).astype(np.uint8)
    plain = TrainTransform()(picture, np.random.default_rng(1))
    means = []
    for seed in range(30):
        changed = TrainTransform(colour=0.5)(picture, np.random.default_rng(seed))
        means.append(changed.image.mean((0, 1)))
        if seed == 1:
            assert np.array_equal(changed.matrix, plain.matrix)
            assert not np.array_equal(changed.image, plain.image)
    assert np.std(means, 0).min() > 5
    assert np.array_equal(recolour(picture, np.random.default_rng(0), 0.0), picture)


def test_shrinking_does_not_alias():
    """Stripes finer than the result can show become nearly even grey, not patterns."""
    picture = np.zeros((720, 1280, 3), np.uint8)
    picture[:, ::2] = 255
    for factor in (0.6, 0.45, 0.35, 0.24, 0.1):
        size = int(600 * factor)
        matrix = np.array([[factor, 0, 0], [0, factor, 0.0]])
        ours = warp(picture, matrix, size, size)[5:-5, 5:-5]
        assert ours.mean() == pytest.approx(127.5, abs=3)
        assert ours.std() < 25, factor  # the stripes' own: 127.5


@pytest.mark.parametrize("shape", [(720, 1280), (1280, 720), (280, 280), (33, 1000), (1000, 33), (1, 1), (281, 499)])
def test_whole_frames_of_any_shape(shape):
    picture = np.full((*shape, 3), 200, np.uint8)
    image, matrix, size = WholeFrame(280)(picture)
    assert image.shape[0] % 32 == image.shape[1] % 32 == 0
    assert min(size) == 280
    assert (image[: size[0], : size[1]] == 200).all()
    assert (image[size[0] :] == PADDING_COLOUR).all()
    assert (image[:, size[1] :] == PADDING_COLOUR).all()
    corner = np.array([[shape[1] - 0.5, shape[0] - 0.5]])
    assert transform_points(corner, matrix)[0] == pytest.approx([size[1] - 0.5, size[0] - 0.5])


@pytest.mark.parametrize(
    "options",
    [
        {"crop": 64},
        {"crop": 283},
        {"rotation": 60},
        {"stretch": (1.1, 0.9)},
        {"short_side": 0},
        {"scale": (0, 1)},
        {"word_crops": 2},
        {"colour": -1},
    ],
)
def test_odd_parameters_are_refused(options):
    with pytest.raises(UserError):
        TrainTransform(**options)
