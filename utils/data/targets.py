"""Word quads -> target maps (FOTS, Liu et al. 2018, section 3.2, after EAST, Zhou et al. 2017)."""

from math import ceil

import numpy as np
import torch

from utils.data.annotations import Words
from utils.geometry import Rectangles, bounding_boxes, min_area_rectangles
from utils.maps import SHRINK_RATIO, SIZE_MULTIPLE, STRIDE, Target, map_size


def encode(words: Words, height: int, width: int, size: tuple[int, int] | None = None) -> Target:
    """Target maps of one input image, each (C, height / 4, width / 4) float32.

    words: in the input's pixels. size: (height, width) of the picture inside the input; the rest is padding, with
    training mask 0, and words are cut off at its border. None: there is no padding.
    """
    return Target(*(values[0] for values in encode_batch([words], height, width, [size or (height, width)])))


def encode_batch(images: list[Words], height: int, width: int, sizes: list[tuple[int, int]]) -> Target:
    """Target maps of N inputs of one size, each (N, C, height / 4, width / 4) float32; see `encode`.

    images, sizes: of each input, its words and its picture's (height, width). The maps of an input do not depend on
    the others, nor on how far the batch is padded.

    The cells of all words' bounding boxes are computed at once, the largest word's first. Where words overlap, the
    last and so the smallest one wins.
    """
    rows, columns = map_size(height, width)
    shape = len(images), 1, rows, columns
    score, angle, training_mask = (np.zeros(shape, np.float32) for _ in range(3))
    distances = np.zeros((len(images), 4, rows, columns), np.float32)
    for mask, (picture_height, picture_width) in zip(training_mask, sizes, strict=True):
        mask[:, : ceil(picture_height / STRIDE), : ceil(picture_width / STRIDE)] = 1

    words = Words(*(np.concatenate(values) for values in zip(*images, strict=True)))
    image_of_word = np.repeat(np.arange(len(images)), [len(each.quads) for each in images])
    image, cell, is_word, values = _word_cells(words, image_of_word, (rows, columns), np.array(sizes))
    score.reshape(-1, rows * columns)[image, cell] = is_word
    training_mask.reshape(-1, rows * columns)[image, cell] = is_word
    image, cell, values = image[is_word], cell[is_word], values[is_word]
    distances.reshape(-1, 4, rows * columns)[image, :, cell] = values[:, :4]
    angle.reshape(-1, rows * columns)[image, cell] = values[:, 4]
    return Target(*map(torch.from_numpy, (score, distances, angle, training_mask)))


def _word_cells(
    words: Words, image_of_word: np.ndarray, shape: tuple[int, int], sizes: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The C cells inside the words' boxes, none twice.

    shape: (rows, columns) of the maps. sizes: (images, 2) heights and widths of the pictures, in pixels. Returns (C,)
    images, (C,) positions in the flat map, (C,) bool: inside the shrunk box of a word that counts, and (C, 5)
    distances in pixels and angle.
    """
    rows, columns = shape
    quads = words.quads.astype(np.float64) / STRIDE
    boxes = bounding_boxes(quads)
    border = (sizes[:, ::-1] / STRIDE)[image_of_word]  # (words, 2): where each word's picture ends, in cells
    visible = (boxes[:, :2] < border).all(1) & (boxes[:, 2:] > 0).all(1)
    quads, boxes, ignored, image = quads[visible], boxes[visible], words.ignored[visible], image_of_word[visible]
    border = border[visible]
    whole = min_area_rectangles(quads)
    shrinkage = SHRINK_RATIO * whole.sizes.min(1)
    is_cut = np.concatenate([boxes[:, :2] < 0, boxes[:, 2:] > border], 1)  # left, top, right, bottom
    rectangles = _with_cut_words(whole, quads, np.asarray(is_cut.any(1)), border)
    extents = bounding_boxes(rectangles.corners())
    extents[np.isnan(extents)] = -1  # no part of the word is in the picture
    # The rectangle of a quad can pass the border that the quad does not reach: it ends with the picture's own padding.
    last = np.minimum(np.ceil(border * STRIDE / SIZE_MULTIPLE) * (SIZE_MULTIPLE // STRIDE), [columns, rows])
    left, top = np.maximum(np.ceil(extents[:, :2]), 0).T
    right, bottom = np.minimum(np.floor(extents[:, 2:]) + 1, last).T
    across = np.maximum(right - left, 0)
    count = (across * np.maximum(bottom - top, 0)).astype(int)

    order = np.argsort(-whole.sizes.prod(1), kind="stable")
    count = count[order]
    band = is_cut * shrinkage[:, None]  # no positives closer than this to a border that cuts the word
    extent = left, top, across
    turn = np.cos(rectangles.theta), np.sin(rectangles.theta)
    limits = [band[:, 0], band[:, 1], *(border - band[:, 2:]).T]
    shrink = np.where(ignored, np.inf, shrinkage)
    table = np.stack([*extent, *turn, *rectangles.low.T, *rectangles.high.T, rectangles.theta, shrink, *limits])
    table = np.repeat(table[:, order], count, 1)  # one column per cell
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
    position = ((np.repeat(image[order], count) * rows + y) * columns + x).astype(int)[inside]
    winner = np.full((image_of_word.max(initial=0) + 1) * rows * columns, -1)
    winner[position] = inside  # of several words the last one stays
    cells = np.flatnonzero(winner >= 0)
    chosen = winner[cells]
    values = values[:, chosen].T * ([STRIDE] * 4 + [1]) + [0, 0, 0, 0, np.pi / 4]
    return *np.divmod(cells, rows * columns), is_word[chosen], values


def _with_cut_words(whole: Rectangles, quads: np.ndarray, is_cut: np.ndarray, border: np.ndarray) -> Rectangles:
    """The rectangles; that of a word that the border cuts is the one around its part inside the picture."""
    if not is_cut.any():
        return whole
    rectangles = Rectangles(*(values.copy() for values in whole))
    for values, visible in zip(rectangles, min_area_rectangles(quads[is_cut], border[is_cut]), strict=True):
        values[is_cut] = visible
    return rectangles
