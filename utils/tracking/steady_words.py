"""A video's detections as words that stay: each has a number, smoothed corners, and no gaps of a few detections."""

from typing import NamedTuple

import numpy as np

from utils.tracking.tracker import WordTracker, overlaps_any, visible_parts

BRIDGED = 3
"""A word that is followed but not detected is kept for so many detections in a row."""


class SteadyWords(NamedTuple):
    """The K words of a frame."""

    quads: np.ndarray
    """(K, 4, 2) in the frame's pixels, within the frame."""
    scores: np.ndarray
    """(K,) mean scores of each word's detections."""
    tracks: np.ndarray
    """(K,) numbers that stay the same in all frames."""


class SteadyVideo:
    """Gives the words of a video's frames, one after the other.

    Between detections the words move with the picture, by optical flow. A word appears when it is detected. It ends
    when it leaves the picture, when it cannot be followed, after `BRIDGED` detections without it, or when another word
    is detected in its place.
    """

    def __init__(self) -> None:
        self._tracker = WordTracker()
        self._missed: dict[int, int] = {}
        """Detections in a row without each word, by its number."""

    def next(self, image: np.ndarray, detections: tuple[np.ndarray, np.ndarray] | None) -> SteadyWords:
        """The words of the next frame, (H, W, 3) uint8 RGB.

        detections: quads (K, 4, 2) and scores (K,); None if nothing was detected from in this frame.
        """
        self._tracker.advance(image)
        if detections is not None:
            found = set(self._tracker.update(*detections))
            self._missed = {track: count + 1 for track, count in self._missed.items()} | dict.fromkeys(found, 0)
        words = self._tracker.words()
        taken = np.array([word.quad for word in words if word.detected]).reshape(-1, 4, 2)
        ended = {
            word.track
            for word in words
            if self._missed[word.track] > BRIDGED or (not word.detected and overlaps_any(word.quad, taken))
        }
        self._tracker.forget(ended)
        words = [word for word in words if word.track not in ended]
        self._missed = {word.track: self._missed[word.track] for word in words}
        shown = [word for word in words if word.reliability > 0]
        quads = visible_parts(np.array([word.quad for word in shown]), image.shape[:2])
        scores, tracks = [word.score for word in shown], [word.track for word in shown]
        return SteadyWords(quads, np.array(scores), np.array(tracks, int))
