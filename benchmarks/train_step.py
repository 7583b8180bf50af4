"""A training step and its parts, against the plain way to compute it.

    python3 -m benchmarks.train_step [--batch-size 8] [--steps 8] [--networks half]

plain: float32, contiguous, default Adam, glibc's default malloc settings, the loss with NumPy masks on the host (mined
image by image), as other training scripts of this kind do it. ours: the step of `utils.training.step`; the optimizer's
part includes the check for gradients that are not finite. The other kinds have one thing less, or more. All read crops
of the same rendered frames (600x450) through the same loader. The kinds take turns, each in a process of its own; the
numbers are medians.
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

from benchmarks.data import render
from datasets import Batch, EpochSampler, TextDataset, make_loader
from loss import Criterion
from model_pruned import FOTSModelPruned
from utils.data.annotations import read_text_files, write_words
from utils.data.augmentation import TrainTransform
from utils.errors import run_script
from utils.maps import Prediction, Target
from utils.network.base import TextNetwork
from utils.network.channels import uniform_plan
from utils.network.loss_terms import BaseCriterion, LossSums, Term
from utils.options.parser import Parser, option, whole_number
from utils.runtime.device import Machine, choose_device, count_workers, cpu_multiplies_bf16
from utils.runtime.memory import keep_freed_memory
from utils.runtime.tables import format_table
from utils.training.learner import Learner
from utils.training.schedule import Schedule
from utils.training.step import StepSettings, StepSize, StepTotals, TrainingStep

LOSS, MEMORY, FUSED, LAST, GUARD = "device loss", "kept memory", "fused Adam", "channels_last", "guard"
BF16, COMPILED, DETERMINISTIC = "bf16", "compiled", "deterministic"
OURS = {LOSS, MEMORY, FUSED, LAST, GUARD}
KINDS: dict[str, set[str]] = (
    {"plain": set(), "ours, float32": OURS}
    | {f"without {part}": OURS - {part} for part in (LOSS, MEMORY, LAST)}
    | {f"without {FUSED}": OURS - {FUSED, GUARD}}
    | {f"ours, {part}": OURS | {part} for part in (COMPILED, DETERMINISTIC, BF16)}
)
NETWORKS = {"original": 1.0, "half": 0.5, "quarter": 0.25}
PARTS = "data", "forward", "loss", "backward", "optimizer"
FRAME = 450, 600
WARM_UP = 3


class PlainCriterion(BaseCriterion):
    """The same loss with its cells chosen on the host with NumPy, an image at a time; one term."""

    terms = (Term("loss", "batches"),)

    def __call__(self, prediction: Prediction, target: Target) -> LossSums:
        loss = classification_loss(prediction, target) + regression_loss(prediction, target)
        return LossSums(self.terms, {"loss": loss}, self.counts(target))

    def counts(self, target: Target) -> dict[str, torch.Tensor]:
        return {"batches": torch.ones(())}


def classification_loss(prediction: Prediction, target: Target) -> torch.Tensor:
    """Mean over all positives, the 512 hardest negatives and 512 random others of each image."""
    losses = F.binary_cross_entropy_with_logits(prediction.confidence, target.score_map, reduction="none")[:, 0]
    chosen = np.zeros(losses.shape, bool)
    for image, (positive, negative) in enumerate(host_masks(target)):
        chosen[image] = mine(losses[image], negative, 512) | positive
    return losses[torch.from_numpy(chosen).to(losses.device)].mean()


def regression_loss(prediction: Prediction, target: Target) -> torch.Tensor:
    """Mean over the 128 hardest positives and 128 random others of each image."""
    top, right, bottom, left = prediction.distances.unbind(1)
    true_top, true_right, true_bottom, true_left = target.distances.unbind(1)
    high = torch.minimum(top, true_top) + torch.minimum(bottom, true_bottom)
    intersection = high * (torch.minimum(left, true_left) + torch.minimum(right, true_right))
    union = (top + bottom) * (left + right) + (true_top + true_bottom) * (true_left + true_right) - intersection
    losses = torch.log((union + 1) / (intersection + 1))
    losses = losses + 10 * (1 - torch.cos(prediction.angle - target.angle)[:, 0])
    chosen = np.zeros(losses.shape, bool)
    for image, (positive, _) in enumerate(host_masks(target)):
        chosen[image] = mine(losses[image], positive, 128)
    return losses[torch.from_numpy(chosen).to(losses.device)].mean()


def host_masks(target: Target) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Of each image, (h, w) bool: its cells of text and of background that count in the loss."""
    for score_map, training_mask in zip(target.score_map[:, 0], target.training_mask[:, 0], strict=True):
        text, counted = score_map.cpu().numpy() > 0.5, training_mask.cpu().numpy() > 0.5
        yield text & counted, ~text & counted


def mine(losses: torch.Tensor, eligible: np.ndarray, count: int) -> np.ndarray:
    """(h, w) bool: the `count` eligible cells of the largest loss, and `count` random others."""
    order = [cell for cell in np.argsort(-losses.detach().cpu().numpy(), axis=None) if eligible.flat[cell]]
    chosen = np.zeros(eligible.shape, bool)
    chosen.flat[order[:count]] = True
    chosen.flat[np.random.permutation(order[count:])[:count].astype(int)] = True  # noqa: NPY002
    return chosen


class Clock:
    """Seconds of a step's parts, by name."""

    def __init__(self, device: torch.device):
        self.device, self.last = device, time.perf_counter()
        self.parts: dict[str, float] = {}

    def lap(self, name: str) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        now = time.perf_counter()
        self.parts[name] = self.parts.get(name, 0) + now - self.last
        self.last = now


class TimedStep(TrainingStep):
    """A training step whose parts are timed; without the guard, a step that is not finite is taken like any other."""

    def __init__(self, learner: Learner, has_guard: bool):
        super().__init__(learner, StepSettings(StepSize(1)))
        self.has_guard, self.clock = has_guard, Clock(learner.machine.device)

    def run(self, batches: Iterator[Batch]) -> dict[str, float]:
        """Take a step on the next batch. Returns the seconds of its parts."""
        self.clock = Clock(self.learner.machine.device)
        batch = next(batches)
        self.clock.lap("data")
        counts = {name: float(count) for name, count in self.learner.criterion.counts(batch.target).items()}
        self.clock.lap("loss")
        self.take([batch], StepTotals(counts, len(batch.images)))
        self.clock.lap("optimizer")
        return self.clock.parts

    def copy_statistics(self) -> list[tuple[list[torch.Tensor], torch.Tensor]]:
        return super().copy_statistics() if self.has_guard else []

    def predict(self, batch: Batch) -> tuple[torch.Tensor, Prediction]:
        result = super().predict(batch)
        self.clock.lap("forward")
        return result

    def backward(self, loss: torch.Tensor) -> None:
        self.clock.lap("loss")
        super().backward(loss)
        self.clock.lap("backward")

    def update(self, loss: torch.Tensor) -> torch.Tensor:
        if self.has_guard:
            return super().update(loss)
        self.learner.optimizer.step()
        self.learner.optimizer.zero_grad()
        return torch.ones((), dtype=torch.bool, device=loss.device)


def build(kind: set[str], model: TextNetwork) -> Learner:
    """What a step of this kind trains with."""
    device = choose_device(1)
    model.to(device).to(memory_format=torch.channels_last if LAST in kind else torch.contiguous_format).train()
    optimizer = torch.optim.Adam(model.parameters(), 1e-4, fused=True if FUSED in kind else None)
    return Learner(
        model,
        torch.compile(model) if COMPILED in kind else model,
        Criterion() if LOSS in kind else PlainCriterion(),
        optimizer,
        Schedule(optimizer, "plateau", patience=3, warmup_steps=0, total_steps=1),
        torch.amp.GradScaler(device.type, enabled=False),
        Machine(device),
        torch.bfloat16 if BF16 in kind else None,
    )


def measure(folder: Path, network: str, kind: set[str], args: argparse.Namespace) -> dict[str, float]:
    """Median milliseconds of each part, in this process."""
    if MEMORY in kind:
        keep_freed_memory()
    torch.use_deterministic_algorithms(DETERMINISTIC in kind, warn_only=True)
    learner = build(kind, FOTSModelPruned(uniform_plan(NETWORKS[network])))
    frames = TextDataset(read_text_files(folder, folder), transform=TrainTransform(crop=args.crop))
    workers = count_workers(args.num_workers, learner.machine)
    loader = make_loader(frames, EpochSampler(frames), args.batch_size, workers)
    batches = itertools.chain.from_iterable(itertools.repeat(loader))
    step = TimedStep(learner, GUARD in kind)
    laps = [step.run(batches) for _ in range(args.steps + WARM_UP)][WARM_UP:]
    return {part: statistics.median(lap[part] for lap in laps) * 1000 for part in PARTS}


def measure_apart(folder: str, network: str, kind: str) -> dict[str, float]:
    """The same in a process of its own."""
    line = [sys.executable, "-m", "benchmarks.train_step", *sys.argv[1:], "--one", folder, network, kind]
    done = subprocess.run(line, stdout=subprocess.PIPE, text=True, check=True)
    return dict(zip(PARTS, map(float, done.stdout.split()[-len(PARTS) :]), strict=True))


def build_parser(gpu: bool) -> Parser:
    kinds = [name for name, kind in KINDS.items() if BF16 not in kind or gpu or cpu_multiplies_bf16()]
    parser = Parser(__doc__)
    option(parser, "--batch-size N", whole_number(1), 64 if gpu else 8, "images in a batch")
    option(parser, "--crop PX", whole_number(96), 280, "side of the crops")
    option(parser, "--steps N", whole_number(1), 8, "timed steps of each kind in each round")
    option(parser, "--rounds N", whole_number(1), 3, "rounds, in which the kinds take turns")
    option(parser, "--num-workers N", whole_number(0), None, "processes that read data (default: as in training)")
    networks = tuple(NETWORKS)
    option(parser, "--networks", str, ["original", "half"], "networks to time", choices=networks, nargs="+")
    option(parser, "--kinds", str, kinds, "kinds of steps to time", choices=tuple(KINDS), nargs="+")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    return parser


def render_frames(folder: Path, count: int) -> None:
    annotations = render(folder, *FRAME, count)
    for index, name in enumerate(annotations.names):
        write_words(Path(folder, name).with_suffix(".txt"), annotations.words(index))


def table_rows(network: str, turns: dict[str, list[dict[str, float]]]) -> list[list[str]]:
    """The table's rows of one network. turns: of each kind, the milliseconds of its parts in each round."""
    steps = {kind: [sum(turn.values()) for turn in measured] for kind, measured in turns.items()}
    rows = []
    for kind, measured in turns.items():
        parts = [statistics.median(turn[part] for turn in measured) for part in PARTS]
        whole = statistics.median(steps[kind])
        shares = [f"{parts[PARTS.index(part)] / whole:.1%}" for part in ("data", "loss")]
        ratio = ""
        if "plain" in steps:
            ratio = f"{statistics.median(map(operator.truediv, steps['plain'], steps[kind])):.2f}"
        rows.append([f"{network}: {kind}", *(f"{ms:.0f}" for ms in parts), f"{whole:.0f}", *shares, ratio])
    return rows


def main() -> None:
    gpu = torch.cuda.is_available()
    args = build_parser(gpu).parse_args()
    if args.one:
        folder, network, kind = args.one
        print(*measure(Path(folder), network, KINDS[kind], args).values())
        return
    rows = [["ms", *PARTS, "step", "data share", "loss share", "plain / this"]]
    with tempfile.TemporaryDirectory() as folder:
        render_frames(Path(folder), (args.steps + WARM_UP) * args.batch_size)
        for network in args.networks:
            rounds = [{kind: measure_apart(folder, network, kind) for kind in args.kinds} for _ in range(args.rounds)]
            rows += table_rows(network, {kind: [turn[kind] for turn in rounds] for kind in args.kinds})
    machine = f"torch {torch.__version__}, {torch.get_num_threads()} threads, {'GPU' if gpu else 'CPU'}"
    print(f"batch {args.batch_size}, crop {args.crop}, {machine}")
    print(format_table(rows))


if __name__ == "__main__":
    run_script(main)
