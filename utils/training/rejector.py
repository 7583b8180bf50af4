"""Training a rejector on the maps of a network that stays as it is.

A rejector has to find the text that its network finds: text that the network misses is lost without a rejector, too.
Each cell is labelled by the annotation and the network's own score map; a frame's probability is that of its best cell.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader
from tqdm import tqdm

from utils.base_detector import words_in_frames
from utils.data.loading import Batch
from utils.decode import Thresholds
from utils.errors import UserError
from utils.evaluation.protocol import evaluate
from utils.evaluation.rejection import FrameScores
from utils.evaluation.result_files import whole_pixels
from utils.maps import Target, normalise
from utils.network.base import TextNetwork
from utils.network.inference import for_inference
from utils.network.rejector import CELL, Rejector
from utils.training.epoch import epoch_sampler

HARDEST = 32
"""Cells without text of each image that the loss counts: those of the largest loss."""

_RISING = 0.05
"""Share of the steps in which the learning rate rises."""


class Source(NamedTuple):
    """Frames to train on, or to measure."""

    loader: DataLoader
    annotated: bool
    """Whether the annotation says where text is; else, all that the network finds is text."""


class RejectorTraining:
    """A rejector and the network whose maps it reads, which is not changed.

    network: as `load_model` returns it; it is copied. thresholds: of the words that it finds. device: where both run.
    """

    def __init__(self, network: TextNetwork, thresholds: Thresholds, device: torch.device):
        self.network, self.device = cast(TextNetwork, for_inference(network, device)), device
        self.thresholds = thresholds
        self.rejector = Rejector(network.plan["encoder1"]).to(device)

    def train(self, sources: Sequence[Source], epochs: int, lr: float) -> float:
        """Train on a batch of each source a step; an epoch is the longest of them. Returns the last epoch's loss."""
        steps_per_epoch = max(len(source.loader) for source in sources)
        steps = epochs * steps_per_epoch
        optimizer = torch.optim.Adam(self.rejector.parameters(), lr)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps, pct_start=_RISING)
        streams = [(_repeat(source.loader), source.annotated) for source in sources]
        losses = []
        self.rejector.train()
        for _ in (bar := tqdm(range(steps), "rejector", unit="step", leave=False, disable=None)):
            loss = torch.stack([self._loss(next(batches), annotated) for batches, annotated in streams]).mean()
            if not loss.isfinite():
                raise UserError("the rejector's loss is not finite; give a smaller --lr")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
            bar.set_postfix(loss=f"{losses[-1]:.3f}")
        self.rejector.eval()
        return float(np.mean(losses[-steps_per_epoch:]))

    @torch.no_grad()
    def score(self, source: Source) -> FrameScores:
        """The rejector and the network on all frames. A found word is one that matches an annotated one."""
        rejector = for_inference(self.rejector, self.device)
        probabilities, found, has_text = [], [], []
        for batch in tqdm(source.loader, "validate", leave=False, disable=None):
            if not isinstance(batch, Batch):
                continue
            maps = self._maps(batch)
            probabilities += rejector(maps).tolist()
            words = words_in_frames(self.network.finish(maps), batch.frames, self.thresholds)
            for frame, (quads, _) in zip(batch.frames, words, strict=True):
                matched = evaluate([frame.words], [whole_pixels(quads)]).matched if source.annotated else len(quads)
                found.append(matched)
                has_text.append(not frame.words.ignored.all() if source.annotated else matched > 0)
        return FrameScores(np.array(probabilities), np.array(found, int), np.array(has_text, bool))

    def _maps(self, batch: Batch) -> torch.Tensor:
        images = normalise(batch.images.to(self.device)).contiguous(memory_format=torch.channels_last)
        return self.network.early(images)

    def _loss(self, batch: Batch, annotated: bool) -> torch.Tensor:
        target = batch.target.to(self.device)
        with torch.no_grad():
            maps = self._maps(batch)
            if annotated and not target.score_map.any():
                found = torch.zeros_like(target.score_map, dtype=torch.bool)
            else:
                found = self.network.finish(maps).confidence.sigmoid() >= self.thresholds.score
            labels = annotated_labels(target, found) if annotated else own_labels(found)
        return rejector_loss(self.rejector.cells(maps), *labels)


def rejector_loss(cells: torch.Tensor, positive: torch.Tensor, negative: torch.Tensor) -> torch.Tensor:
    """The loss of logits (N, 1, h, w), a scalar. positive, negative: (N, 1, h, w) bool; other cells are ignored.

    It adds three means of binary cross-entropies: over each image's positive cells, over the `HARDEST` of its negative
    ones, and over the images, each with the logit of its best cell.
    """
    logits, positive, negative = cells.flatten(1), positive.flatten(1), negative.flatten(1)
    losses = F.binary_cross_entropy_with_logits(logits, positive.float(), reduction="none")
    of_text = torch.where(positive, losses, 0).sum(1) / positive.sum(1).clamp(min=1)
    of_others = torch.where(negative, losses, 0).topk(min(HARDEST, losses.shape[1]), sorted=False).values.mean(1)
    labelled = positive | negative
    best = logits.masked_fill(~labelled, -math.inf).amax(1).masked_fill(~labelled.any(1), 0)
    of_images = F.binary_cross_entropy_with_logits(best, positive.any(1).float(), reduction="none")
    return (of_text + of_others + of_images * labelled.any(1)).mean()


def annotated_labels(target: Target, found: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(N, 1, h, w) bool each: the rejector's cells with annotated text that is found, and those without text.

    found: (N, 1, 4 h, 4 w) bool, where the network predicts text. Cells with text that is not found, and those at the
    edges of words or in don't-care ones, are neither.
    """
    counts = target.training_mask > 0
    text = (target.score_map > 0) & counts
    return _any(text & found), ~_any(text | ~counts)


def own_labels(found: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """As `annotated_labels`, from what the network finds alone. Cells beside positive ones are neither."""
    positive = _any(found)
    return positive, ~(F.max_pool2d(positive.float(), 3, 1, 1) > 0)


def _any(cells: torch.Tensor) -> torch.Tensor:
    """(N, 1, H, W) bool of the network's cells -> (N, 1, H / 4, W / 4), rounded up, of the rejector's: is any true."""
    return F.max_pool2d(cells.float(), CELL, ceil_mode=True) > 0


def _repeat(loader: DataLoader) -> Iterator[Batch]:
    """A loader's batches, epoch after epoch. Raises `UserError` if an epoch has none that can be read."""
    for epoch in itertools.count(1):
        epoch_sampler(loader).set_epoch(epoch)
        readable = False
        for batch in loader:
            if isinstance(batch, Batch):
                readable = True
                yield batch
        if not readable:
            raise UserError("none of the images could be read")
