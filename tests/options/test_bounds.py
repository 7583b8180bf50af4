"""Values that no machine has the memory for are refused in one line, before anything is read."""

import pytest

from utils.data.augmentation import LONGEST, MOST_FRAME_PIXELS, MOST_SIDE, TrainTransform, WholeFrame
from utils.errors import UserError

LINES: dict[str, list[tuple[str, float]]] = {
    "test_sample.py": [("--short-side", 60_000), ("--multi-scale", 5000), ("--batch-size", 10**6)],
    "detect.py": [("--short-side", 4097)],
    "prune.py": [("--short-side", 60_000), ("--crop", 8000), ("--batch-size", 10**6)],
    "train_sample.py": [
        ("--short-side", 60_000),
        ("--val-short-side", 60_000),
        ("--crop", 60_000),
        ("--batch-size", 10**6),
        ("--num-workers", 10**6),
        ("--sample-ratio", 1e9),
    ],
}


@pytest.mark.parametrize(("script", "option", "value"), [(name, *pair) for name in LINES for pair in LINES[name]])
def test_options(refuses, script, option, value):
    refuses(script, option, value, parts=[f"argument {option}", "expected a"])


@pytest.mark.parametrize(
    "make",
    [
        lambda side: WholeFrame(side),
        lambda side: TrainTransform(short_side=side),
        lambda side: TrainTransform(crop=side),
    ],
)
def test_transforms(make):
    make(MOST_SIDE)
    with pytest.raises(UserError, match=f"{MOST_SIDE}"):
        make(MOST_SIDE + 4)


def test_a_whole_frame_has_a_largest_number_of_pixels():
    """A frame of usual shape is resized to its short side; a long strip at a large short side is not."""
    for size in ((1080, 1920), (1920, 1080), (2160, 3840), (3, 4)):
        for side in (280, 1080, 4096):
            assert WholeFrame(side).shrinkage(*size) == min(size) / side
    assert WholeFrame(280).shrinkage(10, 10_000) == 10_000 / LONGEST / 280
    factor = WholeFrame(4096).shrinkage(1000, 10_000)
    assert 1000 * 10_000 / factor**2 == pytest.approx(MOST_FRAME_PIXELS)
