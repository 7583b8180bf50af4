"""Measure a checkpoint, original or pruned, on a sample dataset's test frames.

    python3 test_sample.py --test-folder-sample SAMPLE --batch-size 1 --batches-before-train 1 \\
        --pretrain-model CKPT [--prune] [--output-dir OUT]

Prints loss, precision, recall and hmean (ICDAR 2015 protocol) and images/s. Writes to --output-dir: a
picture of each frame with its boxes, res_*.txt in ICDAR's format, metrics.json.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from datasets import EpochSampler, SampleDataset, make_loader
from loss import loss_sums
from utils.augmentation import WholeFrame
from utils.checkpoint import check_pruned, load_model
from utils.cli import (
    Parser,
    add_cache_option,
    add_detection_options,
    add_machine_options,
    choose_device,
    count_workers,
    describe_device,
    whole_number,
)
from utils.cost import count_macs, count_parameters, describe_cost, milliseconds_per_frame
from utils.drawing import draw_detections, write_image
from utils.errors import run_script
from utils.images import read_image
from utils.maps import padded_size
from utils.validation import Validation, validate


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = Parser(__doc__)
    parser.add_argument(
        "--test-folder-sample",
        required=True,
        metavar="DIR",
        help="annotated frames, in one of the README's layouts; the test frames are used",
    )
    parser.add_argument("--pretrain-model", required=True, metavar="CKPT", help="the checkpoint to measure")
    parser.add_argument("--prune", action="store_true", help="that checkpoint is a pruned network")
    parser.add_argument("--batch-size", type=whole_number(1), default=1, metavar="N", help="(default %(default)s)")
    parser.add_argument(
        "--batches-before-train",
        type=whole_number(1),
        default=1,
        metavar="N",
        help="taken so that a training line can be reused; testing takes no steps",
    )
    parser.add_argument("--output-dir", type=Path, metavar="DIR", help="folder for pictures, res_*.txt, metrics.json")
    add_cache_option(parser)
    add_detection_options(parser)
    add_machine_options(parser)
    return parser.parse_args(arguments)  # fmt: skip


def main(args: argparse.Namespace) -> None:
    device = choose_device(args.ngpus)
    torch.manual_seed(0)  # the loss draws its easy negatives at random
    model, _ = load_model(args.pretrain_model)
    check_pruned(args.pretrain_model, model, args.prune)
    model.to(device)
    view = WholeFrame(args.val_short_side)
    dataset = SampleDataset(args.test_folder_sample, train=False, transform=view, cache_dir=args.cache_dir)
    if dataset.problems:
        print(f"test data, left out or repaired:\n{dataset.problems}")
    if args.output_dir:
        args.output_dir.mkdir(parents=True, exist_ok=True)
    loader = make_loader(dataset, EpochSampler(dataset), args.batch_size, count_workers(args.num_workers, device))
    print(f"device     {describe_device(device, args.ngpus)}")

    result = validate(model, loader, loss_sums, device, args.score_threshold, args.nms_threshold)

    if result.problems:
        print(f"left out or repaired while reading:\n{result.problems}")
    size = padded_size(*result.frames[0].size)
    print(f"network    {'pruned' if model.pruned else 'original'}, {describe_cost(model, *size)}")
    metrics = {
        "loss": result.loss,
        **result.evaluation._asdict(),
        "images": len(result.frames),
        "images_per_second": result.images_per_second,
        "parameters": count_parameters(model),
        "gmacs": sum(count_macs(model, *size).values()) / 1e9,
        "milliseconds_per_frame": milliseconds_per_frame(model, *size),
        "input_size": size,
        "device": describe_device(device, args.ngpus),
        "arguments": {name: str(value) if isinstance(value, Path) else value for name, value in vars(args).items()},
    }
    for name in ("images", "loss", "precision", "recall", "hmean", "images_per_second", "milliseconds_per_frame"):
        print(f"{name}  {metrics[name]:.4g}")
    if args.output_dir:
        write_results(args.output_dir, result, metrics)
        print(f"{args.output_dir}: metrics.json, {len(result.frames)} pictures and res_*.txt")


def write_results(folder: Path, result: Validation, metrics: dict) -> None:
    """metrics.json, and for each frame its picture with boxes and its ICDAR result file."""
    (folder / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
    for frame, (quads, _) in zip(
        tqdm(result.frames, desc="draw", leave=False, disable=None), result.detections, strict=True
    ):
        lines = [",".join(str(int(value)) for value in quad) for quad in np.reshape(quads, (-1, 8))]
        (folder / f"res_{frame.path.stem}.txt").write_text("".join(f"{line}\r\n" for line in lines), encoding="utf-8")
        picture = draw_detections(read_image(frame.path), frame.words, quads)
        write_image(folder / f"{frame.path.stem}.jpg", picture)


if __name__ == "__main__":
    run_script(lambda: main(parse_args()))
