import cv2
import numpy as np
import pytest
import shapely

from tests.helpers import random_quads
from utils.geometry import (
    min_area_rectangles,
    pairwise_iou,
    self_crossing,
    signed_areas,
    sort_around_centre,
)

SQUARE = np.array([[0, 0], [2, 0], [2, 2], [0, 2.0]])


def test_signed_area_is_positive_clockwise_on_the_picture():
    assert signed_areas(SQUARE[None]) == pytest.approx(4)
    assert signed_areas(SQUARE[None, ::-1]) == pytest.approx(-4)


def test_bow_tie_is_found_and_sorted():
    bow_tie = SQUARE[[0, 2, 1, 3]]
    assert self_crossing(np.stack([SQUARE, bow_tie])).tolist() == [False, True]
    assert np.array_equal(sort_around_centre(bow_tie[None])[0], SQUARE)


@pytest.mark.parametrize("frame", [None, (100.0, 80.0)])
def test_min_area_rectangle_is_the_smallest(frame):
    """As large as the best of 1800 directions around the intersection that shapely finds."""
    quads = random_quads(60)
    rectangles = min_area_rectangles(quads, frame)
    for number, quad in enumerate(quads):
        shape = shapely.Polygon(quad)
        if frame:
            shape = shapely.intersection(shape, shapely.box(0, 0, *frame))
            if shape.area == 0:
                assert rectangles.low[number, 0] > rectangles.high[number, 0]
                continue
        points = np.array(shape.exterior.coords)
        areas = []
        for turn in np.linspace(0, np.pi / 2, 1800):
            turned = points @ np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
            areas.append(np.prod(np.ptp(turned, axis=0)))
        area = rectangles.sizes[number].prod()
        assert area <= min(areas) * 1.0001
        assert area == pytest.approx(min(areas), rel=0.02)
        assert shapely.Polygon(rectangles.corners()[number]).buffer(1e-6).contains(shape)


def test_min_area_rectangle_agrees_with_opencvs_corners():
    """With the corners that OpenCV finds, whatever its angle means in this version."""
    for quad in random_quads(50, seed=3).astype(np.float32):
        theirs = cv2.boxPoints(cv2.minAreaRect(quad))
        ours = min_area_rectangles(quad[None]).sizes[0].prod()
        assert ours <= abs(signed_areas(theirs[None].astype(float))[0]) * 1.001


@pytest.mark.parametrize("degrees", [-44, -30, -1, 0, 1, 30, 44])
def test_theta_is_positive_where_the_right_end_is_higher(degrees):
    turn = np.radians(degrees)
    right, down = np.array([np.cos(turn), -np.sin(turn)]), np.array([np.sin(turn), np.cos(turn)])
    across, upright = 20 * right, 5 * down
    corners = [-across - upright, across - upright, across + upright, -across + upright]
    quad = np.array([50, 50]) + np.array(corners)
    assert (quad[1, 1] < quad[0, 1]) == (degrees > 0)  # y points down: the right end is higher
    rectangle = min_area_rectangles(quad[None])
    assert rectangle.theta[0] == pytest.approx(turn)
    assert rectangle.sizes[0] == pytest.approx([40, 10])
    assert rectangle.corners()[0] == pytest.approx(quad)


def test_rectangle_beyond_45_degrees_is_described_from_its_neighbouring_side():
    turn = np.radians(60)
    right, down = np.array([np.cos(turn), -np.sin(turn)]), np.array([np.sin(turn), np.cos(turn)])
    quad = np.array([-20 * right - 5 * down, 20 * right - 5 * down, 20 * right + 5 * down, -20 * right + 5 * down])
    rectangle = min_area_rectangles(quad[None])
    assert np.degrees(rectangle.theta[0]) == pytest.approx(-30)
    assert rectangle.sizes[0] == pytest.approx([10, 40])


def test_iou_equals_shapelys():
    first, second = random_quads(2000, seed=1), random_quads(2000, seed=2)
    second[:500] = first[:500] + np.random.default_rng(0).normal(0, 5, (500, 1, 2))
    second[500:600] = first[500:600]
    second[600:700] = (first[600:700] + np.roll(first[600:700], 1, 1)) / 2  # corners on the other's sides
    second[700:800] = first[700:800] * 0.5 + first[700:800, :1] * 0.5  # two sides on the same lines
    a, b = shapely.polygons(first), shapely.polygons(second)
    expected = shapely.area(shapely.intersection(a, b)) / shapely.area(shapely.union(a, b))
    assert (expected > 0).mean() > 0.3
    assert pairwise_iou(first, second) == pytest.approx(expected, abs=2e-5)
