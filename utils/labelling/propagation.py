"""A corrected frame's words carried over to the following frames of its video.

The words that the user left or drew are followed through the video. In each following frame of the folder they replace
the drafts in their place. Drafts that the user deleted are followed, too, and delete the drafts in their place. Other
drafts stay. The next frame that the user has changed ends it: corrections are never overwritten.
"""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from utils.data.formats.entries import Entry
from utils.errors import UserError
from utils.geometry import sort_around_centre
from utils.labelling.drafts import DraftFrame, DraftWord
from utils.labelling.frames import SourceFrame
from utils.tracking.tracker import TrackedWord, WordTracker, match_quads, overlaps_any, touches_border, visible_parts

LEAST_RELIABILITY = 0.1
"""Of a carried word; below, it is left out of the frame and looked for in the next ones."""
_SAME = 0.05
"""Pixels; files keep coordinates with fewer digits."""


class Correction:
    """What the user made of one drafted frame.

    draft: the frame as it was written. entry: its annotation as it is now.
    """

    def __init__(self, draft: DraftFrame, entry: Entry):
        drafted = quads_of(draft.words)
        pairs = match_quads(sort_around_centre(entry.quads), drafted) if len(entry.quads) else []
        tracks = {word: draft.words[index].track for word, index in pairs}
        gone = sorted(set(range(len(drafted))) - {index for _, index in pairs})
        self.deleted = drafted[gone]
        self.deleted_tracks = {draft.words[index].track for index in gone} - set(tracks.values())
        cut = touches_border(entry.quads, draft.size) if len(entry.quads) else np.zeros(0, bool)
        carried = np.flatnonzero(~(cut & entry.ignored))  # what is cut and cannot be read may be readable later
        self.quads = sort_around_centre(entry.quads[carried])
        self.cut, self.ignored = cut[carried], entry.ignored[carried]
        self.texts = [entry.texts[word] for word in carried]
        self.tracks = {place: tracks[word] for place, word in enumerate(carried.tolist()) if word in tracks}

    def word(self, index: int, quad: np.ndarray) -> DraftWord:
        """The correction's word at its place in another frame."""
        track, text = self.tracks.get(index, -1), self.texts[index]
        return DraftWord(quad.round(2).tolist(), track, None, bool(self.ignored[index]), text)


def propagate(
    drafts: Sequence[DraftFrame], entries: dict[str, Entry], number: int, frames: Iterable[SourceFrame]
) -> Iterator[DraftFrame]:
    """The frames after frame `number`, with its words carried over, until one that the user has changed.

    drafts: as they were written. entries: the annotations as they are now, by name. frames: of the source. Raises
    `UserError`.
    """
    start = next((draft for draft in drafts if draft.number == number), None)
    if start is None or start.name not in entries:
        known = ", ".join(str(draft.number) for draft in drafts[:20])
        raise UserError(f"--propagate {number}: no annotated frame of this number; the folder has {known}, ...")
    following = {_key(draft): draft for draft in _unchanged_after(drafts, entries, number)}
    correction = Correction(start, entries[start.name])
    carried, deleted = WordTracker(), WordTracker()
    started = False
    for frame in frames:
        if not following:
            return
        starts = _key(frame) == _key(start)
        started = started or starts
        if not started:
            continue
        carried.advance(frame.image)
        deleted.advance(frame.image)
        if starts:
            carried.add(correction.quads)
            deleted.add(correction.deleted)
        elif draft := following.pop(_key(frame), None):
            yield draft._replace(words=_merge(draft, correction, carried.words(), deleted.words()))


def _key(frame: SourceFrame | DraftFrame) -> int | str:
    """By which a frame is found again: a video may be renamed, and a folder may get and lose pictures."""
    return frame.name if frame.time_ms is None else frame.number


def is_changed(draft: DraftFrame, entry: Entry) -> bool:
    """Whether the user has changed a frame's words since they were written."""
    if len(draft.words) != len(entry.quads) or entry.left_out:
        return True
    moved = np.abs(quads_of(draft.words) - entry.quads).max(initial=0) > _SAME
    marks = [word.ignored for word in draft.words] != entry.ignored.tolist()
    return bool(moved) or marks or [word.text for word in draft.words] != entry.texts


def _unchanged_after(drafts: Sequence[DraftFrame], entries: dict[str, Entry], number: int) -> Iterator[DraftFrame]:
    for draft in drafts:
        if draft.number > number:
            if draft.name not in entries or is_changed(draft, entries[draft.name]):
                return
            yield draft


def _merge(
    draft: DraftFrame, correction: Correction, carried: list[TrackedWord], deleted: list[TrackedWord]
) -> list[DraftWord]:
    """The words of a frame: carried ones, then the drafts that are neither carried nor deleted."""
    words, lost = [], {}
    for word in carried:
        if word.reliability >= LEAST_RELIABILITY:
            quad = visible_parts(word.quad[None], draft.size)[0]
            words.append(correction.word(word.track, _whole(quad, draft) if correction.cut[word.track] else quad))
        elif word.track in correction.tracks:
            lost[correction.tracks[word.track]] = word.track
    gone = [word.quad for word in deleted if word.reliability >= LEAST_RELIABILITY]
    taken = np.concatenate([quads_of(words), np.array(gone).reshape(-1, 4, 2)])
    for word in draft.words:
        if word.track in correction.deleted_tracks or overlaps_any(np.array(word.quad), taken):
            continue
        if word.track in lost:  # detected, but not followed: the draft's place, the correction's text
            index = lost[word.track]
            word = word._replace(text=correction.texts[index], ignored=bool(correction.ignored[index]))
        words.append(word)
    return words


def _whole(quad: np.ndarray, draft: DraftFrame) -> np.ndarray:
    """Of a word that the corrected frame cuts: the detection in its place, which may show more of it."""
    detected = quads_of([word for word in draft.words if word.score is not None])
    pairs = match_quads(quad[None], detected)
    return detected[pairs[0][1]] if pairs else quad


def quads_of(words: Sequence[DraftWord]) -> np.ndarray:
    """(N, 4, 2) float64."""
    return np.array([word.quad for word in words], np.float64).reshape(-1, 4, 2)
