"""The options of `export.py`."""

from utils.data.augmentation import MOST_SIDE
from utils.deploy.exporting import EXPORTERS, OPSET
from utils.deploy.quantisation import FRAMES
from utils.options.parser import Parser, flag, nonempty_path, nonempty_text, number, option, whole_number
from utils.options.reading import add_reading_options


def add_exporting_options(parser: Parser) -> None:
    """Add the options of `export.py` in named groups."""
    option(parser, "--pretrain-model CKPT", nonempty_text, None, "the checkpoint, original or pruned", required=True)
    text = "the file to write: .onnx, .xml for OpenVINO (with .bin beside it), or .torchscript"
    option(parser, "--output FILE", nonempty_path, None, text, required=True)
    add_file_options(parser.add_argument_group("file"))
    add_quantisation_options(parser.add_argument_group("int8"))
    add_accuracy_options(parser.add_argument_group("accuracy"))


def add_file_options(group) -> None:
    text = "format of the file (default: by the suffix of --output)"
    option(group, "--format", str, None, text, choices=list(EXPORTERS))
    text = "fixed size of the input, multiples of 32, one picture at a time (default: any size, any number of pictures)"
    option(group, "--size H W", whole_number(32, MOST_SIDE), None, text)
    option(group, "--opset N", whole_number(18, 25), OPSET, "version of ONNX's operators")
    flag(group, "--no-rejector", "leave out the checkpoint's rejector; OpenCV runs no file with one")
    text = "short side that the file asks for (default: that of the checkpoint's validation, else 280)"
    option(group, "--short-side PX", whole_number(1), None, text)
    text = "score threshold that the file asks for (default: that of the checkpoint's validation, else 0.5)"
    option(group, "--score-threshold P", number(0, 1), None, text)


def add_quantisation_options(group) -> None:
    text = "quantise to 8 bits: a folder with pictures like those that the network will read, for calibration"
    option(group, "--int8 DIR", nonempty_text, None, text)
    option(group, "--calibration-frames N", whole_number(1), FRAMES, "pictures to calibrate on, spread over the folder")
    text = "layers that stay float; python3 -m tools.int8_sensitivity lists them by what int8 costs in each"
    option(group, "--float-layers NAME", nonempty_text, None, text, nargs="+")


def add_accuracy_options(group) -> None:
    text = "annotated frames: measure hmean and milliseconds of the checkpoint and of the exported files"
    option(group, "--test-folder-sample DIR", nonempty_text, None, text)
    option(group, "--threads N", whole_number(1), None, "threads on the CPU (default: one per core)")
    add_reading_options(group)
