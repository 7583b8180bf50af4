"""Words with numbers that stay the same through a video.

tracker = WordTracker()
for frame in frames:
    tracker.advance(frame)                       # every frame: the words move with the picture
    if detect_in_this_one:
        tracker.update(*detector.detect(frame))  # detections join their words, others begin new ones
    for word in tracker.words(): ...             # track, quad, score, ...
"""

import dataclasses
from collections.abc import Collection
from typing import NamedTuple

import numpy as np

from utils.geometry import intersection_areas, min_area_rectangles, pairwise_iou, signed_areas
from utils.tracking.flow import LEAST_LIKENESS, FlowPicture, fit_motion, follow_points

MATCH_IOU = 0.3
"""Least overlap of a followed word and a detection of it."""
LEAST_VISIBLE = 0.4
"""Share of a word inside the picture; with less it ends."""
COVERED = 0.4
"""Share of a word inside another one, from which one is in the other's place."""
BORDER = 2.0
"""Pixels: a word nearer to the picture's border is taken to be cut by it."""
_MOST_AVERAGED = 5
"""A word's corners are a running mean over so many detections."""
_FEW_POINTS = 10
"""With fewer points left, new ones are chosen."""


class TrackedWord(NamedTuple):
    """A word at the current frame."""

    track: int
    """The same number in all frames."""
    quad: np.ndarray
    """(4, 2) float64 in the frame's pixels; it may extend beyond the frame."""
    score: float
    """Mean score of its detections; 1 for a word given by hand."""
    detected: bool
    """Whether a detection of this frame belongs to it."""
    detections: int
    """So far."""
    reliability: float
    """0 to 1: how much of the word was followed to this frame; 1 where it is detected, 0 where its place is a guess."""


@dataclasses.dataclass
class _Track:
    """A word's state. Points and quad at the start: in the frame in which the points were chosen.

    picture: the latest frame to which the word was followed; `points` are in it. step: how far it moved, in a frame.
    cut: the quad is that of a part, as far as the picture showed the word. averaged: detections in the mean.
    """

    number: int
    quad: np.ndarray
    pinned: bool
    scores: list[float]
    start_quad: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros((4, 2)))
    start: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros((0, 2), np.float32))
    points: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros((0, 2), np.float32))
    chosen: int = 0
    patch: np.ndarray | None = None
    picture: FlowPicture | None = None
    step: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(2))
    cut: bool = False
    averaged: int = 1
    detected: bool = True
    reliability: float = 1.0
    missing: int = 0

    def look_at(self, picture: FlowPicture) -> None:
        """Choose points in the word, and keep its pixels to compare later frames with."""
        self.points = self.start = picture.choose_points(self.quad)
        self.start_quad, self.chosen = self.quad, len(self.points)
        self.patch, self.picture = picture.patch(self.quad), picture

    def follow_to(self, picture: FlowPicture, moved: np.ndarray, good: np.ndarray) -> bool:
        """Move the word by its points, moved to another frame; False, and nothing changed, if that fails."""
        motion = fit_motion(self.start[good], moved[good], self.chosen, picture.scale)
        if motion is None:
            return False
        quad = self.start_quad @ motion.matrix[:, :2].T + motion.matrix[:, 2]
        likeness = float((self.patch * picture.patch(quad)).sum()) if is_convex(quad) else 0.0
        if likeness < LEAST_LIKENESS:
            return False
        self.quad, self.picture = quad, picture
        self.start, self.points = self.start[good], moved[good]
        self.reliability = motion.agreement * likeness
        if len(self.points) < _FEW_POINTS:
            self.look_at(picture)
        return True


class WordTracker:
    """Follows words through frames that are given one after the other.

    gap: frames for which a word is kept that cannot be followed; its place is then guessed from its neighbours.
    """

    def __init__(self, gap: int = 8):
        self.gap = gap
        self._tracks: list[_Track] = []
        self._picture: FlowPicture | None = None
        self._next = 0

    def advance(self, image: np.ndarray) -> None:
        """Move all words to the next frame, (H, W, 3) uint8 RGB. A word that leaves the picture ends."""
        before, self._picture = self._picture, FlowPicture(image)
        if before is None or before.size != self._picture.size:
            self._tracks = []
        followed = self._follow_all(self._picture)
        steps = [track.step for track in self._tracks if track.number in followed]
        for track in self._tracks:
            if track.number not in followed:
                track.step = np.median(steps, 0) if steps else track.step
                track.quad = track.quad + track.step
                track.missing, track.reliability = track.missing + 1, 0.0
        visible = visible_shares(self._quads(), self._picture.size)
        pairs = zip(self._tracks, visible, strict=True)
        self._tracks = [track for track, share in pairs if share >= LEAST_VISIBLE and track.missing <= self.gap]

    def update(self, quads: np.ndarray, scores: np.ndarray) -> list[int]:
        """Join the current frame's detections (K, 4, 2), (K,) with the words; the track of each (K)."""
        numbers = [-1] * len(quads)
        for index, detection in match_quads(self._visible_quads(), np.asarray(quads, np.float64)):
            if self._is_same(self._tracks[index], quads[detection]):
                self._join(self._tracks[index], quads[detection], float(scores[detection]))
                numbers[detection] = self._tracks[index].number
        for detection, number in enumerate(numbers):
            if number < 0:
                numbers[detection] = self._begin(quads[detection], [float(scores[detection])], pinned=False)
        return numbers

    def add(self, quads: np.ndarray) -> list[int]:
        """Begin words given by hand, (K, 4, 2), in the current frame; detections do not change their shape."""
        return [self._begin(quad, [], pinned=True) for quad in quads]

    def forget(self, tracks: Collection[int]) -> None:
        """End the words of these numbers."""
        self._tracks = [track for track in self._tracks if track.number not in tracks]

    def words(self) -> list[TrackedWord]:
        """The words of the current frame."""
        return [
            TrackedWord(
                track.number,
                track.quad,
                float(np.mean(track.scores)) if track.scores and not track.pinned else 1.0,
                track.detected,
                len(track.scores),
                track.reliability,
            )
            for track in self._tracks
        ]

    def _begin(self, quad: np.ndarray, scores: list[float], pinned: bool) -> int:
        assert self._picture, "give the frame to advance() first"
        track = _Track(self._next, np.asarray(quad, np.float64), pinned, scores)
        track.cut = bool(touches_border(track.quad[None], self._picture.size)[0])
        track.look_at(self._picture)
        self._tracks.append(track)
        self._next += 1
        return track.number

    def _follow_all(self, picture: FlowPicture) -> set[int]:
        """Move the words to a frame, each from the latest one to which it was followed; those that succeeded."""
        followed = set()
        for start in {id(track.picture): track.picture for track in self._tracks if track.picture}.values():
            tracks = [track for track in self._tracks if track.picture is start]
            counts = [len(track.points) for track in tracks]
            steps = np.repeat([track.step * (track.missing + 1) for track in tracks], counts, axis=0)
            points = np.concatenate([track.points for track in tracks])
            moved, good = follow_points(start, picture, points, steps)
            ends = np.cumsum(counts)
            for track, first, last in zip(tracks, ends - counts, ends, strict=True):
                centre, track.detected = track.quad.mean(0) - track.step * track.missing, False
                if track.follow_to(picture, moved[first:last], good[first:last]):
                    track.step = (track.quad.mean(0) - centre) / (track.missing + 1)
                    track.missing = 0
                    followed.add(track.number)
        return followed

    def _is_same(self, track: _Track, quad: np.ndarray) -> bool:
        """Whether a detection in the word's place is the word: where the place is a guess, its pixels decide."""
        assert self._picture
        if not track.missing:
            return True
        pixels = self._picture.patch(same_corners(quad, track.quad))
        return float((track.patch * pixels).sum()) >= LEAST_LIKENESS

    def _join(self, track: _Track, quad: np.ndarray, score: float) -> None:
        """A detection belongs to the word: it corrects the word's corners, unless they were given by hand."""
        assert self._picture
        track.detected, track.reliability, track.missing = True, 1.0, 0
        track.scores.append(score)
        if track.pinned:
            return
        cut = bool(touches_border(quad[None], self._picture.size)[0])
        if track.cut:
            track.quad, track.cut, track.averaged = same_corners(quad, track.quad), cut, 1
        elif not cut:
            track.averaged = min(track.averaged + 1, _MOST_AVERAGED)
            track.quad = track.quad + (same_corners(quad, track.quad) - track.quad) / track.averaged
        track.look_at(self._picture)

    def _quads(self) -> np.ndarray:
        return np.array([track.quad for track in self._tracks], np.float64).reshape(-1, 4, 2)

    def _visible_quads(self) -> np.ndarray:
        assert self._picture, "give the frame to advance() first"
        return visible_parts(self._quads(), self._picture.size)


def match_quads(first: np.ndarray, second: np.ndarray, least_iou: float = MATCH_IOU) -> list[tuple[int, int]]:
    """Pairs (index of the first, index of the second) of (A, 4, 2), (B, 4, 2), one to one, the largest IoU first."""
    if not len(first) or not len(second):
        return []
    one, other = np.divmod(np.arange(len(first) * len(second)), len(second))
    overlaps = pairwise_iou(first[one], second[other])
    pairs, free = [], (np.ones(len(first), bool), np.ones(len(second), bool))
    for index in np.argsort(-overlaps, kind="stable"):
        if overlaps[index] < least_iou:
            break
        if free[0][one[index]] and free[1][other[index]]:
            free[0][one[index]] = free[1][other[index]] = False
            pairs.append((int(one[index]), int(other[index])))
    return pairs


def same_corners(quad: np.ndarray, model: np.ndarray) -> np.ndarray:
    """The quad (4, 2), its corners in the order of the model's: each near its counterpart."""
    turns = [np.roll(np.asarray(quad, np.float64), -turn, 0) for turn in range(4)]
    return min(turns, key=lambda turned: float(np.square(turned - model).sum()))


def visible_shares(quads: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(N,) share of each quad's area (N, 4, 2) inside a picture of (height, width)."""
    height, width = size
    frame = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float64)
    inside = intersection_areas(quads, np.broadcast_to(frame, quads.shape)) if len(quads) else np.zeros(0)
    return inside / np.maximum(np.abs(signed_areas(quads)), 1e-9)


def visible_parts(quads: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Quads (N, 4, 2) in a picture of (height, width); of a cut one the smallest rectangle around its visible part."""
    height, width = size
    quads = np.asarray(quads, np.float64).reshape(-1, 4, 2)
    cut = np.array(((quads < 0) | (quads > [width - 1, height - 1])).any((1, 2)))
    parts = min_area_rectangles(quads, (width - 1, height - 1)).corners() if cut.any() else quads
    parts = np.where(np.expand_dims(cut & np.isfinite(parts).all((1, 2)), (1, 2)), parts, quads)
    return np.clip(parts, 0, [width - 1, height - 1])


def touches_border(quads: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(N,) bool: which of the quads (N, 4, 2) reach the border of a picture of (height, width), or go beyond."""
    low, high = quads.min((1, 2)), (quads - [size[1] - 1, size[0] - 1]).max((1, 2))
    return (low <= BORDER) | (high >= -BORDER)


def overlaps_any(quad: np.ndarray, others: np.ndarray, least: float = COVERED) -> bool:
    """Whether the quad (4, 2) shares `least` of its own area, or of the other's, with one of the others (N, 4, 2)."""
    if not len(others):
        return False
    shared = intersection_areas(np.broadcast_to(quad, others.shape), others)
    smaller = np.minimum(np.abs(signed_areas(others)), abs(signed_areas(quad[None])[0]))
    return bool((shared > least * np.maximum(smaller, 1e-9)).any())


def is_convex(quad: np.ndarray) -> bool:
    """Whether the (4, 2) corners are finite and run clockwise round a convex shape."""
    sides = np.roll(quad, -1, 0) - quad
    turned = np.roll(sides, -1, 0)
    return bool((sides[:, 0] * turned[:, 1] - sides[:, 1] * turned[:, 0] > 0).all())
