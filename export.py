"""Export a checkpoint, original or pruned, to a file that runs without PyTorch.

    python3 export.py --pretrain-model CKPT --output model.onnx
    python3 export.py --pretrain-model CKPT --output model8.onnx --int8 PHOTOS --test-folder-sample SAMPLE
    python3 export.py --pretrain-model CKPT --output model.onnx --size 736 1312       # for OpenCV
    python3 export.py --pretrain-model CKPT --output model.xml                        # OpenVINO

detect.py, test_sample.py and `detect.load_detector` take the file like a checkpoint. Before it gets its name, it is run
at three sizes and compared with the checkpoint: a file whose distances differ by more than 0.01 pixels is refused. An
int8 file is made from a float one that passed. requirements-extra.txt lists the packages for export.
"""

import utils.runtime.openmp  # noqa: F401  # isort: skip  (PyTorch reads its setting when it is loaded)
import argparse
import hashlib
import os
import tempfile
from pathlib import Path
from typing import NamedTuple

import torch

from datasets import EpochSampler, make_loader, open_dataset
from loss import Criterion
from utils.checkpoint import arguments_of, load_model
from utils.data.augmentation import WholeFrame
from utils.data.image_types import ReadOptions
from utils.decode import SCORE_THRESHOLD, Thresholds
from utils.deploy.agreement import Differences, compare_maps
from utils.deploy.calibration import calibration_inputs
from utils.deploy.engines import EngineSettings
from utils.deploy.exported_detector import ExportedDetector, FixedFrame
from utils.deploy.exported_network import ExportedNetwork, milliseconds_per_run
from utils.deploy.exporting import export, finish
from utils.deploy.file_info import FORMATS, ExportedInfo, megabytes_of, read_info
from utils.deploy.quantisation import operators_without, quantise
from utils.errors import UserError, run_script
from utils.evaluation import Evaluation
from utils.evaluation.validation import ValidationSettings, validate
from utils.maps import SIZE_MULTIPLE
from utils.network.base import TextNetwork
from utils.network.channels import LAYERS
from utils.network.cost import limit_threads, milliseconds_per_frame
from utils.network.rejector import RejectingNetwork, Rejector
from utils.options.exporting import add_exporting_options
from utils.options.parser import Parser
from utils.options.reading import read_options
from utils.runtime.files import atomic_file, refuse_overlap
from utils.runtime.tables import format_table

MOST_LOST = 0.01
"""hmean that an int8 network may lose before the command comments on it."""

HEADER = ["network", "hmean", "precision", "recall", "MB", "ms"]


def build_parser() -> Parser:
    parser = Parser(__doc__)
    add_exporting_options(parser)
    return parser


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    return build_parser().parse_args(arguments)


def main(args: argparse.Namespace) -> None:
    file_format = check_request(args)
    network, contents = load_model(args.pretrain_model)
    info = describe(args, network, contents)
    rejector = choose_rejector(args, network, contents, file_format)
    frames = TestFrames(args, info) if args.test_folder_sample else None
    measured = [frames.measure_checkpoint(network)] if frames else []
    with tempfile.TemporaryDirectory(prefix="export-") as folder:
        plain = Path(folder) / ("plain.torchscript" if file_format == "torchscript" else "plain.onnx")
        whole = RejectingNetwork(network, rejector) if rejector else network
        export(whole, info, plain, file_format, args.opset)
        path = finish(plain, info, rejector, file_format)
        differences = compare(whole, path, args.threads)
        if not differences.small:
            raise UserError(f"{args.output}: not written; it differs from the checkpoint: {differences}")
        print(f"largest differences from the checkpoint: {differences}")
        measured += [frames.measure(path)] if frames else []
        if args.int8:
            path = finish(*write_int8(args, plain, info), rejector, file_format)
            measured += [frames.measure(path)] if frames else []
        publish(path, args.output)
    if measured:
        print(format_table([HEADER, *(each.row() for each in measured)]))
        if (lost := measured[0].scores.hmean - measured[-1].scores.hmean) > MOST_LOST:
            print(
                f"hmean drops by {lost:.3f}: give --int8 pictures that are more like the test frames, or more of them; "
                "or --float-layers: tools.int8_sensitivity names the layers that lose most"
            )
    size = f"one picture of {info.size[0]}x{info.size[1]} at a time" if info.size else "pictures of any size"
    print(f"{args.output}: {megabytes_of(args.output):.1f} MB, {size}, short side {info.short_side} by default")


def check_request(args: argparse.Namespace) -> str:
    """The format to write. Raises `UserError` for options that do not fit together, before anything is computed."""
    suffix = args.output.suffix.lower()
    file_format = args.format or FORMATS.get(suffix)
    if FORMATS.get(suffix) != file_format or file_format is None:
        expected = {name: suffix for suffix, name in FORMATS.items()}.get(args.format, " or ".join(FORMATS))
        raise UserError(f"--output {args.output}: expected a name that ends with {expected}")
    if args.size and any(side % SIZE_MULTIPLE for side in args.size):
        raise UserError(f"--size {args.size[0]} {args.size[1]}: expected multiples of {SIZE_MULTIPLE}")
    if args.int8 and file_format == "torchscript":
        raise UserError("--int8: not for torchscript; give --output a name that ends with .onnx or .xml")
    if args.float_layers and not args.int8:
        raise UserError("--float-layers: has an effect with --int8 only")
    if unknown := sorted(set(args.float_layers or ()) - {layer.conv for layer in LAYERS}):
        raise UserError(f"--float-layers {unknown[0]}: there is no such layer; tools.int8_sensitivity lists them")
    if not args.output.parent.is_dir():
        raise UserError(f"--output {args.output}: there is no folder {args.output.parent}; create it")
    refuse_files_of_others(args, file_format)
    return file_format


def refuse_files_of_others(args: argparse.Namespace, file_format: str) -> None:
    """Raise `UserError` if a file to write exists and export.py did not write it, or if it is the checkpoint.

    A .bin file of weights does not say who wrote it: it is one of export.py if the .xml file beside it is.
    """
    weights = args.output.with_suffix(".bin") if file_format == "openvino" else None
    refuse_overlap([args.output, weights], [args.pretrain_model])
    if args.output.exists():
        try:
            read_info(args.output)
        except UserError:
            cure = "give another --output"
            raise UserError(f"--output {args.output}: exists, and export.py did not write it; {cure}") from None
    elif weights and os.path.lexists(weights):
        cure = "move it, or give another --output"
        raise UserError(f"--output {args.output}: {weights} exists, and export.py did not write it; {cure}")


def describe(args: argparse.Namespace, network: TextNetwork, contents: dict) -> ExportedInfo:
    """What the file says about itself. Values that the command line leaves out are those of the checkpoint's run."""
    trained = arguments_of(contents)
    short_side = args.short_side or trained.get("val_short_side") or WholeFrame.short_side
    threshold = args.score_threshold
    if threshold is None:
        threshold = trained.get("score_threshold", SCORE_THRESHOLD)
    with open(args.pretrain_model, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    size = tuple(args.size) if args.size else None
    return ExportedInfo(int(short_side), float(threshold), dict(network.plan), digest, size)


def choose_rejector(
    args: argparse.Namespace, network: TextNetwork, contents: dict, file_format: str
) -> Rejector | None:
    """The checkpoint's rejector, if the file can have one."""
    rejector = Rejector.of_checkpoint(args.pretrain_model, contents, network)
    if rejector and file_format == "torchscript" and not args.no_rejector:
        print("a TorchScript file holds no rejector: it is left out")
    return None if args.no_rejector or file_format == "torchscript" else rejector


def compare(network: TextNetwork | RejectingNetwork, path: Path, threads: int | None) -> Differences:
    detector = ExportedDetector(path, engine=EngineSettings(threads=threads))
    return compare_maps(network, lambda images: detector.engine.run(images, 0.0), detector.info.size)


def write_int8(args: argparse.Namespace, source: Path, info: ExportedInfo) -> tuple[Path, ExportedInfo]:
    """Quantise a float ONNX file: the int8 file, in the same folder, and its description."""
    inputs = calibration_inputs(Path(args.int8), args.calibration_frames, ExportedDetector(source), read_options(args))
    operators = operators_without(source, args.float_layers) if args.float_layers else None
    target = source.with_name("int8.onnx")
    return target, quantise(source, target, info, inputs, operators)


def publish(path: Path, output: Path) -> None:
    """Give the written file its name, atomically; of an OpenVINO file, the weights first."""
    for source, target in ((path.with_suffix(".bin"), output.with_suffix(".bin")), (path, output)):
        if source.exists():
            with atomic_file(target) as file:
                file.write(source.read_bytes())


class TestFrames:
    """Annotated frames that networks are measured on."""

    def __init__(self, args: argparse.Namespace, info: ExportedInfo):
        self.folder, self.info, self.threads = args.test_folder_sample, info, args.threads
        self.reading: ReadOptions = read_options(args)

    def measure_checkpoint(self, network: TextNetwork) -> "Measured":
        """The network as PyTorch runs it."""
        transform = FixedFrame(size=self.info.size) if self.info.size else WholeFrame(self.info.short_side)
        with limit_threads(self.threads):
            scores, size = self._scores(network, transform)
            return Measured("checkpoint, PyTorch", scores, None, milliseconds_per_frame(network, *size))

    def measure(self, path: Path) -> "Measured":
        """The network of an exported file."""
        detector = ExportedDetector(path, engine=EngineSettings(threads=self.threads))
        scores, size = self._scores(ExportedNetwork(detector), detector.transform)
        name = f"{detector.info.precision}, {detector.engine.name}"
        return Measured(name, scores, megabytes_of(path), milliseconds_per_run(detector, *size))

    def _scores(self, network: TextNetwork, transform: WholeFrame) -> tuple[Evaluation, tuple[int, int]]:
        """The scores on all frames, and the input size of the first one."""
        torch.manual_seed(0)  # the loss draws easy negatives at random
        dataset = open_dataset(None, self.folder, train=False, transform=transform, **self.reading._asdict())
        loader = make_loader(dataset, EpochSampler(dataset), 1, 0)
        result = validate(network, loader, Criterion(), ValidationSettings(Thresholds(self.info.score_threshold)))
        return result.evaluation, transform.padded_size(*result.frames[0].size)


class Measured(NamedTuple):
    """A network on the test frames."""

    name: str
    scores: Evaluation
    megabytes: float | None
    """Of the file; None for a checkpoint, which may hold an optimizer's state, too."""
    milliseconds: float
    """The network alone, on one frame."""

    def row(self) -> list[str]:
        """The cells of the table's row."""
        scores = [f"{value:.4f}" for value in (self.scores.hmean, self.scores.precision, self.scores.recall)]
        return [
            self.name,
            *scores,
            "" if self.megabytes is None else f"{self.megabytes:.1f}",
            f"{self.milliseconds:.1f}",
        ]


if __name__ == "__main__":
    run_script(lambda: main(parse_args()))
