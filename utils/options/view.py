"""Options about how training frames and whole frames are presented to the network."""

import argparse

from utils.data.augmentation import TrainTransform, WholeFrame
from utils.decode import NMS_THRESHOLD, SCORE_THRESHOLD
from utils.options.parser import number, option, whole_number


def add_detection_options(group, *names: str) -> None:
    """How whole frames are looked at: in validation and in tests. names: of the option for their size."""
    names = names or ("--val-short-side",)
    option(group, names, whole_number(1), WholeFrame.short_side, "PX", "short side of whole frames, in pixels")
    option(group, "--score-threshold", number(0, 1), SCORE_THRESHOLD, "P", "least probability of a text cell")
    text = "of two words with more overlap the one with fewer cells goes"
    option(group, "--nms-threshold", number(0, 1), NMS_THRESHOLD, "IOU", text)


def add_view_options(group) -> None:
    """How training frames are looked at; `train_transform` makes a transform of them."""
    default = TrainTransform
    option(group, "--short-side", whole_number(1), default.short_side, "PX", "training frames get this short side")
    option(group, "--rotation", number(0, 45), default.rotation, "DEG", "... are turned by up to this, either way")
    bounds = ("LOW", "HIGH")
    option(group, "--stretch", number(0.1, 10), default.stretch, bounds, "... stretched in height", nargs=2)
    text = "... and cropped to a square, a multiple of 4"
    option(group, "--crop", whole_number(default.least_crop), default.crop, "PX", text)
    option(group, "--scale", number(0.05, 20), default.scale, bounds, "... made larger or smaller", nargs=2)
    text = "share of the crops that are drawn around a word"
    option(group, "--word-crops", number(0, 1), default.word_crops, "SHARE", text)
    text = "changes of light and colour: 0 none, 1 strong"
    option(group, "--colour", number(0, 1), default.colour, "X", text)


def train_transform(args: argparse.Namespace) -> TrainTransform:
    return TrainTransform(
        args.short_side, args.rotation, tuple(args.stretch), args.crop, tuple(args.scale), args.word_crops, args.colour
    )
