"""`train_sample.py --rejector`: trains a rejector for a checkpoint's network, which stays as it is.

Writes to --save-dir: rejector.pt, the network with its rejector and the threshold, and rejector_roc.csv, the shares of
frames lost and of empty frames rejected at each threshold. docs/rejector.md describes the choices.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from datasets import EpochSampler, TextDataset, make_loader
from utils.checkpoint import arguments_of, save_checkpoint
from utils.data.annotations import Annotations, Words, list_images
from utils.data.augmentation import WholeFrame
from utils.data.frames import FrameDataset
from utils.data.problems import Problems
from utils.errors import UserError, printable
from utils.evaluation.rejection import FrameScores
from utils.network.base import TextNetwork
from utils.options.reading import read_options
from utils.options.view import thresholds, train_transform
from utils.runtime.device import Machine, count_workers
from utils.runtime.files import refuse_overlap, write_file
from utils.runtime.tables import format_table
from utils.training.epoch import epoch_sampler
from utils.training.rejector import RejectorTraining, Source

CHECKPOINT, ROC = "rejector.pt", "rejector_roc.csv"

KEPT = ("epoch", "metrics")
"""Entries of the network's checkpoint that rejector.pt has, too."""

TRAINING_SHARE = 0.8
"""Of the pictures of a folder without annotations, in the order of their names: the first ones. The others validate."""

NO_WORDS = Words(np.zeros((0, 4, 2), np.float32), np.zeros(0, bool))

LOST = 0.0, 0.005, 0.01, 0.02, 0.05
"""Shares of lost frames for which the printed table has a row."""


def train_rejector(
    options: argparse.Namespace,
    model: TextNetwork,
    contents: Mapping,
    machine: Machine,
    annotated: Sequence[FrameDataset],
) -> None:
    """Train a rejector, choose its threshold and write both.

    contents: the others of the model's checkpoint. annotated: the frames with annotations, of training and validation.
    """
    output = options.save_dir / CHECKPOINT
    refuse_overlap([output], [options.pretrain_model])
    frames = [*open_pictures(options, train=True)], [*open_pictures(options, train=False)]
    training = RejectorTraining(model, thresholds(options), machine.device)
    workers = count_workers(options.num_workers, machine, loaders=1 + len(frames[0]))
    sources, validation_sources = (
        [
            Source(make_loader(each, EpochSampler(each, options.seed + number), size, workers), is_annotated)
            for number, (each, is_annotated) in enumerate([(first, True), *pictures])
        ]
        for first, pictures, size in zip(annotated, frames, (options.batch_size, 1), strict=True)
    )
    print(f"training    {describe(sources)}\nvalidation  {describe(validation_sources)}", flush=True)
    print(f"loss        {training.train(sources, options.epoch, options.lr):.4f}", flush=True)
    scores = FrameScores.together([training.score(source) for source in validation_sources])
    training.rejector.threshold = scores.threshold(options.most_lost)
    print(f"{describe_scores(scores)}\nthreshold   {training.rejector.threshold:.4f}")
    rows = [f"{threshold},{lost},{rejected}\n" for threshold, lost, rejected in scores.curve()]
    write_file(options.save_dir / ROC, "".join(["threshold,frames_lost,empty_rejected\n", *rows]))
    arguments = arguments_of(contents) | {"val_short_side": options.val_short_side}
    kept = {name: contents[name] for name in KEPT if name in contents}
    save_checkpoint(output, model, **kept, arguments=arguments, rejector=training.rejector.contents())
    print(f"{printable(options.save_dir)}: {CHECKPOINT}, {ROC}")


def open_pictures(options: argparse.Namespace, train: bool) -> Iterator[tuple[FrameDataset, bool]]:
    """The pictures without annotations, and whether it is known that they have no words. Raises `UserError`."""
    transform = train_transform(options) if train else WholeFrame(options.val_short_side)
    for folders, textless in ((options.unlabelled, False), (options.textless, True)):
        for folder in map(Path, folders or []):
            names = [path.relative_to(folder).as_posix() for path in choose_pictures(folder, train)]
            annotations = Annotations(folder, names, [NO_WORDS] * len(names), Problems())
            yield TextDataset(annotations, transform=transform, **read_options(options)._asdict()), textless


def choose_pictures(folder: Path, train: bool) -> list[Path]:
    """The pictures of a folder without annotations for training, or those for validation. Raises `UserError`."""
    paths = list_images(folder)
    if not (count := int(TRAINING_SHARE * len(paths))):
        raise UserError(f"{folder}: {len(paths)} pictures; give a folder with more, for training and validation")
    return paths[:count] if train else paths[count:]


def describe(sources: Sequence[Source]) -> str:
    """How many frames there are."""
    return " + ".join(str(len(epoch_sampler(source.loader))) for source in sources) + " frames"


def describe_scores(scores: FrameScores) -> str:
    """The ROC in short: the number of frames, its area, and a table of thresholds."""
    rows = [["lost at most", "threshold", "frames lost", "words lost", "all with text rejected", "empty rejected"]]
    for share in LOST:
        threshold = scores.threshold(share)
        measures = scores.frames_lost, scores.words_lost, scores.text_rejected, scores.empty_rejected
        rows.append([f"{share:g}", f"{threshold:.4f}", *(f"{measure(threshold):.4f}" for measure in measures)])
    text, found = int(scores.has_text.sum()), int((scores.found > 0).sum())
    counts = f"{text} frames with text ({scores.found.sum()} words found in {found}), {len(scores.found) - text} empty"
    return f"{counts}; area under the ROC {scores.area():.4f}\n{format_table(rows)}"
