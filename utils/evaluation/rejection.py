"""What a rejector's threshold loses and saves, frame by frame."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from utils.errors import UserError


class FrameScores(NamedTuple):
    """A rejector on N frames."""

    probabilities: np.ndarray
    """(N,) that a frame contains text."""
    found: np.ndarray
    """(N,) words that the network finds in the frame: what rejecting it loses."""
    has_text: np.ndarray
    """(N,) bool: the frame has a word that counts, found or not. One whose words are all don't-care has no text."""

    @classmethod
    def together(cls, parts: "Sequence[FrameScores]") -> "FrameScores":
        """The scores of all parts' frames."""
        return cls(*map(np.concatenate, zip(*parts, strict=True)))

    def frames_lost(self, threshold: float) -> float:
        """The share of the frames with found words that are rejected; NaN without any."""
        return _share((self.probabilities < threshold)[self.found > 0])

    def words_lost(self, threshold: float) -> float:
        """The share of the found words that are in rejected frames; NaN without any."""
        return float(self.found[self.probabilities < threshold].sum() / (self.found.sum() or math.nan))

    def text_rejected(self, threshold: float) -> float:
        """The share of all frames with text that are rejected, whether the network finds it or not."""
        return _share((self.probabilities < threshold)[self.has_text])

    def empty_rejected(self, threshold: float) -> float:
        """The share of the frames without text that are rejected; NaN without any."""
        return _share((self.probabilities < threshold)[~self.has_text])

    def threshold(self, most_lost: float) -> float:
        """The highest threshold that loses at most this share of the frames with found words. Raises `UserError`."""
        scores = np.sort(self.probabilities[self.found > 0])
        if not len(scores):
            raise UserError("the network finds no word in the validation frames: no threshold can be chosen")
        return float(scores[min(math.floor(most_lost * len(scores) + 1e-9), len(scores) - 1)])

    def curve(self) -> list[tuple[float, float, float]]:
        """The ROC: each probability as a threshold, in ascending order; shares of frames lost and of empty rejected."""
        thresholds = np.unique(self.probabilities).tolist()
        return [(each, self.frames_lost(each), self.empty_rejected(each)) for each in thresholds]

    def area(self) -> float:
        """The area under the ROC: the probability that a frame with found words scores higher than one without text."""
        found, empty = self.probabilities[self.found > 0, None], self.probabilities[~self.has_text]
        return _share((found > empty) + 0.5 * (found == empty))


def _share(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else math.nan
