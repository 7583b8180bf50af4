"""Words and detections drawn on a picture."""

import cv2
import numpy as np

from utils.annotations import Words
from utils.evaluation import match

MATCHED, MISSED, FALSE_ALARM, DONT_CARE_COLOUR = (40, 190, 60), (250, 160, 0), (230, 40, 40), (150, 150, 150)
"""RGB: a detection that matches a word, a word that none matches, a detection of no word, don't-care."""


def draw_detections(image: np.ndarray, words: Words, quads: np.ndarray) -> np.ndarray:
    """A copy of the (H, W, 3) RGB image: detections green where they match, red where not; missed words
    orange; don't-care words and what was detected there grey."""
    matching = match(words, quads)
    hit_words = {word for word, _ in matching.pairs}
    hits = {detection for _, detection in matching.pairs}
    image = image.copy()
    for number, quad in enumerate(words.quads):
        if number not in hit_words:
            _outline(image, quad, DONT_CARE_COLOUR if words.ignored[number] else MISSED)
    for number, quad in enumerate(quads):
        ignored = matching.ignored_detections[number]
        _outline(image, quad, DONT_CARE_COLOUR if ignored else MATCHED if number in hits else FALSE_ALARM)
    return image


def _outline(image: np.ndarray, quad: np.ndarray, colour: tuple[int, int, int]) -> None:
    thickness = max(1, round(min(image.shape[:2]) / 350))
    cv2.polylines(image, [np.rint(quad).astype(np.int32)], True, colour, thickness, cv2.LINE_AA)


def write_image(path, image: np.ndarray) -> None:
    """(H, W, 3) RGB to a file of the suffix's type. Raises OSError."""
    coded, data = cv2.imencode(path.suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    if not coded:
        raise OSError(f"{path}: OpenCV cannot write this type of picture")
    path.write_bytes(data.tobytes())
