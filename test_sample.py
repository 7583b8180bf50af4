"""Measure a checkpoint, original or pruned, on the test frames of a sample dataset.

    python3 test_sample.py --test-folder-sample SAMPLE --batch-size 1 --batches-before-train 1 \\
        --pretrain-model CKPT [--prune] [--output-dir OUT]
    python3 test_sample.py ... --sweep                        # find the best --score-threshold
    python3 test_sample.py ... --pretrain-model model8.onnx       # a file that export.py wrote
    python3 test_sample.py ... --short-side 280 --multi-scale 400 560

Prints the loss; precision, recall and hmean by the ICDAR 2015 protocol, over all words and by size and rotation; and
the time of each stage. Writes to --output-dir, in place of an earlier report: index.html with a picture of each frame,
the worst frames first; res_*.txt in ICDAR's format; metrics.json.
"""

import utils.runtime.openmp  # noqa: F401  # isort: skip  (PyTorch reads its setting when it is loaded)
import argparse
import json
from pathlib import Path
from typing import Any

import torch

from datasets import EpochSampler, make_loader, open_dataset
from loss import Criterion
from model_pruned import FOTSModelPruned
from utils.base_detector import BaseDetector
from utils.checkpoint import check_pruned, load_model, plain_arguments
from utils.data.augmentation import WholeFrame
from utils.deploy.detectors import is_exported, refuse_backend
from utils.deploy.engines import EngineSettings
from utils.deploy.exported_detector import ExportedDetector
from utils.deploy.exported_network import ExportedNetwork, milliseconds_per_run
from utils.detector import Detector
from utils.errors import UserError, printable, run_script
from utils.evaluation import Evaluation
from utils.evaluation.breakdown import format_breakdowns
from utils.evaluation.curves import SWEEP, average_precision, best_threshold, format_curve
from utils.evaluation.html_report import PAGE, report_folder, write_report
from utils.evaluation.multi_scale import merge_validations
from utils.evaluation.result_files import whole_pixels
from utils.evaluation.timing import Timing, time_stages
from utils.evaluation.validation import Validation, ValidationSettings, evaluate_frames, validate
from utils.network.base import TextNetwork
from utils.network.cost import cost_in_words, count_macs, count_parameters, milliseconds_per_frame
from utils.options.parser import Parser
from utils.options.reading import read_options
from utils.options.sample import sample_folders
from utils.options.testing import add_testing_options
from utils.runtime.device import Machine, choose_device, count_workers, describe_device
from utils.runtime.files import refuse_overlap, write_file
from utils.runtime.results import ResultFolder

SCALE_FACTORS = 0.7, 1.4
"""Times the main short side: the other short sides of --multi-scale without values."""

METRICS = "metrics.json"

PRINTED = (
    *("images", "loss", "precision", "recall", "hmean", "average_precision"),
    *("images_per_second", "milliseconds_per_frame"),
)
"""The metrics that are printed and shown on top of the report."""


def build_parser() -> Parser:
    parser = Parser(__doc__)
    add_testing_options(parser)
    return parser


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    return build_parser().parse_args(arguments)


def main(args: argparse.Namespace) -> None:
    if args.ngpus > 1:
        raise UserError(f"--ngpus {args.ngpus}: one network is measured on one device; give --ngpus 1 or 0")
    folders = sample_folders(args.test_folder_sample, args.format)
    refuse_overlap([args.output_dir], [folder.path for folder in folders], inside=False)
    device = choose_device(args.ngpus, threads=args.threads)
    torch.manual_seed(0)  # the loss draws its easy negatives at random
    network, detector = open_network(args, device)
    detector.reading = read_options(args)
    thresholds = detector.thresholds = detector.thresholds._replace(word=args.word_threshold)
    sides = all_short_sides(detector.transform.short_side, args.multi_scale)
    transforms = [detector.transform, *map(WholeFrame, sides[1:])]
    datasets = [
        open_dataset(None, folders, False, transform=transform, cache_dir=args.cache_dir, **detector.reading._asdict())
        for transform in transforms
    ]
    if datasets[0].problems:
        print(f"test data, left out or repaired:\n{datasets[0].problems}")
    results = prepare_report(args.output_dir, datasets[0].folders) if args.output_dir else None
    print(f"device     {detector.runs_on}")

    workers = count_workers(args.num_workers, Machine(device))
    settings = ValidationSettings(thresholds, SWEEP if args.sweep else ())
    scales = []
    for dataset in datasets:
        loader = make_loader(dataset, EpochSampler(dataset), args.batch_size, workers)
        scales.append(validate(network, loader, Criterion(), settings))
    result = merge_validations(scales, thresholds.nms)
    if result.problems:
        print(f"left out or repaired while reading:\n{result.problems}")
    curve = {threshold: evaluate_frames(result.frames, found) for threshold, found in result.sweep.items()}

    timing = time_stages(detector, [frame.path for frame in result.frames], args.batch_size)
    size = detector.transform.padded_size(*result.frames[0].size)
    costs = cost_metrics(network, size)
    cost = cost_in_words(costs["parameters"], costs["gmacs"], *size)
    print(f"network    {'pruned' if network.pruned else 'original'}, {cost}")
    metrics = accuracy_metrics(result) | costs | run_metrics(args, detector, timing)
    metrics |= {"short_sides": sides, "sweep": curve_records(curve)}

    for name in PRINTED:
        print(f"{name}  {metrics[name]:.4g}")
    print(f"at a short side of {sides[0]}: {timing.describe()}")
    tables = format_tables(result, curve)
    print(f"\n{tables}")
    if results:
        shown = {name: metrics[name] for name in (*PRINTED, "device")} | {"timing": timing.describe()}
        results.forget()
        write_file(results.claim(METRICS), json.dumps(metrics, indent=2) + "\n")
        write_report(results, result.frames, result.detections, shown, tables)
        print(f"{printable(args.output_dir)}: index.html, metrics.json, {len(result.frames)} pictures and res_*.txt")


def prepare_report(folder: Path, image_folders: list[Path]) -> ResultFolder:
    """The report's folder. Raises `UserError` if it is in one of images, or has files of others with its names."""
    refuse_overlap([folder], image_folders)
    results = report_folder(folder)
    for name in (PAGE, METRICS):
        results.claim(name)
    return results


def open_network(args: argparse.Namespace, device: torch.device) -> tuple[TextNetwork, BaseDetector]:
    """The network of a checkpoint, on the device, or of an exported file; and its detector. Raises `UserError`."""
    names = "short_side", "score_threshold", "nms_threshold"
    options = {name: value for name in names if (value := getattr(args, name)) is not None}
    if is_exported(args.pretrain_model):
        exported = ExportedDetector(args.pretrain_model, engine=EngineSettings(args.backend, args.threads), **options)
        if args.multi_scale is not None and exported.info.size:
            raise UserError(f"--multi-scale: {args.pretrain_model} has a fixed size; leave the option out")
        return ExportedNetwork(exported), exported
    refuse_backend(args.pretrain_model, args.backend)
    network, _ = load_model(args.pretrain_model)
    check_pruned(args.pretrain_model, network, args.prune)
    detector = Detector(network.to(device), device=device, **options)
    detector.runs_on = describe_device(device, args.ngpus, args.threads)
    return network, detector


def plain_network(network: TextNetwork) -> TextNetwork:
    """The network itself; of an exported one, an untrained network of the same costs."""
    return FOTSModelPruned(network.plan) if isinstance(network, ExportedNetwork) else network


def all_short_sides(main_side: int, others: list[int] | None) -> list[int]:
    """The short sides to measure at, the main one first. others: the values of --multi-scale, None without it."""
    if others is not None and not others:
        others = [round(main_side * factor) for factor in SCALE_FACTORS]
    return list(dict.fromkeys([main_side, *(others or [])]))


def accuracy_metrics(result: Validation) -> dict[str, float]:
    """The metrics of metrics.json that depend on the detections."""
    ranked = result.sweep[min(result.sweep)] if result.sweep else result.detections
    words = [frame.words for frame in result.frames]
    quads, scores = [whole_pixels(found) for found, _ in ranked], [scores for _, scores in ranked]
    return {
        "loss": result.loss,
        **result.evaluation._asdict(),
        "average_precision": average_precision(words, quads, scores),
        "images": len(result.frames),
        "images_per_second": result.images_per_second,
    }


def cost_metrics(network: TextNetwork, size: tuple[int, int]) -> dict[str, Any]:
    """The metrics of metrics.json that depend on the network alone. size: height and width of an input."""
    plain = plain_network(network)
    return {
        "parameters": count_parameters(plain),
        "gmacs": sum(count_macs(plain, *size).values()) / 1e9,
        "milliseconds_per_frame": milliseconds_of(network, *size),
        "input_size": size,
    }


def milliseconds_of(network: TextNetwork, height: int, width: int) -> float:
    """The median time of the network on one picture, as its detector runs it."""
    if isinstance(network, ExportedNetwork):
        return milliseconds_per_run(network.detector, height, width)
    return milliseconds_per_frame(network, height, width)


def run_metrics(args: argparse.Namespace, detector: BaseDetector, timing: Timing) -> dict[str, object]:
    """The entries of metrics.json about the run itself."""
    return {
        "timing": timing._asdict(),
        "device": detector.runs_on,
        "arguments": plain_arguments(vars(args)),
    }


def curve_records(curve: dict[float, Evaluation]) -> list[dict[str, float]]:
    return [{"score_threshold": threshold, **evaluation._asdict()} for threshold, evaluation in curve.items()]


def format_tables(result: Validation, curve: dict[float, Evaluation]) -> str:
    """The tables by size and rotation, and by score threshold if there is a sweep."""
    tables = format_breakdowns(
        [frame.words for frame in result.frames], [whole_pixels(q) for q, _ in result.detections]
    )
    if curve:
        tables += f"\n\n{format_curve(curve)}\nbest: --score-threshold {best_threshold(curve):g}"
    return tables


if __name__ == "__main__":
    run_script(lambda: main(parse_args()))
