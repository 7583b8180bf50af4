"""Why words are missed and detections are false alarms: each gets one cause, the first of those below that holds.

All areas are those of the ICDAR protocol (`utils.evaluation.protocol`), which decides what is an error. "Covers": the
intersection is more than half of the covered one's area.

missed words                                       false alarms
merged    a detection covers it and another word   merged    it covers several words
split     several detections lie in it for the     split     it is one of several that lie in a word
          most part
duplicate -                                        duplicate it matches a word that has a match already
one side  the best detection has three sides       one side  the same, seen from the detection
          right and one wrong
near miss a detection has an IoU from 0.3 to 0.5   near miss the same
small     no such; its short side is below 8       don't-care it touches a don't-care word
          pixels of the network's input
steep     its baseline is steeper than 45 degrees  far off   it touches a word
not found all others                               not text  all others
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from utils.data.annotations import Words
from utils.evaluation.breakdown import short_sides
from utils.evaluation.protocol import assign, find_overlaps, intersections, truncate
from utils.geometry import signed_areas
from utils.runtime.tables import format_table

MISSED_CAUSES = "merged", "split", "one side", "near miss", "small", "steep", "not found"
FALSE_CAUSES = "merged", "split", "duplicate", "one side", "near miss", "don't-care", "far off", "not text"

NEAR_IOU = 0.3
COVERS = 0.5
SMALL = 8.0
"""Pixels of the network's input."""
SIDE_TOLERANCE = 0.25
"""Of a word's height: a side that is off by less is right."""


class Error(NamedTuple):
    """A missed word or a false alarm."""

    missed: bool
    number: int
    """Of the word, or of the detection, in its image."""
    cause: str
    iou: float
    """The largest with a detection, or with a word that counts."""


def find_errors(words: Words, detections: np.ndarray, scale: float = 1.0) -> list[Error]:
    """The errors of one image: words that count without a match, detections (K, 4, 2) that count without a match.

    scale: pixels of the network's input per pixel of the image.
    """
    overlaps = find_overlaps(words, detections)
    pairs = assign(overlaps.candidates)
    counted = np.flatnonzero(~overlaps.ignored_words)
    found = np.flatnonzero(~overlaps.ignored_detections)
    word_quads, quads = truncate(words.quads), truncate(detections)
    areas = intersections(word_quads, quads)[:, found]
    shared = _Shared(word_quads[counted], quads[found], areas[counted])
    matched_words: np.ndarray = np.isin(counted, [word for word, _ in pairs])
    matched: np.ndarray = np.isin(found, [detection for _, detection in pairs])
    heights = short_sides(np.asarray(words.quads[counted], np.float64)) * scale
    touched = (areas[overlaps.ignored_words] > 0).any(0)
    errors = []
    for word in np.flatnonzero(~matched_words).tolist():
        cause = shared.cause_of_word(word) or _cause_of_shape(words.quads[counted[word]], heights[word])
        errors.append(Error(True, int(counted[word]), cause, _largest(shared.iou[word])))
    for detection in np.flatnonzero(~matched).tolist():
        cause = shared.cause_of_detection(detection, matched_words)
        cause = cause or ("don't-care" if touched[detection] else shared.distant_cause(detection))
        errors.append(Error(False, int(found[detection]), cause, _largest(shared.iou[:, detection])))
    return errors


class _Shared:
    """The areas (M, K) that words (M, 4, 2) and detections (K, 4, 2) share."""

    def __init__(self, words: np.ndarray, detections: np.ndarray, shared: np.ndarray):
        self.words, self.detections = words, detections
        areas = np.abs(signed_areas(words))[:, None], np.abs(signed_areas(detections))[None]
        with np.errstate(divide="ignore", invalid="ignore"):
            self.iou = np.nan_to_num(shared / (areas[0] + areas[1] - shared))
            self.of_word = np.nan_to_num(shared / areas[0])
            self.of_detection = np.nan_to_num(shared / areas[1])

    def cause_of_word(self, word: int) -> str | None:
        covering = self.of_word[word] > COVERS
        if (covering & ((self.of_word > COVERS).sum(0) > 1)).any():
            return "merged"
        if (self.of_detection[word] > COVERS).sum() > 1:
            return "split"
        if not self.iou[word].any():
            return None
        return self._near(word, int(self.iou[word].argmax()))

    def cause_of_detection(self, detection: int, matched_words: np.ndarray) -> str | None:
        if (self.of_word[:, detection] > COVERS).sum() > 1:
            return "merged"
        parts = (self.of_detection > COVERS).sum(1) > 1
        if (parts & (self.of_detection[:, detection] > COVERS) & ~matched_words).any():
            return "split"
        if not self.iou[:, detection].any():
            return None
        word = int(self.iou[:, detection].argmax())
        if matched_words[word] and self.of_detection[word, detection] > COVERS:
            return "duplicate"
        return self._near(word, detection)

    def _near(self, word: int, detection: int) -> str | None:
        if _wrong_sides(self.words[word], self.detections[detection]) == 1:
            return "one side"
        return "near miss" if self.iou[word, detection] >= NEAR_IOU else None

    def distant_cause(self, detection: int) -> str:
        return "far off" if self.iou[:, detection].any() else "not text"


def _largest(ious: np.ndarray) -> float:
    return float(ious.max(initial=0))


def _wrong_sides(word: np.ndarray, detection: np.ndarray) -> int:
    """How many sides of a detection are off, in the directions of the word's sides; (4, 2) each."""
    along, down = word[1] - word[0] + word[2] - word[3], word[3] - word[0] + word[2] - word[1]
    lengths = np.linalg.norm([along, down], axis=1)
    if not lengths.all():
        return 4
    axes = np.array([along, down]) / lengths[:, None]
    ours, theirs = word @ axes.T, detection @ axes.T
    off = np.abs([ours.min(0) - theirs.min(0), ours.max(0) - theirs.max(0)])
    return int((off > SIDE_TOLERANCE * lengths.min() / 2).sum())


def _cause_of_shape(quad: np.ndarray, height: float) -> str:
    along = (quad[1] - quad[0] + quad[2] - quad[3]).astype(float)
    steep = abs(along[1]) > abs(along[0])
    return "small" if height < SMALL else "steep" if steep else "not found"


def format_errors(errors: Iterable[Error]) -> str:
    """Two tables: missed words and false alarms by cause."""
    errors, tables = list(errors), []
    for title, missed, causes in (("missed words", True, MISSED_CAUSES), ("false alarms", False, FALSE_CAUSES)):
        of_kind = [error.cause for error in errors if error.missed == missed]
        rows = [[title, str(len(of_kind)), "share"]]
        for cause in causes:
            count = of_kind.count(cause)
            rows.append([cause, str(count), f"{count / max(len(of_kind), 1):.3f}"])
        tables.append(format_table(rows))
    return "\n\n".join(tables)
