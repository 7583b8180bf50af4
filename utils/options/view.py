"""Options for what the network is given: crops of training frames, whole frames, and the thresholds of words."""

import argparse

from utils.data.augmentation import MOST_SIDE, TrainTransform, WholeFrame
from utils.decode import NMS_THRESHOLD, SCORE_THRESHOLD, WORD_THRESHOLD, Thresholds
from utils.options.parser import number, option, whole_number

DETECTION = "val_short_side", "score_threshold", "nms_threshold", "word_threshold"
"""The names of the options of `add_detection_options`."""

VIEW = "short_side", "rotation", "stretch", "crop", "scale", "word_crops", "colour"
"""The names of the options of `add_view_options`."""


def add_detection_options(group, *names: str, of_file: bool = False) -> None:
    """Add the options of whole frames, in validation and in tests.

    names: of the option for their size. of_file: an exported file may hold defaults of its own; the values of options
    that are not given are None.
    """
    name = f"{'/'.join(names or ('--val-short-side',))} PX"
    side, score = (None, None) if of_file else (WholeFrame.short_side, SCORE_THRESHOLD)
    default = " (default: that of an exported file, else {})" if of_file else ""
    text = "short side of whole frames, in pixels" + default.format(WholeFrame.short_side)
    option(group, name, whole_number(1, MOST_SIDE), side, text)
    text = "lowest probability of a cell that counts as text" + default.format(SCORE_THRESHOLD)
    option(group, "--score-threshold P", number(0, 1), score, text)
    text = "IoU of two words above which the one with the smaller sum of cell scores is removed"
    option(group, "--nms-threshold IOU", number(0, 1), NMS_THRESHOLD, text)
    text = "lowest sum of a word's cell scores, as a share of the text cells that a word of its size has"
    option(group, "--word-threshold SHARE", number(0, 1), WORD_THRESHOLD, text)


def thresholds(options: argparse.Namespace) -> Thresholds:
    """The thresholds of words that the options of `add_detection_options` ask for."""
    return Thresholds(options.score_threshold, options.nms_threshold, options.word_threshold)


def add_view_options(group) -> None:
    """Add the options of training frames, from which `train_transform` makes a transform."""
    default = TrainTransform
    option(
        group,
        "--short-side PX",
        whole_number(1, MOST_SIDE),
        default.short_side,
        "short side of training frames, in pixels",
    )
    text = "rotate training frames by a random angle of up to this, in both directions"
    option(group, "--rotation DEG", number(0, 45), default.rotation, text)
    text = "stretch the height of training frames by a random factor"
    option(group, "--stretch LOW HIGH", number(0.1, 10), default.stretch, text)
    text = f"crop training frames to a square of this side, a multiple of 4, at least {default.least_crop}"
    option(group, "--crop PX", whole_number(default.least_crop, MOST_SIDE), default.crop, text)
    option(group, "--scale LOW HIGH", number(0.05, 20), default.scale, "resize training frames by a random factor")
    text = "share of the crops that are placed around a word"
    option(group, "--word-crops SHARE", number(0, 1), default.word_crops, text)
    text = "strength of random changes of brightness and colour, from 0 for none to 1"
    option(group, "--colour X", number(0, 1), default.colour, text)


def train_transform(options: argparse.Namespace) -> TrainTransform:
    """The transform of training frames that the options of `add_view_options` describe."""
    stretch, scale = tuple(options.stretch), tuple(options.scale)
    view = options.short_side, options.rotation, stretch, options.crop, scale
    return TrainTransform(*view, options.word_crops, options.colour)
