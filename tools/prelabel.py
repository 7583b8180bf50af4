"""Draft annotations for one's own video, to be corrected by hand.

    python3 -m tools.prelabel clip.mp4 --pretrain-model best.pt --out drafts --format labelme
    python3 -m tools.prelabel photos/ --pretrain-model best.pt --out drafts --format ppocrlabel
    python3 -m tools.prelabel clip.mp4 --out drafts --propagate 120

Chosen frames (every Nth, or those that differ enough) are written as pictures with the detector's words as drafts.
Words are followed through the frames between, so that each has one number in all frames. Uncertain ones are marked as
don't-care. After frame 120 has been corrected in an annotation tool, --propagate 120 carries its words over to the
following frames. docs/labelling.md describes the marks of each format.

    python3 -m tools.prelabel my_frames --pretrain-model best.pt --out my_frames_marked --ignore-unmatched

adds confident detections that overlap no annotated word of the training images as ###.
"""

import argparse
import contextlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from tqdm import tqdm

from tools.convert import Conversion
from utils.base_detector import BaseDetector
from utils.data.formats.entries import Entry
from utils.data.formats.registry import FORMATS
from utils.data.images import UnreadableImage
from utils.data.problems import Problems
from utils.deploy.detectors import load_detector
from utils.errors import UserError, printable, run_script
from utils.labelling.drafts import SURE, make_drafts, read_record, write_record
from utils.labelling.frames import FOLDER_EVERY, VIDEO_EVERY, Chooser, iterate_frames, picture_names
from utils.labelling.propagation import propagate
from utils.labelling.unmatched import add_unmatched
from utils.labelling.writing import DRAFT_FORMATS, DraftFolder, read_drafted, replace_annotations
from utils.options.machine import add_machine_options
from utils.options.parser import Parser, flag, nonempty_path, nonempty_text, number, option, whole_number
from utils.options.reading import add_reading_options, read_options
from utils.options.view import add_detection_options
from utils.runtime.files import refuse_overlap

Finder = Callable[[Path], np.ndarray]
"""A picture's path -> quads (K, 4, 2) in its pixels. Raises `UnreadableImage`."""


def build_parser() -> Parser:
    parser = Parser(__doc__)
    parser.add_argument("source", type=Path, metavar="VIDEO|FOLDER", help="a video, or a folder of pictures")
    option(parser, "--out DIR", nonempty_path, None, "folder for the annotations", required=True)
    text = "the detector: a checkpoint, or a file that export.py wrote"
    option(parser, "--pretrain-model CKPT", nonempty_text, None, text)
    text = "annotation format (default: labelme; with --ignore-unmatched the source's)"
    option(parser, "--format", str, None, text, choices=DRAFT_FORMATS)
    work = parser.add_argument_group("work on annotations that exist")
    text = "carry the corrected words of this frame in --out over to the following frames"
    option(work, "--propagate FRAME", whole_number(0), None, text)
    flag(work, "--ignore-unmatched", "add confident detections that overlap no annotated word as ###")
    drafts = parser.add_argument_group("drafts")
    text = f"draft every Nth frame (default: {VIDEO_EVERY} for a video, {FOLDER_EVERY} for a folder)"
    option(drafts, "--every N", whole_number(1), None, text)
    text = "draft only frames that differ from the one before by this much: 0 the same picture, 1 another one"
    option(drafts, "--change SHARE", number(0, 2), None, text)
    option(
        drafts, "--sure P", number(0, 1), SURE, "lowest score of a certain draft, and with --ignore-unmatched of a ###"
    )
    add_detection_options(parser.add_argument_group("detection"), "--short-side")
    add_reading_options(parser.add_argument_group("pictures"))
    add_machine_options(parser.add_argument_group("machine"), workers=False)
    return parser


def main(args: argparse.Namespace) -> None:
    problems = Problems()
    if args.propagate is not None:
        carry_over(args, problems)
    elif args.pretrain_model is None:
        raise UserError(
            "--pretrain-model: give the checkpoint of the detector that drafts (only --propagate needs none)"
        )
    elif args.ignore_unmatched:
        mark_unmatched(args, confident_finder, problems)
    else:
        draft(args, problems)
    if problems:
        print(f"left out or changed:\n{problems}")


def draft(args: argparse.Namespace, problems: Problems) -> None:
    """Write the chosen frames with their drafts."""
    refuse_overlap([args.out], [args.source])
    folder = DraftFolder(args.out, args.format or DRAFT_FORMATS[0])
    folder.refuse_shared_names(picture_names(args.source))
    detector = open_detector(args)
    chooser = Chooser(args.every or (FOLDER_EVERY if args.source.is_dir() else VIDEO_EVERY), args.change)
    frames = tqdm(iterate_frames(args.source, read_options(args), problems), desc="frames", leave=False, disable=None)
    with contextlib.closing(folder):
        drafts = make_drafts(frames, chooser, detector.detect, args.sure, folder.keep)
        folder.write(args.source, drafts, problems)
    words = [word for each in drafts for word in each.words]
    uncertain = sum(word.ignored for word in words)
    print(f"{printable(args.out)}: {len(drafts)} frames, {len(words)} words, {uncertain} of them uncertain")


def carry_over(args: argparse.Namespace, problems: Problems) -> None:
    """Carry the words of a corrected frame over to the frames after it."""
    source, file_format, drafts = read_record(args.out)
    replace_annotations(args.out, file_format, [], drafts)  # refuses before the video is read
    entries = read_drafted(args.out, file_format, drafts, problems)
    frames = tqdm(iterate_frames(args.source, read_options(args), problems), desc="frames", leave=False, disable=None)
    changed = {each.name: each for each in propagate(drafts, entries, args.propagate, frames)}
    if not changed:
        print(
            f"{printable(args.out)}: no frame to carry words over to: the next one has been corrected, or there is none"
        )
        return
    replace_annotations(args.out, file_format, [each.entry() for each in changed.values()], drafts)
    write_record(args.out, source, file_format, [changed.get(each.name, each) for each in drafts])
    numbers = [each.number for each in changed.values()]
    to = f"{len(numbers)} frames, {numbers[0]} to {numbers[-1]}"
    print(f"{printable(args.out)}: words of frame {args.propagate} carried over to {to}")


def confident_finder(args: argparse.Namespace) -> Finder:
    """Finds the detections of at least the score of --sure."""
    detector = open_detector(args)

    def find(path: Path) -> np.ndarray:
        quads, scores = detector.detect(path)
        return quads[np.asarray(scores) >= args.sure]

    return find


def mark_unmatched(
    args: argparse.Namespace, open_finder: Callable[[argparse.Namespace], Finder], problems: Problems
) -> None:
    """Write a copy of an annotated folder with what is found beside the words as don't-care.

    args: `source`, `out` and `format`, and what `open_finder` needs.
    """
    conversion = Conversion(args.source, args.out, copy=True)
    target = args.format or conversion.recognised.format.name
    if not FORMATS[target].write:
        raise UserError(f"{args.source}: {target} cannot be written; choose another format with --format")
    conversion.refuse_shared_names(target)
    find, added = open_finder(args), []

    def mark(entry: Entry, path: Path) -> Entry:
        try:
            marked = add_unmatched(entry, find(path))
        except UnreadableImage as error:
            problems.add("pictures unreadable, their words left as they are", str(error))
            return entry
        added.append(len(marked.quads) - len(entry.quads))
        return marked

    conversion.edit = mark
    counts = conversion.run(target)
    problems.update(conversion.problems)
    marked = f"{sum(added)} ### added in {sum(map(bool, added))}"
    print(f"{printable(args.out)}: {marked} of {counts.get('train', 0)} training images")


def open_detector(args: argparse.Namespace) -> BaseDetector:
    """The detector of the command line."""
    names = "ngpus", "threads", "short_side", "score_threshold", "nms_threshold", "word_threshold"
    options = {name: getattr(args, name) for name in names}
    detector = load_detector(args.pretrain_model, reject_below=0.0, **options)
    detector.reading = read_options(args)
    return detector


if __name__ == "__main__":
    run_script(lambda: main(build_parser().parse_args()))
