"""The options of `detect.py`."""

from utils.data.video_sources import DEFAULT_CONNECTION
from utils.options.machine import add_backend_option, add_machine_options
from utils.options.parser import Parser, flag, nonempty_path, nonempty_text, number, option, whole_number
from utils.options.reading import add_reading_options
from utils.options.view import add_detection_options

FORMATS = "txt", "txt-scores", "jsonl"


def add_detecting_options(parser: Parser) -> None:
    """Add the inputs and options of `detect.py` in named groups."""
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="INPUT",
        help="image, folder, glob, video, rtsp:// or http:// address, or number of a camera",
    )
    text = "the checkpoint, original or pruned, or a file that export.py wrote"
    option(parser, "--pretrain-model CKPT", nonempty_text, None, text, required=True)
    add_output_options(parser.add_argument_group("output"))
    detection = parser.add_argument_group("detection")
    add_detection_options(detection, "--short-side", of_file=True)
    text = "reject frames whose probability of text is lower: most of the network is not computed; 0: reject none "
    text += "(default: that of the file's rejector, if it has one)"
    option(detection, "--reject-below P", number(0, 1), None, text)
    video = parser.add_argument_group("videos")
    text = "detect in every Nth frame; the frames between keep its words or, with --track, follow them"
    option(video, "--every N", whole_number(1), 1, text)
    flag(video, "--track", "follow words from frame to frame: numbers that stay, smoothed corners, short gaps closed")
    live = parser.add_argument_group("cameras and streams")
    text = "attempts in a row to open a camera or stream again that stopped; 0: none"
    option(live, "--reconnect N", whole_number(0), DEFAULT_CONNECTION.reconnect, text)
    text = "longest wait, in seconds, for a camera or stream to open, and for its next frame"
    option(live, "--wait SECONDS", number(0.1, 3600), DEFAULT_CONNECTION.wait, text)
    add_reading_options(parser.add_argument_group("pictures"))
    machine = parser.add_argument_group("machine")
    add_backend_option(machine)
    add_machine_options(machine, workers=False)


def add_output_options(group) -> None:
    option(group, "--output-dir DIR", nonempty_path, None, "folder for the results", required=True)
    text = "res_*.txt as ICDAR's, the same with a score after each quad, or detections.jsonl"
    option(group, "--format", str, "txt", text, choices=FORMATS)
    flag(group, "--no-pictures", "write neither pictures nor videos")
