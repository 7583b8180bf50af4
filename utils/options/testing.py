"""The options of `test_sample.py`."""

from utils.data.augmentation import MOST_SIDE
from utils.options.machine import MOST_IMAGES, add_backend_option, add_cache_option, add_machine_options
from utils.options.parser import Parser, flag, nonempty_path, nonempty_text, option, whole_number
from utils.options.reading import add_reading_options
from utils.options.sample import add_format_option, add_sample_option
from utils.options.view import add_detection_options


def add_testing_options(parser: Parser) -> None:
    """Add the options of `test_sample.py` in named groups."""
    add_frame_options(parser.add_argument_group("test frames"))
    add_network_options(parser.add_argument_group("network"))
    add_detection_options(parser.add_argument_group("detection"), "--short-side", "--val-short-side", of_file=True)
    add_measurement_options(parser.add_argument_group("measurements"))
    add_machine_options(parser.add_argument_group("machine"))


def add_frame_options(group) -> None:
    text = "annotated frames, in one of the formats of docs/data.md; the test frames are used"
    add_sample_option(group, "--test-folder-sample", text, required=True)
    add_format_option(group)
    add_cache_option(group)
    add_reading_options(group)
    option(group, "--batch-size N", whole_number(1, MOST_IMAGES), 1, "frames in a batch")
    text = "accepted and ignored, so that a training command line can be reused"
    option(group, "--batches-before-train N", whole_number(1), 1, text)


def add_network_options(group) -> None:
    text = "the checkpoint to measure, or a file that export.py wrote"
    option(group, "--pretrain-model CKPT", nonempty_text, None, text, required=True)
    flag(group, "--prune", "the checkpoint is a pruned network")
    add_backend_option(group)


def add_measurement_options(group) -> None:
    flag(group, "--sweep", "also measure at other score thresholds, on the same maps, and print the best one")
    text = "also detect at these short sides and merge all words (without values: at 0.7 and 1.4 times the main one)"
    option(group, "--multi-scale PX", whole_number(1, MOST_SIDE), None, text, nargs="*")
    option(group, "--output-dir DIR", nonempty_path, None, "folder for the pictures, res_*.txt and metrics.json")
