"""Options about how pictures are read."""

import argparse

from utils.data.image_types import MAX_PIXELS, WHITE, ReadOptions
from utils.options.parser import option, whole_number

MOST_PIXELS = 2**30
"""OpenCV's own limit."""

COLOURS = {"white": WHITE, "black": (0, 0, 0), "grey": (128, 128, 128), "gray": (128, 128, 128)}


def add_reading_options(group) -> None:
    """Add --max-pixels and --background."""
    text = "pictures and videos of more pixels, by their header, are not decoded"
    option(group, "--max-pixels N", whole_number(1, MOST_PIXELS), MAX_PIXELS, text)
    text = "transparent pictures are composited onto this colour: white, black, grey, or R,G,B (default white)"
    option(group, "--background COLOUR", colour, None, text)


def read_options(args: argparse.Namespace) -> ReadOptions:
    """Return how the command line wants pictures to be read."""
    return ReadOptions(args.max_pixels, args.background or WHITE)


def colour(text: str) -> tuple[int, int, int]:
    """Argument type: the name of a colour, or R,G,B with values from 0 to 255."""
    if text in COLOURS:
        return COLOURS[text]
    try:
        red, green, blue = map(int, text.replace(",", " ").split())
    except ValueError:
        red = green = blue = -1
    if not 0 <= min(red, green, blue) <= max(red, green, blue) <= 255:
        names = ", ".join(COLOURS)
        raise argparse.ArgumentTypeError(f"{text[:40]!r}; expected {names}, or R,G,B with values from 0 to 255")
    return red, green, blue
