"""Measure a checkpoint, original or pruned, on a sample dataset's test frames.

    python3 test_sample.py --test-folder-sample SAMPLE --batch-size 1 --batches-before-train 1 \\
        --pretrain-model CKPT [--prune] [--output-dir OUT]
    python3 test_sample.py ... --sweep                        # which --score-threshold is best
    python3 test_sample.py ... --short-side 280 --multi-scale 400 560

Prints loss, precision, recall and hmean (ICDAR 2015 protocol), by size and rotation, and where the time
goes. Writes to --output-dir: index.html with a picture of each frame, the worst first; res_*.txt in
ICDAR's format; metrics.json.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from torch import nn

from datasets import EpochSampler, SampleDataset, make_loader
from loss import Criterion
from utils.checkpoint import check_pruned, load_model
from utils.data.augmentation import WholeFrame
from utils.decode import Thresholds, suppress
from utils.detector import Detector
from utils.errors import UserError, run_script
from utils.evaluation.analysis import THRESHOLDS, average_precision, best_threshold, curve_rows, describe_kinds
from utils.evaluation.html_report import write_report
from utils.evaluation.result_files import whole_pixels
from utils.evaluation.timing import Timing, time_stages
from utils.evaluation.validation import FrameDetections, Validation, ValidationSettings, evaluate_frames, validate
from utils.maps import padded_size
from utils.network.cost import count_macs, count_parameters, describe_cost, milliseconds_per_frame
from utils.options.machine import add_cache_option, add_machine_options
from utils.options.parser import Parser, given_path, given_text, whole_number
from utils.options.view import add_detection_options
from utils.runtime.device import choose_device, count_workers, describe_device
from utils.runtime.tables import format_table

MULTI_SCALE = 0.7, 1.4
"""What --multi-scale multiplies the short side by where no numbers are given."""

PRINTED = ("images", "loss", "precision", "recall", "hmean", "average_precision", "images_per_second",
           "milliseconds_per_frame")  # fmt: skip


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = Parser(__doc__)
    parser.add_argument(
        "--test-folder-sample",
        type=given_text,
        required=True,
        metavar="DIR",
        help="annotated frames, in one of the README's layouts; the test frames are used",
    )
    parser.add_argument(
        "--pretrain-model", type=given_text, required=True, metavar="CKPT", help="the checkpoint to measure"
    )
    parser.add_argument("--prune", action="store_true", help="that checkpoint is a pruned network")
    parser.add_argument("--batch-size", type=whole_number(1), default=1, metavar="N", help="(default %(default)s)")
    parser.add_argument(
        "--batches-before-train",
        type=whole_number(1),
        default=1,
        metavar="N",
        help="taken so that a training line can be reused; testing takes no steps",
    )
    parser.add_argument(
        "--output-dir", type=given_path, metavar="DIR", help="folder for pictures, res_*.txt, metrics.json"
    )
    add_cache_option(parser)
    parser.add_argument(
        "--sweep", action="store_true", help="score the same maps at other score thresholds, too, and tell the best"
    )
    parser.add_argument(
        "--multi-scale",
        type=whole_number(1),
        nargs="*",
        metavar="PX",
        help="look at these short sides as well and keep the best of all words (without a number: 0.7 and 1.4 times "
        "the short side)",
    )
    add_detection_options(parser, "--short-side", "--val-short-side")
    add_machine_options(parser)
    return parser.parse_args(arguments)


def main(args: argparse.Namespace) -> None:
    if args.ngpus > 1:
        raise UserError(f"--ngpus {args.ngpus}: one network is measured on one device; give --ngpus 1 or 0")
    device = choose_device(args.ngpus)
    torch.manual_seed(0)  # the loss draws its easy negatives at random
    model, _ = load_model(args.pretrain_model)
    check_pruned(args.pretrain_model, model, args.prune)
    model.to(device)
    sides = short_sides(args.short_side, args.multi_scale)
    dataset = open_frames(args, sides[0])
    if dataset.problems:
        print(f"test data, left out or repaired:\n{dataset.problems}")
    if args.output_dir:
        args.output_dir.mkdir(parents=True, exist_ok=True)
    print(f"device     {describe_device(device, args.ngpus)}")

    looks = [look(args, model, device, side) for side in sides]
    first = looks[0]
    if first.problems:
        print(f"left out or repaired while reading:\n{first.problems}")
    words = [frame.words for frame in first.frames]
    detections = merge_scales([each.detections for each in looks], args.nms_threshold)
    quads = [whole_pixels(found) for found, _ in detections]
    sweep = {
        threshold: merge_scales([each.sweep[threshold] for each in looks], args.nms_threshold)
        for threshold in first.sweep
    }
    curve = {threshold: evaluate_frames(first.frames, found) for threshold, found in sweep.items()}
    ranked = sweep[min(sweep)] if sweep else detections
    timing = time_detector(args, model, device, first.frames)
    size = padded_size(*first.frames[0].size)
    print(f"network    {'pruned' if model.pruned else 'original'}, {describe_cost(model, *size)}")
    metrics = {
        "loss": first.loss,
        **evaluate_frames(first.frames, detections)._asdict(),
        "average_precision": average_precision(
            words, [whole_pixels(found) for found, _ in ranked], [scores for _, scores in ranked]
        ),
        "images": len(first.frames),
        "images_per_second": len(first.frames) / sum(len(each.frames) / each.images_per_second for each in looks),
        "parameters": count_parameters(model),
        "gmacs": sum(count_macs(model, *size).values()) / 1e9,
        "milliseconds_per_frame": milliseconds_per_frame(model, *size),
        "input_size": size,
        "short_sides": sides,
        "timing": timing._asdict(),
        "sweep": [{"score_threshold": threshold, **scores._asdict()} for threshold, scores in curve.items()],
        "device": describe_device(device, args.ngpus),
        "arguments": {name: str(value) if isinstance(value, Path) else value for name, value in vars(args).items()},
    }
    for name in PRINTED:
        print(f"{name}  {metrics[name]:.4g}")
    print(f"at a short side of {sides[0]}: {timing.describe()}")
    tables = describe_kinds(words, quads)
    if curve:
        tables += f"\n\n{format_table(curve_rows(curve))}\nbest: --score-threshold {best_threshold(curve):g}"
    print(f"\n{tables}")
    if args.output_dir:
        (args.output_dir / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
        shown = {name: metrics[name] for name in (*PRINTED, "device")} | {"timing": timing.describe()}
        write_report(args.output_dir, first.frames, detections, shown, tables)
        print(f"{args.output_dir}: index.html, metrics.json, {len(first.frames)} pictures and res_*.txt")


def short_sides(main_side: int, others: list[int] | None) -> list[int]:
    """The short sides to look at, the main one first. others: of --multi-scale, None without it."""
    if others is not None and not others:
        others = [round(main_side * factor) for factor in MULTI_SCALE]
    return list(dict.fromkeys([main_side, *(others or [])]))


def open_frames(args: argparse.Namespace, side: int) -> SampleDataset:
    return SampleDataset(args.test_folder_sample, train=False, transform=WholeFrame(side), cache_dir=args.cache_dir)


def look(args: argparse.Namespace, model: nn.Module, device: torch.device, side: int) -> Validation:
    """All frames at one short side."""
    dataset = open_frames(args, side)
    loader = make_loader(dataset, EpochSampler(dataset), args.batch_size, count_workers(args.num_workers, device))
    thresholds = THRESHOLDS if args.sweep else ()
    settings = ValidationSettings(Thresholds(args.score_threshold, args.nms_threshold), thresholds)
    return validate(model, loader, Criterion(), settings)


def merge_scales(scales: list[FrameDetections], nms_threshold: float) -> FrameDetections:
    """Of each frame's words at all scales, the one of the best score among those that overlap."""
    if len(scales) == 1:
        return scales[0]
    merged = []
    for found in zip(*scales, strict=True):
        quads, scores = (np.concatenate(parts) for parts in zip(*found, strict=True))
        kept = suppress(quads, scores, nms_threshold)
        merged.append((quads[kept], scores[kept]))
    return merged


def time_detector(args: argparse.Namespace, model: nn.Module, device: torch.device, frames: list) -> Timing:
    detector = Detector(model, args.short_side, args.score_threshold, args.nms_threshold, device)
    return time_stages(detector, [frame.path for frame in frames], args.batch_size)


if __name__ == "__main__":
    run_script(lambda: main(parse_args()))
