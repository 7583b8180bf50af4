"""Detections that no annotation explains, added as don't-care words.

Some data sets leave words that cannot be read without a mark. A network trained on them learns that such words are
background. A confident detection that overlaps no annotated word is either such a word or a false alarm; as a
don't-care it counts neither way.
"""

import numpy as np

from utils.data.formats.entries import DONT_CARE, Entry
from utils.geometry import sort_around_centre
from utils.tracking.tracker import overlaps_any

OVERLAP = 0.1
"""Share of a detection, or of a word, inside the other one, from which they are about the same text."""


def add_unmatched(entry: Entry, quads: np.ndarray) -> Entry:
    """The entry with those of the detections (K, 4, 2) that overlap none of its words, as `###`."""
    words = sort_around_centre(entry.quads) if len(entry.quads) else entry.quads
    added = [quad for quad in np.asarray(quads, np.float64) if not overlaps_any(quad, words, OVERLAP)]
    return entry._replace(
        quads=np.concatenate([entry.quads, np.array(added).reshape(-1, 4, 2)]),
        ignored=np.concatenate([entry.ignored, np.ones(len(added), bool)]),
        texts=[*entry.texts, *[DONT_CARE] * len(added)],
    )
