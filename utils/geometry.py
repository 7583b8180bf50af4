"""Plane geometry of word quads, vectorised over words.

Coordinates are (x, y) with y pointing down. A quad is (4, 2): four corners, clockwise on the picture.
A rotation ``theta`` is counter-clockwise on the picture: positive when the right end is higher.
"""

from typing import NamedTuple

import numpy as np

_NEXT = [1, 2, 3, 0]
_PAIRS_AT_ONCE = 2048  # the intermediate results of so many pairs fit in a core's cache


def signed_areas(quads: np.ndarray) -> np.ndarray:
    """(N, 4, 2) -> (N,) shoelace areas, positive for corners that run clockwise on the picture."""
    return 0.5 * _cross(quads[..., 2, :] - quads[..., 0, :], quads[..., 3, :] - quads[..., 1, :])


def self_crossing(quads: np.ndarray) -> np.ndarray:
    """(N, 4, 2) -> (N,) bool: two opposite sides cross each other (a bow-tie)."""
    a, b, c, d = (quads[:, corner] for corner in range(4))
    return _segments_cross(a, b, c, d) | _segments_cross(b, c, d, a)


def _segments_cross(p: np.ndarray, q: np.ndarray, r: np.ndarray, s: np.ndarray) -> np.ndarray:
    return (_side(p, q, r) * _side(p, q, s) < 0) & (_side(r, s, p) * _side(r, s, q) < 0)


def _side(p: np.ndarray, q: np.ndarray, point: np.ndarray) -> np.ndarray:
    """Positive if the point lies to the right of p -> q on the picture."""
    return _cross(q - p, point - p)


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def sort_around_centre(quads: np.ndarray) -> np.ndarray:
    """(N, 4, 2) corners in any order -> the same corners clockwise on the picture, the first one still first."""
    offsets = quads - quads.mean(1, keepdims=True)
    turn = np.arctan2(offsets[..., 1], offsets[..., 0])
    turn = (turn - turn[:, :1]) % (2 * np.pi)  # the first corner stays the first
    return np.take_along_axis(quads, np.argsort(turn, 1, kind="stable")[..., None], 1)


class Rectangles(NamedTuple):
    """N rotated rectangles: rotations, and extents along each rectangle's two axes."""

    theta: np.ndarray
    """(N,) rotation in [-pi/4, pi/4]; the width is the side nearest to horizontal."""
    low: np.ndarray
    """(N, 2) smallest coordinate along the width axis (cos, -sin) and the height axis (sin, cos)."""
    high: np.ndarray
    """(N, 2) largest coordinate along the same axes."""

    @property
    def sizes(self) -> np.ndarray:
        """(N, 2) width and height."""
        return self.high - self.low

    @property
    def axes(self) -> np.ndarray:
        """(N, 2, 2) unit vectors of width (to the word's right) and height (downwards)."""
        return rotation_axes(self.theta)

    def corners(self) -> np.ndarray:
        """(N, 4, 2) top-left, top-right, bottom-right, bottom-left."""
        along = np.stack([self.low[:, 0], self.high[:, 0], self.high[:, 0], self.low[:, 0]], 1)
        down = np.stack([self.low[:, 1], self.low[:, 1], self.high[:, 1], self.high[:, 1]], 1)
        with np.errstate(invalid="ignore"):  # the corners of an empty rectangle are nan
            return np.stack([along, down], 2) @ self.axes


def rotation_axes(theta: np.ndarray) -> np.ndarray:
    """(N,) rotations -> (N, 2, 2) unit vectors of width (to the right) and height (downwards)."""
    axes = np.empty((*theta.shape, 2, 2))
    axes[..., 0, 0] = axes[..., 1, 1] = np.cos(theta)
    axes[..., 1, 0] = np.sin(theta)
    axes[..., 0, 1] = -axes[..., 1, 0]
    return axes


_PAIRS = np.triu_indices(4, 1)
"""All pairs of a quad's corners."""
_EQUAL = 1e-9
"""Relative difference of areas below which they are equal."""


def min_area_rectangles(quads: np.ndarray, frame: tuple[float, float] | np.ndarray | None = None) -> Rectangles:
    """The smallest rotated rectangle around each quad, or around the part of it inside a frame.

    quads: (N, 4, 2). frame: (width, height), or (N, 2) of them, of the rectangle from (0, 0) to which they are cut;
    the quads are then taken as convex. A quad with nothing inside gets an empty rectangle (low > high).

    One side of the smallest rectangle lies along an edge of the shape's convex hull, that is, along a line through two
    corners or along the frame's border. All these directions are tried; of equally small rectangles (each triangle has
    three) the one that is rotated least is taken. OpenCV's `minAreaRect` is not used, because
    the meaning of its angle has changed twice.
    """
    quads = np.asarray(quads, dtype=np.float64)
    if frame is None:
        points, valid = quads, np.ones(quads.shape[:2], bool)
    else:
        points, valid = _corners_in_frame(quads, np.broadcast_to(np.asarray(frame, float), (len(quads), 2)))
    edges = quads[:, _PAIRS[1]] - quads[:, _PAIRS[0]]
    theta = np.concatenate([-np.arctan2(edges[..., 1], edges[..., 0]), np.zeros((len(quads), 1))], 1)
    theta = (theta + np.pi / 4) % (np.pi / 2) - np.pi / 4
    axes = rotation_axes(theta).reshape(len(quads), 2 * theta.shape[1], 2)
    along = points @ np.swapaxes(axes, 1, 2)
    along = along.reshape(*points.shape[:2], theta.shape[1], 2)  # (N, point, direction, axis)
    low = np.where(valid[..., None, None], along, np.inf).min(1)
    high = np.where(valid[..., None, None], along, -np.inf).max(1)
    with np.errstate(invalid="ignore"):
        areas = np.where(np.any(valid, 1, keepdims=True), (high - low).prod(-1), 0)
    smallest = areas <= areas.min(1, keepdims=True) * (1 + _EQUAL)
    best = np.argmin(np.where(smallest, np.abs(theta).round(9), np.inf), 1)
    words = np.arange(len(quads))
    return Rectangles(theta[words, best], low[words, best], high[words, best])


def _corners_in_frame(quads: np.ndarray, size: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Candidates for the corners of quad-and-frame intersections: (N, 24, 2) points and (N, 24) validity."""
    ends = quads[:, [1, 2, 3, 0]]
    clockwise = np.where(signed_areas(quads) < 0, -1.0, 1.0)[:, None, None]
    frame_corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * size[:, None]
    sides = _side(quads[:, :, None], ends[:, :, None], frame_corners[:, None])  # (N, edge, frame corner)
    borders = np.stack([np.zeros_like(size), size], 2)[:, None]  # (N, 1, axis, border)
    steps = ends - quads
    with np.errstate(divide="ignore", invalid="ignore"):
        share = (borders - quads[..., None]) / steps[..., None]  # (N, edge, axis, border)
    hit = (share >= 0) & (share <= 1)
    crossings = quads[:, :, None, None] + np.where(hit, share, 0)[..., None] * steps[:, :, None, None]
    for axis in (0, 1):
        crossings[:, :, axis, :, axis] = borders[:, :, axis]
    in_frame = ((crossings >= 0) & (crossings <= size[:, None, None, None])).all(-1) & hit
    points = np.concatenate([quads, frame_corners, crossings.reshape(len(quads), -1, 2)], 1)
    valid = [((quads >= 0) & (quads <= size[:, None])).all(-1), (sides * clockwise >= 0).all(1)]
    return points, np.concatenate([*valid, in_frame.reshape(len(quads), -1)], 1)


def intersection_areas(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Areas (P,) of the intersections of P pairs of convex quads, (P, 4, 2) each, clockwise.

    Computed by Green's theorem over the border of the intersection, which consists of the parts of each quad's sides
    inside the other quad. The second quad is shrunk by one part in a million, so that coinciding sides are counted
    once. The relative error is below 1e-5 for boxes whose height is at least a tenth of their width.
    """
    areas = np.empty(len(first))
    for start in range(0, len(first), _PAIRS_AT_ONCE):
        some = slice(start, start + _PAIRS_AT_ONCE)
        one, other = (np.ascontiguousarray(quads[some].T) for quads in (first, second))
        centre = other.mean(1, keepdims=True)
        one, other = one - centre, (other - centre) * (1 - 1e-6)
        areas[some] = np.maximum(_border_integral(one, other) + _border_integral(other, one), 0) / 2
    return areas


def _border_integral(inner: np.ndarray, outer: np.ndarray) -> np.ndarray:
    """Sum of cross(start, end) over the parts of inner's sides that lie inside outer (Cyrus-Beck clipping).

    Both (2, 4, P), with the pairs last, because numpy is fast along long last axes and slow along short ones.
    """
    x, y = inner[:, :, None]  # (side's start, 1, P)
    corner_x, corner_y = outer[:, None]  # (1, half-plane, P)
    edge_x, edge_y = (outer[:, _NEXT] - outer)[:, None]
    depth = edge_x * (y - corner_y) - edge_y * (x - corner_x)  # inside if depth + t * slope >= 0
    slope = depth[_NEXT] - depth
    with np.errstate(divide="ignore", invalid="ignore"):
        at = -depth / slope  # parallel side: +inf outside, -inf inside; half-plane without an edge: nan
    inwards = slope >= 0
    enter = np.fmax.reduce(np.where(inwards, at, 0), 1)
    leave = np.fmin.reduce(np.where(inwards, 1, at), 1)
    length = np.maximum(np.minimum(leave, 1) - np.maximum(enter, 0), 0)
    x, y = inner
    return (length * (x * y[_NEXT] - x[_NEXT] * y)).sum(0)


def pairwise_iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """IoU (P,) of P pairs of convex quads, (P, 4, 2) each, clockwise."""
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    intersection = intersection_areas(first, second)
    union = np.abs(signed_areas(first)) + np.abs(signed_areas(second)) - intersection
    return np.where(union > 0, intersection / np.where(union > 0, union, 1), 0)


def least_iou(rectangles: np.ndarray, quads: np.ndarray) -> np.ndarray:
    """A lower bound of the IoU (P,) of P pairs: fast, and tight if corresponding corners are close to each other.

    rectangles, quads: (P, 4, 2), both starting at the top-left corner. In the axes of the rectangle, a convex quad
    contains all points to the right of its two left corners and to the left of its two right ones, and so on.
    """
    one, other = (np.ascontiguousarray(corners.T) for corners in (rectangles, quads))  # (2, 4, P)
    across, down = one[:, 1] - one[:, 0], one[:, 3] - one[:, 0]
    x, y = other - one[:, :1]
    sides = []
    for (step_x, step_y), (low, high) in ((across, ([0, 3], [1, 2])), (down, ([0, 1], [3, 2]))):
        length = step_x**2 + step_y**2
        along = x * step_x + y * step_y  # 0 to length within the rectangle
        inside = np.minimum(along[high].min(0), length) - np.maximum(along[low].max(0), 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            sides.append(np.maximum(inside, 0) / np.sqrt(length))
    shared = np.nan_to_num(sides[0] * sides[1])
    union = signed_areas(rectangles) + signed_areas(quads) - shared
    return np.where(union > 0, shared / np.where(union > 0, union, 1), 0)


def bounding_boxes(quads: np.ndarray) -> np.ndarray:
    """(N, 4, 2) -> (N, 4) axis-aligned left, top, right, bottom."""
    return np.concatenate([quads.min(1), quads.max(1)], 1)


def box_intersections(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Axis-aligned boxes (A, 4), (B, 4) -> (A, B) areas of their intersections."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    return np.maximum(high - low, 0).prod(-1)
