"""Word quads -> target maps (FOTS, Liu et al. 2018, section 3.2, after EAST, Zhou et al. 2017)."""

from math import ceil

import numpy as np
import torch

from utils.data.annotations import Words
from utils.geometry import Rectangles, bounding_boxes, min_area_rectangles
from utils.maps import STRIDE, Target, map_size

SHRINK_RATIO = 0.3
"""Each side of a word's box moves inwards by this share of the whole word's short side."""


def encode(words: Words, height: int, width: int, frame: tuple[int, int] | None = None) -> Target:
    """Target maps of one input image, each (C, height / 4, width / 4) float32.

    words: in the input's pixels. frame: (height, width) of the picture inside the input, if the rest is
    padding; words are cut off at its border.
    """
    return Target(*(values[0] for values in encode_batch([words], height, width, frame)))


def encode_batch(images: list[Words], height: int, width: int, frame: tuple[int, int] | None = None) -> Target:
    """Target maps of N inputs of one size, each (N, C, height / 4, width / 4) float32; see `encode`.

    The cells of all words' bounding boxes are worked on at once, the largest word's first; where words
    overlap, the last and so the smallest one wins.
    """
    rows, columns = map_size(height, width)
    border = np.array([width, height] if frame is None else frame[::-1]) / STRIDE
    shape = len(images), 1, rows, columns
    score, angle, training_mask = (np.zeros(shape, np.float32) for _ in range(3))
    distances = np.zeros((len(images), 4, rows, columns), np.float32)
    training_mask[..., : ceil(border[1]), : ceil(border[0])] = 1

    words = Words(*(np.concatenate(values) for values in zip(*images, strict=True)))
    image_of_word = np.repeat(np.arange(len(images)), [len(each.quads) for each in images])
    image, cell, is_word, values = _word_cells(words, image_of_word, rows, columns, border)
    score.reshape(-1, rows * columns)[image, cell] = is_word
    training_mask.reshape(-1, rows * columns)[image, cell] = is_word
    image, cell, values = image[is_word], cell[is_word], values[is_word]
    distances.reshape(-1, 4, rows * columns)[image, :, cell] = values[:, :4]
    angle.reshape(-1, rows * columns)[image, cell] = values[:, 4]
    return Target(*map(torch.from_numpy, (score, distances, angle, training_mask)))


def _word_cells(
    words: Words, image_of_word: np.ndarray, rows: int, columns: int, border: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The cells that lie in a word's box, none twice: their (C,) images and (C,) places in the flat map; (C,)
    bool, whether in the shrunk box of a word that counts; (C, 5) their distances in pixels, and angle."""
    quads = words.quads.astype(np.float64) / STRIDE
    boxes = bounding_boxes(quads)
    visible = (boxes[:, :2] < border).all(1) & (boxes[:, 2:] > 0).all(1)
    quads, boxes, ignored, image = quads[visible], boxes[visible], words.ignored[visible], image_of_word[visible]
    whole = min_area_rectangles(quads)
    shrinkage = SHRINK_RATIO * whole.sizes.min(1)
    is_cut = np.concatenate([boxes[:, :2] < 0, boxes[:, 2:] > border], 1)  # left, top, right, bottom
    rectangles = _with_cut_words(whole, quads, is_cut.any(1), border)
    extents = bounding_boxes(rectangles.corners())
    extents[np.isnan(extents)] = -1  # nothing of the word is in the picture
    left, top = np.maximum(np.ceil(extents[:, :2]), 0).T
    right, bottom = np.minimum(np.floor(extents[:, 2:]) + 1, [columns, rows]).T
    across = np.maximum(right - left, 0)
    count = (across * np.maximum(bottom - top, 0)).astype(int)

    order = np.argsort(-whole.sizes.prod(1), kind="stable")
    count = count[order]
    band = is_cut * shrinkage[:, None]  # no positives closer than this to a border that cuts the word
    table = np.stack([left, top, across, np.cos(rectangles.theta), np.sin(rectangles.theta), *rectangles.low.T,
                      *rectangles.high.T, rectangles.theta, np.where(ignored, np.inf, shrinkage),
                      band[:, 0], band[:, 1], border[0] - band[:, 2], border[1] - band[:, 3]])  # fmt: skip
    table = np.repeat(table[:, order], count, 1)  # a column a cell
    left, top, across, cos, sin, low_x, low_y, high_x, high_y, theta, shrinkage, *limits = table
    number = np.arange(len(left)) - np.repeat(np.cumsum(count) - count, count)  # of the cell in its word
    down, right = np.divmod(number, across)
    x, y = left + right, top + down
    along, down = x * cos - y * sin, x * sin + y * cos
    # to the top, right, bottom and left side
    values = np.stack([down - low_y, high_x - along, high_y - down, along - low_x, theta])
    nearest = values[:4].min(0)
    is_word = (nearest >= shrinkage) & (x >= limits[0]) & (y >= limits[1]) & (x <= limits[2]) & (y <= limits[3])

    inside = np.flatnonzero(nearest >= 0)
    place = ((np.repeat(image[order], count) * rows + y) * columns + x).astype(int)[inside]
    last = np.full((image_of_word.max(initial=0) + 1) * rows * columns, -1)
    last[place] = inside  # of several words the last one's stays
    cells = np.flatnonzero(last >= 0)
    chosen = last[cells]
    values = values[:, chosen].T * ([STRIDE] * 4 + [1]) + [0, 0, 0, 0, np.pi / 4]
    return *np.divmod(cells, rows * columns), is_word[chosen], values


def _with_cut_words(whole: Rectangles, quads: np.ndarray, is_cut: np.ndarray, border: np.ndarray) -> Rectangles:
    """The rectangles, those of the words that the border cuts around what is left of them."""
    if not is_cut.any():
        return whole
    rectangles = Rectangles(*(values.copy() for values in whole))
    for values, visible in zip(rectangles, min_area_rectangles(quads[is_cut], tuple(border)), strict=True):
        values[is_cut] = visible
    return rectangles
