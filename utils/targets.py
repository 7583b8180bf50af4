"""Word quads -> target maps (FOTS, Liu et al. 2018, section 3.2, after EAST, Zhou et al. 2017)."""

import numpy as np
import torch

from utils.annotations import Words
from utils.geometry import Rectangles, bounding_boxes, min_area_rectangles
from utils.maps import STRIDE, Target, map_size

SHRINK_RATIO = 0.3
"""Each side of a word's box moves inwards by this share of the whole word's short side."""


def encode(words: Words, height: int, width: int, frame: tuple[int, int] | None = None) -> Target:
    """Target maps of one input image, each (C, height / 4, width / 4) float32.

    words: in the input's pixels. frame: (height, width) of the picture inside the input, if the rest is
    padding; words are cut off at its border.

    The work per word is done over the word's own bounding box, all its cells at once. Small words are
    drawn last, and so win where words overlap.
    """
    rows, columns = map_size(height, width)
    border = np.array([width, height] if frame is None else frame[::-1]) / STRIDE
    score = np.zeros((rows, columns), np.float32)
    geometry = np.zeros((5, rows, columns), np.float32)  # four distances, angle
    training_mask = np.zeros((rows, columns), np.float32)
    training_mask[np.arange(rows) < border[1]] = np.arange(columns) < border[0]

    quads = words.quads.astype(np.float64) / STRIDE
    whole = min_area_rectangles(quads)
    shrinkage = SHRINK_RATIO * whole.sizes.min(1)
    boxes = bounding_boxes(quads)
    cut = np.concatenate([boxes[:, :2] < 0, boxes[:, 2:] > border], 1)  # left, top, right, bottom
    rectangles = _with_cut_words(whole, quads, cut.any(1), border)
    axes, extents = rectangles.axes, bounding_boxes(rectangles.corners())
    band = cut * shrinkage[:, None]  # no positives closer than this to a border that cuts the word

    for word in np.argsort(-whole.sizes.prod(1), kind="stable"):
        if not np.isfinite(extents[word]).all():
            continue  # nothing of it is in the picture
        left, top = np.maximum(np.ceil(extents[word, :2]), 0).astype(int)
        right, bottom = np.minimum(np.floor(extents[word, 2:]) + 1, [columns, rows]).astype(int)
        window = np.s_[top:bottom, left:right]
        x, y = np.arange(left, right), np.arange(top, bottom)[:, None]
        along, down = (x * axis_x + y * axis_y for axis_x, axis_y in axes[word])
        low, high = rectangles.low[word], rectangles.high[word]
        # to the top, right, bottom and left side
        distances = np.stack([down - low[1], high[0] - along, high[1] - down, along - low[0]])
        nearest = distances.min(0, initial=np.inf)
        inside = nearest >= 0
        score[window][inside] = 0
        training_mask[window][inside] = 0
        if words.ignored[word]:
            continue
        core = nearest >= shrinkage[word]
        core &= (x >= band[word, 0]) & (x <= border[0] - band[word, 2])
        core &= (y >= band[word, 1]) & (y <= border[1] - band[word, 3])
        score[window][core] = 1
        training_mask[window][core] = 1
        geometry[:4, top:bottom, left:right][:, core] = distances[:, core] * STRIDE
        geometry[4][window][core] = rectangles.theta[word] + np.pi / 4
    geometry *= score
    return Target(*map(torch.from_numpy, (score[None], geometry[:4], geometry[4:], training_mask[None])))


def _with_cut_words(whole: Rectangles, quads: np.ndarray, is_cut: np.ndarray, border: np.ndarray) -> Rectangles:
    """The rectangles, those of the words that the border cuts around what is left of them."""
    if not is_cut.any():
        return whole
    rectangles = Rectangles(*(values.copy() for values in whole))
    for values, visible in zip(rectangles, min_area_rectangles(quads[is_cut], tuple(border)), strict=True):
        values[is_cut] = visible
    return rectangles
