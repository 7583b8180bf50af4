import json

import cv2
import numpy as np
import pytest

from tests.helpers import box, words_of
from tools.inspect_errors import TILE, crop
from utils.evaluation.error_causes import Error, find_errors, format_errors
from utils.evaluation.protocol import match

WORD = box(100, 100, 180, 120)
STEEP = [[100, 180], [100, 100], [120, 100], [120, 180]]
"""Written upwards."""


def causes(words, detections, **more) -> list[tuple[bool, str]]:
    errors = find_errors(words, np.array(detections, float).reshape(-1, 4, 2), **more)
    return [(error.missed, error.cause) for error in errors]


def test_no_errors():
    assert causes(words_of(WORD), [box(102, 99, 181, 121)]) == []
    assert causes(words_of(WORD, ignored=[0]), [box(102, 99, 160, 121)]) == []
    assert causes(words_of(), []) == []


@pytest.mark.parametrize(
    ("words", "detections", "expected"),
    [
        (
            [WORD, box(190, 100, 270, 120)],
            [box(100, 100, 270, 120)],
            [(True, "merged"), (True, "merged"), (False, "merged")],
        ),
        (
            [WORD],
            [box(100, 100, 138, 120), box(142, 100, 180, 120)],
            [(True, "split"), (False, "split"), (False, "split")],
        ),
        ([WORD], [WORD, box(100, 100, 150, 120)], [(False, "duplicate")]),
        ([WORD], [box(100, 100, 138, 120)], [(True, "one side"), (False, "one side")]),
        ([WORD], [box(100, 100, 350, 120)], [(True, "one side"), (False, "one side")]),
        ([WORD], [box(120, 107, 200, 127)], [(True, "near miss"), (False, "near miss")]),
        ([WORD], [box(150, 112, 230, 132)], [(True, "not found"), (False, "far off")]),
        ([WORD], [box(300, 112, 380, 132)], [(True, "not found"), (False, "not text")]),
        ([STEEP], [], [(True, "steep")]),
    ],
)
def test_causes(words, detections, expected):
    assert causes(words_of(*words), detections) == expected


def test_small_is_measured_in_the_networks_input():
    assert causes(words_of(WORD), [], scale=0.3) == [(True, "small")]
    assert causes(words_of(WORD), [], scale=0.5) == [(True, "not found")]


def test_beside_a_dont_care_word():
    words = words_of(WORD, ignored=[0])
    assert causes(words, [box(150, 110, 250, 150)]) == [(False, "don't-care")]


def test_errors_are_those_of_the_protocol():
    """On random words and detections: what has no match and counts, no more and no less."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        corners = rng.uniform(0, 120, (12, 2))
        quads = [box(x, y, x + width, y + 12) for (x, y), width in zip(corners, rng.uniform(10, 60, 12), strict=True)]
        words, detections = words_of(*quads[:6], ignored=[1, 4]), np.array(quads[:4] + quads[6:]) + rng.normal(0, 3)
        errors, matching = find_errors(words, detections), match(words, detections)
        matched = {word for word, _ in matching.pairs}, {detection for _, detection in matching.pairs}
        assert [error.number for error in errors if error.missed] == sorted({0, 2, 3, 5} - matched[0])
        counted = set(np.flatnonzero(~matching.ignored_detections).tolist())
        assert [error.number for error in errors if not error.missed] == sorted(counted - matched[1])


def test_table():
    table = format_errors([Error(True, 0, "split", 0.2), Error(True, 1, "split", 0.1), Error(False, 0, "not text", 0)])
    assert "missed words  2  share" in table
    assert "split         2  1.000" in table
    assert "not text      1  1.000" in table


def test_command(rendered, small_checkpoint, tmp_path, run_script, refuses):
    line = ("-m", "tools.inspect_errors", small_checkpoint, rendered / "frames", "--short-side", 64)
    output = run_script(*line, "--score-threshold", 0.3, "--out", tmp_path / "out").stdout
    assert "hmean" in output
    errors = [json.loads(line) for line in (tmp_path / "out" / "errors.jsonl").read_text().splitlines()]
    assert errors
    for kind, name in (("missed word", "missed"), ("false alarm", "false")):
        of_kind = [error for error in errors if error["kind"] == kind]
        title = "missed words" if kind == "missed word" else "false alarms"
        assert f"{title:<12} {len(of_kind):>5}".split() == output[output.index(title) :].split()[:3]
        causes = {error["cause"].replace(" ", "_").replace("'", "") for error in of_kind}
        sheets = {f"{name}_{cause}.png" for cause in causes}
        assert sheets <= {path.name for path in (tmp_path / "out").iterdir()}
    run_script(*line, "--score-threshold", 0.3, "--out", tmp_path / "out")  # in place of the earlier ones
    refuses(*line, "--out", rendered / "frames", parts=["frames"])


@pytest.mark.parametrize("word", [(69_900, 10, 69_990, 40), (60_000, 80, 60_090, 110), (50, 10, 69_000, 90)])
def test_crops_of_a_picture_longer_than_opencv_warps(word):
    """They show the word, and black beyond the picture."""
    picture = np.full((100, 70_000, 3), 60, np.uint8)
    left, top, right, bottom = word
    picture[top:bottom, left:right] = 200
    tile = crop(picture, np.array(box(*word), float))[2:-2, 2:-2]
    assert tile.shape == (TILE[0] - 4, TILE[1] - 4, 3)
    (rows,) = np.nonzero(tile[:, TILE[1] // 2 - 2, 0])
    shown = tile[rows, TILE[1] // 2 - 2, 0]
    assert shown.max() > (150 if right - left < 1000 else 40)
    assert (rows[-1] < len(tile) - 1) == (word != (69_900, 10, 69_990, 40))


def test_a_crop_is_the_part_around_the_word():
    picture = np.random.default_rng(0).integers(0, 255, (400, 600, 3), np.uint8)
    tile = crop(picture, np.array(box(270, 190, 330, 210), float))  # 120 x 80 pixels, twice as large
    part = cv2.resize(picture[160:240, 240:360], TILE[::-1], interpolation=cv2.INTER_NEAREST)
    assert np.array_equal(tile[20:-20:2, 20:-20:2], part[20:-20:2, 20:-20:2])
    assert not crop(picture, np.array(box(-900, -900, -880, -890), float))[2:-2, 2:-2].any()
