"""A training step and its parts, against the plain way of doing it.

    python3 -m benchmarks.train_step [--batch-size 8] [--steps 8] [--networks half]

plain: float32, contiguous, default Adam, glibc's own malloc behaviour, the loss with NumPy masks on the host (mined
image by image), as training scripts of this kind do it. ours: what `utils.training.epoch` does in a step, the check
of the gradients with the optimizer's part; then with one thing less, or more. All read crops of the same rendered
frames (600x450) through the same loader. In turns, each in a process of its own; medians.
"""

import argparse
import itertools
import operator
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.data import render
from datasets import Batch, EpochSampler, TextDataset, make_loader
from loss import Criterion
from model_pruned import FOTSModelPruned
from utils.data.annotations import read_text_files, write_words
from utils.data.augmentation import TrainTransform
from utils.errors import run_script
from utils.maps import Target, normalise
from utils.network.channels import uniform_plan
from utils.options.parser import Parser, option, whole_number
from utils.runtime.device import choose_device, count_workers, cpu_multiplies_bf16
from utils.runtime.memory import keep_freed_memory
from utils.runtime.tables import format_table

LOSS, MEMORY, FUSED, LAST, GUARD = "device loss", "kept memory", "fused Adam", "channels_last", "guard"
BF16, COMPILED, DETERMINISTIC = "bf16", "compiled", "deterministic"
OURS = {LOSS, MEMORY, FUSED, LAST, GUARD}
KINDS = (
    {"plain": set(), "ours, float32": OURS}
    | {f"without {part}": OURS - {part} for part in (LOSS, MEMORY, LAST)}
    | {f"without {FUSED}": OURS - {FUSED, GUARD}}
    | {f"ours, {part}": OURS | {part} for part in (COMPILED, DETERMINISTIC, BF16)}
)
NETWORKS = {"original": 1.0, "half": 0.5, "quarter": 0.25}
PARTS = "data", "forward", "loss", "backward", "optimizer"
FRAME = 450, 600
WARM_UP = 3


def plain_loss(prediction, target: Target) -> torch.Tensor:
    """The same loss, its cells chosen on the host with NumPy, an image at a time."""
    bce = F.binary_cross_entropy_with_logits(prediction.confidence, target.score_map, reduction="none")
    top, right, bottom, left = prediction.distances.unbind(1)
    true_top, true_right, true_bottom, true_left = target.distances.unbind(1)
    high = torch.minimum(top, true_top) + torch.minimum(bottom, true_bottom)
    intersection = high * (torch.minimum(left, true_left) + torch.minimum(right, true_right))
    union = (top + bottom) * (left + right) + (true_top + true_bottom) * (true_left + true_right) - intersection
    box = torch.log((union + 1) / (intersection + 1))
    box = box + 10 * (1 - torch.cos(prediction.angle - target.angle)[:, 0])
    chosen, chosen_boxes = np.zeros(bce.shape, bool), np.zeros(box.shape, bool)
    for image in range(len(bce)):
        score = target.score_map[image, 0].cpu().numpy() > 0.5
        mask = target.training_mask[image, 0].cpu().numpy() > 0.5
        losses = bce[image, 0].detach().cpu().numpy()
        order = [cell for cell in np.argsort(-losses, axis=None) if not score.flat[cell] and mask.flat[cell]]
        others = np.random.permutation(order[512:])[:512].astype(int)  # noqa: NPY002
        chosen[image, 0].flat[order[:512]] = chosen[image, 0].flat[others] = True
        chosen[image, 0] |= score & mask
        losses = box[image].detach().cpu().numpy()
        order = [cell for cell in np.argsort(-losses, axis=None) if score.flat[cell] and mask.flat[cell]]
        others = np.random.permutation(order[128:])[:128].astype(int)  # noqa: NPY002
        chosen_boxes[image].flat[order[:128]] = chosen_boxes[image].flat[others] = True
    return (
        bce[torch.from_numpy(chosen).to(bce.device)].mean() + box[torch.from_numpy(chosen_boxes).to(box.device)].mean()
    )


class Clock:
    def __init__(self, device: torch.device):
        self.device, self.last, self.parts = device, time.perf_counter(), {}

    def lap(self, name: str) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        now = time.perf_counter()
        self.parts[name] = self.parts.get(name, 0) + now - self.last
        self.last = now


def step(kind: set[str], model: nn.Module, optimizer, batches: Iterator[Batch], device) -> dict[str, float]:
    """Seconds of one step's parts."""
    clock = Clock(device)
    batch = next(batches)
    clock.lap("data")
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()] if GUARD in kind else []
    with torch.autocast(device.type, torch.bfloat16, enabled=BF16 in kind):
        prediction = model(normalise(batch.images.to(device, non_blocking=True)))
        clock.lap("forward")
        target = batch.target.to(device)
        if LOSS in kind:
            criterion = Criterion()
            loss = criterion(prediction, target).over(criterion.counts(batch.target))
        else:
            loss = plain_loss(prediction, target)
    clock.lap("loss")
    loss.backward()
    clock.lap("backward")
    if GUARD in kind:
        finite = torch.isfinite(nn.utils.clip_grad_norm_(model.parameters(), torch.inf))
        optimizer.found_inf = (~finite).float()
        for buffer, before in buffers:
            buffer.copy_(torch.where(finite, buffer, before))
    optimizer.step()
    optimizer.zero_grad()
    clock.lap("optimizer")
    return clock.parts


def measure(folder: Path, network: str, kind: set[str], args) -> dict[str, float]:
    """Median milliseconds of each part, in this process."""
    device = choose_device(1)
    if MEMORY in kind:
        keep_freed_memory()
    torch.use_deterministic_algorithms(DETERMINISTIC in kind, warn_only=True)
    model = FOTSModelPruned(uniform_plan(NETWORKS[network]))
    model.to(device, memory_format=torch.channels_last if LAST in kind else torch.contiguous_format).train()
    optimizer = torch.optim.Adam(model.parameters(), 1e-4, fused=FUSED in kind or None)
    frames = TextDataset(read_text_files(folder, folder), transform=TrainTransform(crop=args.crop))
    loader = make_loader(frames, EpochSampler(frames), args.batch_size, count_workers(args.num_workers, device))
    batches = itertools.chain.from_iterable(itertools.repeat(loader))
    forward = torch.compile(model) if COMPILED in kind else model
    laps = [step(kind, forward, optimizer, batches, device) for _ in range(args.steps + WARM_UP)][WARM_UP:]
    return {part: statistics.median(lap[part] for lap in laps) * 1000 for part in PARTS}


def measure_apart(folder: str, network: str, kind: str) -> dict[str, float]:
    """The same in a process of its own."""
    line = [sys.executable, "-m", "benchmarks.train_step", *sys.argv[1:], "--one", folder, network, kind]
    done = subprocess.run(line, stdout=subprocess.PIPE, text=True, check=True)
    return dict(zip(PARTS, map(float, done.stdout.split()[-len(PARTS) :]), strict=True))


def main() -> None:
    gpu = torch.cuda.is_available()
    kinds = [name for name, kind in KINDS.items() if BF16 not in kind or gpu or cpu_multiplies_bf16()]
    parser = Parser(__doc__)
    option(parser, "--batch-size", whole_number(1), 64 if gpu else 8, "N", "images in a batch")
    option(parser, "--crop", whole_number(96), 280, "PX", "side of the crops")
    option(parser, "--steps", whole_number(1), 8, "N", "steps that are timed, of each kind, in each round")
    option(parser, "--rounds", whole_number(1), 3, "N", "turns of all kinds")
    option(parser, "--num-workers", whole_number(0), None, "N", "processes that read data (default: as in training)")
    option(parser, "--networks", str, ["original", "half"], None, "whose steps", choices=tuple(NETWORKS), nargs="+")
    option(parser, "--kinds", str, kinds, None, "what to measure", choices=tuple(KINDS), nargs="+")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        folder, network, kind = args.one
        print(*measure(Path(folder), network, KINDS[kind], args).values())
        return
    rows = [["ms", *PARTS, "step", "data share", "loss share", "plain / this"]]
    with tempfile.TemporaryDirectory() as folder:
        annotations = render(Path(folder), *FRAME, (args.steps + WARM_UP) * args.batch_size)
        for index, name in enumerate(annotations.names):
            write_words(Path(folder, name).with_suffix(".txt"), annotations.words(index))
        for network in args.networks:
            turns = [{kind: measure_apart(folder, network, kind) for kind in args.kinds} for _ in range(args.rounds)]
            steps = {kind: [sum(turn[kind].values()) for turn in turns] for kind in args.kinds}
            for kind in args.kinds:
                parts = [statistics.median(turn[kind][part] for turn in turns) for part in PARTS]
                whole = statistics.median(steps[kind])
                shares = [f"{parts[PARTS.index(part)] / whole:.1%}" for part in ("data", "loss")]
                faster = ""
                if "plain" in steps:
                    faster = f"{statistics.median(map(operator.truediv, steps['plain'], steps[kind])):.2f}"
                rows.append([f"{network}: {kind}", *(f"{ms:.0f}" for ms in parts), f"{whole:.0f}", *shares, faster])
    print(f"batch {args.batch_size}, crop {args.crop}, torch {torch.__version__}, {torch.get_num_threads()} threads, "
          f"{'GPU' if gpu else 'CPU'}")  # fmt: skip
    print(format_table(rows))


if __name__ == "__main__":
    run_script(main)
