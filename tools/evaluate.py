"""Evaluate any detector's result files by the ICDAR 2015 protocol (task 4.1), as the official script does.

    python3 -m tools.evaluate --gt Challenge4_Test_Task1_GT --results OUT          # folders or zips
    python3 -m tools.evaluate --gt gt.zip --results results.zip --json

--gt: `gt_NAME.txt` (or `NAME.txt`) with one word a line: x1,y1,x2,y2,x3,y3,x4,y4,text. The text ### marks a
don't-care word. Files of ICDAR MLT (with a script before the text), of ICDAR 2013 (boxes) and of polygons are
recognised; a polygon is measured by the smallest rectangle around it.
--results: `res_NAME.txt` with one detection a line: x1,y1,...,x4,y4 and an optional score. If all
detections have scores, the average precision and a table over score thresholds are printed, too.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from utils.data.annotations import Words
from utils.data.problems import Problems
from utils.errors import UserError, run_script
from utils.evaluation import evaluate
from utils.evaluation.breakdown import format_breakdowns
from utils.evaluation.curves import average_precision, format_curve, threshold_curve
from utils.evaluation.result_files import Detections, read_ground_truth, read_results
from utils.options.parser import Parser, flag, option


def build_parser() -> Parser:
    parser = Parser(__doc__)
    option(parser, "--gt DIR|ZIP", Path, None, "the ground truth", required=True)
    option(parser, "--results DIR|ZIP", Path, None, "the detector's results", required=True)
    flag(parser, "--json", "print only precision, recall and hmean, as JSON in full precision")
    return parser


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    return build_parser().parse_args(arguments)


def main(args: argparse.Namespace) -> None:
    problems = Problems()
    truth, found = read_pairs(args.gt, args.results, problems)
    quads = [each.quads for each in found]
    result = evaluate(truth, quads)
    if args.json:
        print(json.dumps({name: getattr(result, name) for name in ("precision", "recall", "hmean")}))
        return
    if problems:
        print(f"ground truth, changed while reading:\n{problems}")
    for name in ("precision", "recall", "hmean"):
        print(f"{name:10} {getattr(result, name):.4f}")
    print(f"{result.matched} of {result.words} words matched; {result.detections} detections in {len(truth)} images")
    scores = scores_of(found)
    if scores is not None:
        print(f"average precision  {average_precision(truth, quads, scores):.4f}")
    print(f"\n{format_breakdowns(truth, quads)}")
    if scores is not None:
        print(f"\n{format_curve(threshold_curve(truth, quads, scores))}")


def read_pairs(
    ground_truth: Path, results: Path, problems: Problems | None = None
) -> tuple[list[Words], list[Detections]]:
    """Words and detections of each image, in the same order; an image without a results file has no detections.

    problems: counts what is changed in the ground truth.
    """
    truth, found = read_ground_truth(ground_truth, problems), read_results(results)
    if unknown := sorted(set(found) - set(truth)):
        raise UserError(
            f"{results}: {unknown[0]} ({len(unknown)} of {len(found)} files) has no ground truth in {ground_truth}; "
            "the names must agree: gt_NAME.txt and res_NAME.txt"
        )
    nothing = Detections(np.zeros((0, 4, 2)), None)
    return list(truth.values()), [found.get(name, nothing) for name in truth]


def scores_of(found: list[Detections]) -> list[np.ndarray] | None:
    """Each image's scores; None unless there are detections and all of them have a score."""
    if not any(len(each.quads) for each in found) or any(len(each.quads) and each.scores is None for each in found):
        return None
    return [np.zeros(0) if each.scores is None else each.scores for each in found]


if __name__ == "__main__":
    run_script(lambda: main(parse_args()))
