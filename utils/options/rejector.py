"""The options of `train_sample.py --rejector`, and the others that have an effect with it."""

import argparse
import os
from collections.abc import Collection

from utils.options.parser import Parser, dashed, flag, nonempty_text, number, option
from utils.options.view import DETECTION, VIEW

MOST_LOST = 0.01

OWN = "unlabelled", "textless", "most_lost"
"""Options that have no effect without --rejector."""

USED = {
    *("rejector", "pretrain_model", "prune", "save_dir", "val", *OWN),
    *("train_folder_syn", "train_folder_sample", "format", "sample_ratio", "syn_train_size", "syn_val_size"),
    *("cache_dir", "max_pixels", "background"),
    *VIEW,
    *DETECTION,
    *("epoch", "batch_size", "lr", "seed", "ngpus", "num_workers", "threads"),
}
"""Options that have an effect with --rejector."""


def add_rejector_options(group) -> None:
    """Add --rejector and its own options."""
    flag(group, "--rejector", "train a rejector of frames without text for the network of --pretrain-model")
    text = "pictures without annotations; what the network detects is their text"
    option(group, "--unlabelled DIR", nonempty_text, None, text, nargs="+")
    option(group, "--textless DIR", nonempty_text, None, "pictures without text", nargs="+")
    text = "largest share of the validation frames with found words that the rejector may lose"
    option(group, "--most-lost SHARE", number(0, 1), MOST_LOST, text)


def rejector_folders(options: argparse.Namespace) -> list[str]:
    """The folders of pictures without annotations."""
    return [*(options.unlabelled or []), *(options.textless or [])]


def check_rejector(parser: Parser, options: argparse.Namespace, given: Collection[str]) -> None:
    """Refuse what --rejector lacks, and options that have no effect with it or without it."""
    if not options.rejector:
        for name in sorted(set(OWN) & set(given)):
            parser.error(f"{dashed(name)} has no effect without --rejector")
        return
    for name in ("pretrain_model", "val"):
        if not getattr(options, name):
            parser.error(f"--rejector needs {dashed(name)}")
    if options.ngpus > 1 or "RANK" in os.environ:
        parser.error("--rejector is trained by one process: start it without torchrun and --ngpus")
    for name in sorted(set(given) - USED):
        parser.error(f"{dashed(name)} has no effect with --rejector; drop it")
