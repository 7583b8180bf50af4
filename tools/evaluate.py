"""Measure any detector's files by the ICDAR 2015 protocol (task 4.1), as the official script does.

    python3 -m tools.evaluate --gt Challenge4_Test_Task1_GT --results OUT          # folders or zips
    python3 -m tools.evaluate --gt gt.zip --results results.zip --json

--gt: `gt_NAME.txt` (or `NAME.txt`), a word a line: x1,y1,x2,y2,x3,y3,x4,y4,text; the text ### is a
don't-care. --results: `res_NAME.txt`, a detection a line: x1,y1,...,x4,y4 and, if the detector has one, a
score. With scores there is also the average precision and a table over score thresholds.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from utils.data.annotations import Words
from utils.errors import UserError, run_script
from utils.evaluation.analysis import average_precision, curve_rows, describe_kinds, threshold_curve
from utils.evaluation.protocol import evaluate
from utils.evaluation.result_files import Detections, read_ground_truth, read_results
from utils.options.parser import Parser
from utils.runtime.tables import format_table


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = Parser(__doc__)
    parser.add_argument("--gt", type=Path, required=True, metavar="DIR|ZIP", help="the ground truth")
    parser.add_argument("--results", type=Path, required=True, metavar="DIR|ZIP", help="what the detector found")
    parser.add_argument(
        "--json", action="store_true", help="print precision, recall and hmean as JSON, in full precision, only"
    )
    return parser.parse_args(arguments)


def main(args: argparse.Namespace) -> None:
    truth, found = pair_up(args.gt, args.results)
    quads = [each.quads for each in found]
    result = evaluate(truth, quads)
    if args.json:
        print(json.dumps({name: getattr(result, name) for name in ("precision", "recall", "hmean")}))
        return
    for name in ("precision", "recall", "hmean"):
        print(f"{name:10} {getattr(result, name):.4f}")
    print(f"{result.matched} of {result.words} words matched; {result.detections} detections in {len(truth)} images")
    scores = known_scores(found)
    if scores is not None:
        print(f"average precision  {average_precision(truth, quads, scores):.4f}")
    print(f"\n{describe_kinds(truth, quads)}")
    if scores is not None:
        print(f"\n{format_table(curve_rows(threshold_curve(truth, quads, scores)))}")


def pair_up(ground_truth: Path, results: Path) -> tuple[list[Words], list[Detections]]:
    """Words and detections of each image; an image without a results file has no detections."""
    truth, found = read_ground_truth(ground_truth), read_results(results)
    if unknown := sorted(set(found) - set(truth)):
        raise UserError(
            f"{results}: {unknown[0]} ({len(unknown)} of {len(found)} files) has no ground truth in {ground_truth}; "
            "the names have to agree: gt_NAME.txt and res_NAME.txt"
        )
    nothing = Detections(np.zeros((0, 4, 2)), None)
    return list(truth.values()), [found.get(name, nothing) for name in truth]


def known_scores(found: list[Detections]) -> list[np.ndarray] | None:
    """Each image's scores; None unless all detections have one."""
    if not any(len(each.quads) for each in found) or any(len(each.quads) and each.scores is None for each in found):
        return None
    return [np.zeros(0) if each.scores is None else each.scores for each in found]


if __name__ == "__main__":
    run_script(lambda: main(parse_args()))
