"""List the layers of an exported network by what int8 costs in each.

    python3 -m tools.int8_sensitivity model.onnx PHOTOS
    python3 export.py --pretrain-model best.pt --output model8.onnx --int8 PHOTOS --float-layers conv1.0 distances.0

Each layer is quantised alone, and the maps of some pictures are compared with those of the float network, in the cells
that are text. The layers at the top are the ones to keep float with `export.py --float-layers`.
"""

from pathlib import Path

from tqdm import tqdm

from utils.deploy.calibration import calibration_inputs
from utils.deploy.exported_detector import ExportedDetector
from utils.deploy.file_info import FORMATS, read_info
from utils.deploy.quantisation import convolutions
from utils.deploy.sensitivity import errors_of_layers
from utils.errors import UserError, run_script
from utils.options.parser import Parser, nonempty_path, option, whole_number
from utils.options.reading import add_reading_options, read_options
from utils.runtime.tables import format_table

PICTURES = 8


def build_parser() -> Parser:
    parser = Parser(__doc__)
    parser.add_argument("file", type=nonempty_path, metavar="FILE", help="a float ONNX file that export.py wrote")
    text = "pictures with text, like those that the network will read"
    parser.add_argument("folder", type=nonempty_path, metavar="PHOTOS", help=text)
    option(parser, "--calibration-frames N", whole_number(1), PICTURES, "pictures to use, spread over the folder")
    option(parser, "--short-side PX", whole_number(1), None, "short side of the pictures (default: the file's)")
    add_reading_options(parser.add_argument_group("pictures"))
    return parser


def main() -> None:
    args = build_parser().parse_args()
    check_file(args.file)
    detector = ExportedDetector(args.file, short_side=args.short_side)
    inputs = list(calibration_inputs(args.folder, args.calibration_frames, detector, read_options(args)))
    count = 1 + len(convolutions(args.file))
    whole, *layers = tqdm(errors_of_layers(args.file, inputs), "layers", count, leave=False, disable=None)
    layers.sort(key=lambda each: -each.share(whole.errors))
    rows = [["int8", "probability", "distances, px", "angle, rad", "of all"]]
    for each in (whole, *layers):
        probability, distance, angle = each.errors
        share = f"{each.share(whole.errors):.0%}"
        rows.append([each.layer, f"{probability:.4f}", f"{distance:.3f}", f"{angle:.4f}", share])
    print(format_table(rows))


def check_file(path: Path) -> None:
    """Raise `UserError` unless it is a float ONNX file."""
    if FORMATS.get(path.suffix.lower()) != "onnx":
        raise UserError(f"{path}: expected an ONNX file; export.py writes one with --output NAME.onnx")
    info = read_info(path)
    if info.precision != "float32":
        raise UserError(f"{path}: is {info.precision} already; give the float file")
    if info.reject_below is not None:
        raise UserError(f"{path}: has a rejector; export the checkpoint with --no-rejector for this")


if __name__ == "__main__":
    run_script(main)
