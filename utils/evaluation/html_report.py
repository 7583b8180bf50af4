"""A static HTML page with a picture of every frame, its words and detections, the worst frames first."""

import html
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from tqdm import tqdm

from utils.data.frames import FrameInfo
from utils.data.images import LONGEST_JPEG, write_image
from utils.errors import printable
from utils.evaluation.drawing import (
    DONT_CARE_COLOUR,
    FALSE_ALARM,
    FOUND_WORD,
    MATCHED,
    MISSED,
    draw_detections,
    shrunk,
)
from utils.evaluation.protocol import Evaluation, match
from utils.evaluation.result_files import whole_pixels, write_results
from utils.evaluation.validation import FrameDetections
from utils.runtime.files import write_file
from utils.runtime.results import ResultFolder

PAGE = "index.html"

Metrics = Mapping[str, object]
"""Names and values."""

LEGEND = (
    ("detection that matches a word", MATCHED, "solid"),
    ("false alarm", FALSE_ALARM, "solid"),
    ("found word", FOUND_WORD, "solid"),
    ("missed word", MISSED, "solid"),
    ("don't-care word", DONT_CARE_COLOUR, "dashed"),
    ("detection in a don't-care word", MATCHED, "dashed"),
)

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 1320px; padding: 0 1rem; color: #222; }
h1 { font-size: 1.4rem; } pre { background: #f4f4f4; padding: .8rem; overflow-x: auto; }
table { border-collapse: collapse; } td { padding: .1rem 1.2rem .1rem 0; }
.legend span { display: inline-block; margin: 0 1.2rem .3rem 0; }
.legend i { display: inline-block; width: 1.4rem; height: .8rem; margin-right: .4rem; vertical-align: middle; }
.frames { display: grid; grid-template-columns: repeat(auto-fill, minmax(400px, 1fr)); gap: 1rem; }
figure { margin: 0; } figure img { width: 100%; display: block; background: #ddd; }
summary { cursor: pointer; margin: 1rem 0; }
figcaption { font-size: .85rem; overflow-wrap: anywhere; } figcaption b { font-variant-numeric: tabular-nums; }
"""


class FrameScore(NamedTuple):
    """A frame's figures in the report."""

    name: str
    picture: str
    evaluation: Evaluation

    @property
    def missed(self) -> int:
        return self.evaluation.words - self.evaluation.matched

    @property
    def false_alarms(self) -> int:
        return self.evaluation.detections - self.evaluation.matched

    @property
    def hmean(self) -> float:
        """1 if the frame has neither words nor detections."""
        return self.evaluation.hmean if self.missed + self.false_alarms else 1.0

    def badness(self) -> tuple[float, int]:
        """Sorts the worst frames first: by hmean, then by the number of errors."""
        return self.hmean, -self.missed - self.false_alarms


def write_report(
    results: ResultFolder, frames: Sequence[FrameInfo], detections: FrameDetections, metrics: Metrics, tables: str
) -> None:
    """Write index.html, and NAME.jpg and res_NAME.txt for each frame, instead of the results of an earlier report.

    results: gives each frame its name, see `report_folder`. frames: as in `Batch.frames`. detections: (quads, scores)
    of each frame. metrics: values at the top of the page. tables: preformatted text. A picture that is too long for a
    JPEG is written smaller.
    """
    folder, scores = results.folder, []
    page_file = results.claim(PAGE)
    names = results.name_sources([frame.path for frame in frames])
    results.save()
    bar = tqdm(zip(frames, detections, strict=True), "draw", len(frames), leave=False, disable=None)
    for frame, (quads, _) in bar:
        name = names[frame.path]
        write_results(folder / f"res_{name}.txt", quads)
        matching = match(frame.words, whole_pixels(quads))
        picture = f"{name}.jpg"
        drawn = draw_detections(frame.picture(), frame.words, quads, matching)
        write_image(folder / picture, shrunk(drawn, LONGEST_JPEG))
        scores.append(FrameScore(frame.path.name, picture, Evaluation.from_counts(*matching.counts)))
    page = render_page(sorted(scores, key=FrameScore.badness), metrics, tables)
    write_file(page_file, page)


def report_folder(folder: Path) -> ResultFolder:
    """The folder of a report and of its frames' pictures and texts."""
    return ResultFolder(folder, "test_sample", r"res_(.+)\.txt", r"(.+)\.jpg")


def render_page(scores: list[FrameScore], metrics: Metrics, tables: str) -> str:
    """The page as text; it refers to nothing but the pictures in its folder."""
    legend = "".join(
        f'<span><i style="border: 3px {line} rgb{colour}"></i>{html.escape(text)}</span>'
        for text, colour, line in LEGEND
    )
    rows = "".join(
        f"<tr><td>{html.escape(name)}</td><td>{html.escape(_short(value))}</td></tr>" for name, value in metrics.items()
    )
    figures = "".join(
        f'<figure><a href="{_url(score.picture)}"><img src="{_url(score.picture)}" loading="lazy" '
        f'alt="{_shown(score.name)}"></a><figcaption>{_shown(score.name)}: <b>hmean '
        f"{score.hmean:.2f}</b>, {score.evaluation.matched} of {score.evaluation.words} words found, "
        f"{score.false_alarms} false alarms</figcaption></figure>\n"
        for score in scores
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8"><title>Detections</title>\n'
        f"<style>{_STYLE}</style></head>\n<body>\n<h1>Detections on {len(scores)} frames, the worst first</h1>\n"
        f'<p class="legend">{legend}</p>\n<table>{rows}</table>\n'
        f"<details><summary>Tables</summary><pre>{html.escape(tables)}</pre></details>\n"
        f'<div class="frames">\n{figures}</div>\n</body>\n</html>\n'
    )


def _url(file: str) -> str:
    """A file's name as a relative address, of any bytes."""
    return quote(os.fsencode(file))


def _shown(name: str) -> str:
    return html.escape(printable(name))


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
