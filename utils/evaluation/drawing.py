"""Words and detections drawn on a picture."""

import cv2
import numpy as np

from utils.data.annotations import Words
from utils.evaluation.protocol import Matching, match
from utils.evaluation.result_files import whole_pixels

_SHIFT = 4  # OpenCV draws at sixteenths of a pixel

Colour = tuple[int, int, int]
"""RGB, 0 to 255."""

MATCHED: Colour = 40, 190, 60
"""A detection that matches a word."""
FALSE_ALARM: Colour = 230, 40, 40
"""A detection that matches no word."""
FOUND_WORD: Colour = 60, 130, 255
MISSED: Colour = 250, 160, 0
"""A word that no detection matches."""
DONT_CARE_COLOUR: Colour = 170, 170, 170
_TRACK_COLOURS: list[Colour] = [
    (230, 80, 30),
    (40, 150, 60),
    (30, 110, 220),
    (190, 60, 190),
    (0, 150, 160),
    (170, 120, 0),
]


def draw_detections(image: np.ndarray, words: Words, quads: np.ndarray, matching: Matching | None = None) -> np.ndarray:
    """A copy of the (H, W, 3) RGB image with its words and detections (K, 4, 2) drawn in the colours above.

    Don't-care words and the detections in them are dashed. Missed words have a label above, false alarms below.
    matching: of words and detections, if it is known already.
    """
    matching = matching or match(words, whole_pixels(quads))
    hit_words = {word for word, _ in matching.pairs}
    hits = {detection for _, detection in matching.pairs}
    image = image.copy()
    for number, quad in enumerate(words.quads):
        if words.ignored[number]:
            _dashes(image, quad, DONT_CARE_COLOUR)
        else:
            _outline(image, quad, FOUND_WORD if number in hit_words else MISSED)
    for number, quad in enumerate(quads):
        if matching.ignored_detections[number]:
            _dashes(image, quad, MATCHED)
        else:
            _outline(image, quad, MATCHED if number in hits else FALSE_ALARM)
    for number, quad in enumerate(words.quads):
        if number not in hit_words and not words.ignored[number]:
            _label(image, quad, "missed", MISSED)
    for number, quad in enumerate(quads):
        if number not in hits and not matching.ignored_detections[number]:
            _label(image, quad, "false", FALSE_ALARM, below=True)
    return image


def draw_quads(image: np.ndarray, quads: np.ndarray) -> np.ndarray:
    """A copy of the (H, W, 3) RGB image with quads (K, 4, 2) outlined; the image itself if there are none."""
    if not len(quads):
        return image
    image = image.copy()
    for quad in quads:
        _outline(image, quad, MATCHED)
    return image


def draw_tracks(image: np.ndarray, quads: np.ndarray, tracks: np.ndarray) -> np.ndarray:
    """A copy of the (H, W, 3) RGB image with quads (K, 4, 2) in the colours of their numbers (K,), which are above."""
    image = image.copy()
    for quad, track in zip(quads, tracks.tolist(), strict=True):
        colour = _TRACK_COLOURS[track % len(_TRACK_COLOURS)]
        _outline(image, quad, colour)
        _label(image, quad, str(track), colour)
    return image


def shrunk(image: np.ndarray, longest: int) -> np.ndarray:
    """The (H, W, 3) image at a longest side of so many pixels; the image itself if it is not longer."""
    height, width = image.shape[:2]
    factor = longest / max(height, width)
    if factor >= 1:
        return image
    size = max(round(width * factor), 1), max(round(height * factor), 1)
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def draw_score_map(image: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """The (H, W, 3) RGB image, darkened, with probabilities (H, W) of text as a heat map over it."""
    heat = cv2.applyColorMap(np.rint(255 * scores).astype(np.uint8), cv2.COLORMAP_INFERNO)
    shown = np.maximum(image * 0.35, cv2.cvtColor(heat, cv2.COLOR_BGR2RGB) * np.minimum(2 * scores, 1)[..., None])
    return np.rint(shown).astype(np.uint8)


def _outline(image: np.ndarray, quad: np.ndarray, colour: Colour) -> None:
    cv2.polylines(image, [_fixed_point(quad)], True, colour, _thickness(image), cv2.LINE_AA, _SHIFT)


def _dashes(image: np.ndarray, quad: np.ndarray, colour: Colour) -> None:
    dash = 5 * _thickness(image)
    for start, end in zip(quad, np.roll(quad, -1, 0), strict=True):
        count = max(int(np.linalg.norm(end - start) / (2 * dash)), 1)
        for number in range(count):
            ends = start + (end - start) * np.array([[number / count], [(number + 0.5) / count]])
            first, last = _fixed_point(ends).tolist()
            cv2.line(image, first, last, colour, _thickness(image), cv2.LINE_AA, _SHIFT)


def _label(image: np.ndarray, quad: np.ndarray, text: str, colour: Colour, below: bool = False) -> None:
    """Draw a label above or below the quad, moved as far as needed to lie within the picture."""
    scale = max(0.35, min(image.shape[:2]) / 1400)
    (width, height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
    width, height = width + 4, height + 6
    top = quad[:, 1].max() + 2 if below else quad[:, 1].min() - height - 2
    x = int(np.clip(quad[:, 0].min(), 0, max(image.shape[1] - width, 0)))
    y = int(np.clip(top, 0, max(image.shape[0] - height, 0)))
    cv2.rectangle(image, (x, y), (x + width, y + height), colour, cv2.FILLED)
    origin = x + 2, y + height - 3
    cv2.putText(image, text, origin, cv2.FONT_HERSHEY_SIMPLEX, scale, (255, 255, 255), 1, cv2.LINE_AA)


def _fixed_point(points: np.ndarray) -> np.ndarray:
    return np.rint(points * 2.0**_SHIFT).astype(np.int32)


def _thickness(image: np.ndarray) -> int:
    return max(1, round(min(image.shape[:2]) / 350))
