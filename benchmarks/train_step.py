"""A training step and its parts, against the plain way of doing it.

    python3 -m benchmarks.train_step [--batch-size 8] [--steps 6] [--amp off|bf16]

ours: `utils.engine`'s step. plain: float32, default Adam, glibc's own malloc behaviour, the loss with NumPy masks on
the host (mined image by image), as training scripts of this kind do it. Both in one run, in turns; medians.
"""

import statistics
import subprocess
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F

from loss import loss_counts, loss_sums
from model import FOTSModel
from model_pruned import FOTSModelPruned
from utils.channels import uniform_plan
from utils.cli import Parser, option, whole_number
from utils.errors import run_script
from utils.loss_sums import LossCounts
from utils.maps import Target, normalise
from utils.memory import keep_freed_memory
from utils.results import format_table


def make_batch(size: int, crop: int) -> tuple[torch.Tensor, Target]:
    """Random pixels; 3 % text cells in blocks, as crops of SynthText have."""
    torch.manual_seed(0)
    cells = crop // 4
    score = torch.zeros(size, 1, cells, cells)
    for image in score[:, 0]:
        for _ in range(8):
            y, x = torch.randint(0, cells - 12, (2,)).tolist()
            image[y : y + 2, x : x + 9] = 1
    distances, angle = torch.rand(size, 4, cells, cells) * 60, torch.rand(size, 1, cells, cells)
    images = torch.randint(0, 256, (size, crop, crop, 3), dtype=torch.uint8)
    return images, Target(score, distances * score, angle * score, torch.ones_like(score))


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


def step(model, optimizer, images, target, ours: bool, amp: str) -> dict[str, float]:
    """Seconds of one step's parts."""
    device = next(model.parameters()).device
    clock = Clock(device)
    dtype = torch.bfloat16 if ours and amp == "bf16" else None
    with torch.autocast(device.type, dtype, enabled=dtype is not None):
        prediction = model(normalise(images.to(device, non_blocking=True)))
    clock.lap("forward")
    if ours:
        counts = LossCounts(*map(float, loss_counts(target)))
        loss = loss_sums(prediction, target.to(device)).over(counts)
    else:
        loss = plain_loss(prediction, target.to(device))
    clock.lap("loss")
    loss.backward()
    clock.lap("backward")
    optimizer.step()
    optimizer.zero_grad()
    clock.lap("optimizer")
    return clock.parts


def measure(ours: bool, name: str, args) -> dict[str, float]:
    """Median milliseconds of each part, in this process."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if ours:
        keep_freed_memory()
    model = (FOTSModel() if name == "original" else FOTSModelPruned(uniform_plan(0.5))).to(device).train()
    if ours and device.type == "cuda":
        model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters(), 1e-4, fused=True if ours else None)
    images, target = make_batch(args.batch_size, args.crop)
    laps = [step(model, optimizer, images, target, ours, args.amp) for _ in range(args.steps + 2)][2:]
    return {part: statistics.median(lap[part] for lap in laps) * 1000 for part in laps[0]}


def main() -> None:
    parser = Parser(__doc__)
    option(parser, "--batch-size", whole_number(1), 8, "N", "images in a batch")
    option(parser, "--crop", whole_number(96), 280, "PX", "side of the crops")
    option(parser, "--steps", whole_number(1), 6, "N", "steps that are timed, of each kind")
    option(parser, "--rounds", whole_number(1), 2, "N", "turns of ours and plain, each in a process of its own")
    option(parser, "--amp", str, "off", None, "precision of ours", choices=("off", "bf16"))
    option(parser, "--one", str, None, None, "measure one kind in this process", choices=("ours", "plain"), nargs=None)
    option(parser, "--network", str, None, None, "and one network", choices=("original", "half"))
    args = parser.parse_args()
    if args.one:
        print(" ".join(f"{part}={value}" for part, value in measure(args.one == "ours", args.network, args).items()))
        return
    rows = [["ms", "forward", "loss", "backward", "optimizer", "step", "loss share", "plain / ours"]]
    for network in ("original", "half"):
        kinds = {"plain": [], "ours": []}
        for _ in range(args.rounds):
            for kind, results in kinds.items():
                line = [
                    sys.executable,
                    "-m",
                    "benchmarks.train_step",
                    *sys.argv[1:],
                    "--one",
                    kind,
                    "--network",
                    network,
                ]
                done = subprocess.run(line, capture_output=True, text=True, check=True)
                results.append(
                    {name: float(value) for name, value in (pair.split("=") for pair in done.stdout.split())}
                )
        medians = {kind: {part: statistics.median(result[part] for result in results) for part in results[0]}
                   for kind, results in kinds.items()}  # fmt: skip
        whole = {kind: sum(parts.values()) for kind, parts in medians.items()}
        for kind, parts in medians.items():
            ratio = f"{whole['plain'] / whole[kind]:.2f}"
            cells = [f"{value:.0f}" for value in parts.values()]
            rows.append(
                [f"{network}, {kind}", *cells, f"{whole[kind]:.0f}", f"{parts['loss'] / whole[kind]:.1%}", ratio]
            )
    machine = (
        f"torch {torch.__version__}, {torch.get_num_threads()} threads, {'GPU' if torch.cuda.is_available() else 'CPU'}"
    )
    print(f"batch {args.batch_size}, crop {args.crop}, {machine}")
    print(format_table(rows))


if __name__ == "__main__":
    run_script(main)
