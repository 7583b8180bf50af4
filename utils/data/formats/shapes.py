"""Outlines as annotation files describe them -> corners."""

import math

import numpy as np

from utils.geometry import sort_around_centre


def box_corners(left: float, top: float, right: float, bottom: float) -> np.ndarray:
    """(4, 2) corners of an upright box, clockwise from the top-left one."""
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float64)


def rotated_box(box: np.ndarray, degrees: float) -> np.ndarray:
    """(4, 2) corners of a box (left, top, right, bottom) turned around its centre, clockwise on the picture."""
    corners = box_corners(*box)
    if not degrees % 360:
        return corners
    centre = corners.mean(0)
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return centre + (corners - centre) @ np.array([[cosine, sine], [-sine, cosine]])


def smallest_rectangle(points: np.ndarray) -> np.ndarray:
    """The rotated rectangle of least area around (K, 2) finite points.

    Returns (4, 2) corners, clockwise, starting with the corner nearest to the first point. One of its sides lies
    along an edge of the points' convex hull. All points on one line give a rectangle without area.
    """
    points = np.asarray(points, np.float64)
    hull = convex_hull(points)
    edges = np.roll(hull, -1, 0) - hull
    lengths = np.hypot(*edges.T)
    edges = edges[lengths > 0] / lengths[lengths > 0, None]
    if not len(edges):
        return np.repeat(points[:1], 4, 0)
    across = np.stack([-edges[:, 1], edges[:, 0]], 1)
    along, down = hull @ edges.T, hull @ across.T  # (corner of the hull, direction)
    areas = np.ptp(along, 0) * np.ptp(down, 0)
    alike = np.flatnonzero(areas <= areas.min() * (1 + 1e-9))
    best = int(alike[np.argmax(np.abs(edges[alike]).max(1))])  # of equal areas the most upright one
    low, high = ([values[:, best].min(), values[:, best].max()] for values in (along, down))
    extents = np.array([[low[0], high[0]], [low[1], high[0]], [low[1], high[1]], [low[0], high[1]]])
    corners = sort_around_centre((extents @ np.stack([edges[best], across[best]]))[None])[0]
    start = int(np.argmin(np.hypot(*(corners - points[0]).T)))
    return np.roll(corners, -start, 0)


def convex_hull(points: np.ndarray) -> np.ndarray:
    """(H, 2) corners of the convex hull, in order (Andrew's monotone chain)."""
    ordered = sorted(set(map(tuple, points.tolist())))
    if len(ordered) < 3:
        return np.array(ordered)
    return np.array(_half_hull(ordered)[:-1] + _half_hull(ordered[::-1])[:-1])


def _half_hull(ordered: list[tuple[float, float]]) -> list[tuple[float, float]]:
    chain: list[tuple[float, float]] = []
    for x, y in ordered:
        while len(chain) >= 2:
            (ax, ay), (bx, by) = chain[-2:]
            if (bx - ax) * (y - ay) - (by - ay) * (x - ax) > 0:
                break
            chain.pop()
        chain.append((x, y))
    return chain
