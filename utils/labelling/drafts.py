"""Draft annotations of chosen frames: detections, joined over the frames, and how certain each of them is."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from utils.data.formats.entries import DONT_CARE, Entry
from utils.errors import UserError
from utils.labelling.frames import Chooser, SourceFrame
from utils.runtime.files import atomic_file
from utils.tracking.tracker import TrackedWord, WordTracker, overlaps_any, visible_parts

RECORD = "prelabel.jsonl"
"""In the output's folder: what was written, with scores and tracks; a frame a line."""

SURE = 0.7
"""Score from which a draft is certain."""
LEAST_RELIABILITY = 0.25
"""Of a word that was followed but not detected, to be drafted."""
LEAST_SUPPORT = 0.5
"""A word is certain if it is detected in this share of the chosen frames in which it is seen."""

TEXT = "word"
"""Text of a certain draft. An uncertain one is a don't-care, so that training ignores it until someone decides."""

Detect = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""An image (H, W, 3) uint8 RGB -> quads (K, 4, 2) and scores (K,)."""


class DraftWord(NamedTuple):
    """A word of a chosen frame."""

    quad: list[list[float]]
    """[[x, y]] * 4 in pixels, within the frame."""
    track: int
    """The same number in all frames; -1: none."""
    score: float | None
    """None: followed to this frame, not detected in it."""
    ignored: bool
    text: str
    """As it is written; a don't-care's text says why it is one."""


class DraftFrame(NamedTuple):
    """A chosen frame."""

    name: str
    number: int
    time_ms: float | None
    size: tuple[int, int]
    """Height and width."""
    words: list[DraftWord]

    def entry(self) -> Entry:
        """For the writers of annotation formats."""
        quads = np.array([word.quad for word in self.words], np.float64).reshape(-1, 4, 2)
        ignored = np.array([word.ignored for word in self.words], bool)
        scores = [word.score for word in self.words]
        return Entry(self.name, quads, ignored, [word.text for word in self.words], "train", scores=scores)


class Support(NamedTuple):
    """How often a track is detected."""

    detections: int
    """Chosen frames in which it is detected."""
    share: float
    """Of the chosen frames in which it is seen."""


def make_drafts(
    frames: Iterable[SourceFrame], chooser: Chooser, detect: Detect, sure: float = SURE, keep: Callable = lambda _: None
) -> list[DraftFrame]:
    """Detect the words of the chosen frames and follow them through the others.

    sure: score from which a draft is certain. keep: called with each chosen frame.
    """
    tracker, chosen, seen = WordTracker(), [], []
    for frame in frames:
        tracker.advance(frame.image)
        if not chooser.chooses(frame):
            continue
        keep(frame)
        quads, scores = detect(frame.image)
        numbers = tracker.update(quads, scores)
        found = dict(zip(numbers, map(float, scores), strict=True))
        chosen.append(DraftFrame(frame.name, frame.number, frame.time_ms, frame.image.shape[:2], []))
        seen.append((tracker.words(), found))
    support = _support([words for words, _ in seen])
    for draft, (words, found) in zip(chosen, seen, strict=True):
        taken = np.array([word.quad for word in words if word.detected]).reshape(-1, 4, 2)
        for word in words:
            if word.detected or _is_missed(word, support[word.track], taken):
                draft.words.append(_draft(word, found.get(word.track), support[word.track], draft.size, sure))
    return chosen


def _is_missed(word: TrackedWord, support: Support, taken: np.ndarray) -> bool:
    """Whether a followed word is one that the detector missed: detected elsewhere, and no detection is in its place."""
    return word.reliability >= LEAST_RELIABILITY and support.detections >= 2 and not overlaps_any(word.quad, taken)


def _support(frames: Sequence[list[TrackedWord]]) -> dict[int, Support]:
    """The support of each track in the chosen frames."""
    seen: Counter[int] = Counter()
    found: Counter[int] = Counter()
    for word in (word for words in frames for word in words):
        seen[word.track] += word.reliability > 0
        found[word.track] += word.detected
    return {track: Support(found[track], found[track] / max(count, 1)) for track, count in seen.items()}


def _draft(word: TrackedWord, score: float | None, support: Support, size: tuple[int, int], sure: float) -> DraftWord:
    certain = max(score or 0, word.score) >= sure and support.share >= LEAST_SUPPORT
    text = TEXT if certain else f"uncertain {word.score if score is None else score:.2f}"
    quad = visible_parts(word.quad[None], size)[0].round(2).tolist()
    return DraftWord(quad, word.track, None if score is None else round(score, 4), not certain, text)


def write_record(folder: Path, source: Path, file_format: str, drafts: Sequence[DraftFrame]) -> None:
    """Write the folder's `prelabel.jsonl`."""
    lines: list[object] = [{"source": str(source), "format": file_format}]
    lines += [draft._asdict() | {"words": [word._asdict() for word in draft.words]} for draft in drafts]
    with atomic_file(folder / RECORD) as file:
        text = "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines)
        file.write(text.encode(errors="backslashreplace"))  # a path that is not UTF-8, as JSON's escapes


def read_record(folder: Path) -> tuple[Path, str, list[DraftFrame]]:
    """The source, the format and the frames of the folder's `prelabel.jsonl`. Raises `UserError`."""
    path = folder / RECORD
    try:
        text = path.read_text(encoding="utf-8").removesuffix("\n")
        head, *lines = [json.loads(line) for line in text.split("\n")]  # names may have other line breaks
        drafts = [DraftFrame(**{**line, "size": tuple(line["size"]), "words": _words(line)}) for line in lines]
        return Path(head["source"]), head["format"], drafts
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file; draft the folder with tools.prelabel first") from None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(f"{path}: not a record of tools.prelabel ({error}); draft the folder again") from None


def _words(line: dict) -> list[DraftWord]:
    return [DraftWord(**word) for word in line["words"]]


def as_written(draft: DraftFrame, file_format: str) -> DraftFrame:
    """The frame as a format can say it: txt has no text for a don't-care."""
    if file_format != "txt":
        return draft
    return draft._replace(words=[word._replace(text=DONT_CARE) if word.ignored else word for word in draft.words])
