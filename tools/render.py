"""Training data in SynthText's layout, rendered: words on photographs, or on walls drawn from nothing.

    python3 -m tools.render --out SYN --images 20000 [--backgrounds DIR] [--fonts DIR] [--words FILE]

Writes SYN/gt.mat (imnames, wordBB, charBB, txt) and SYN/1/render_0.jpg ... The same seed gives the same bytes,
however many processes draw. Without folders it uses what the installed packages carry: Pillow's own font and
OpenCV's Hershey fonts on drawn backgrounds. The idea is SynthText's (Gupta et al., CVPR 2016), without its depth maps.
"""

import contextlib
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import scipy.io
from tqdm import tqdm

from utils.errors import UserError, run_script
from utils.options.parser import Parser, given_path, option, whole_number
from utils.rendering.scenery import Scenery, load_photos
from utils.rendering.scenes import Scene, Studio, Style, draw_scene, photograph
from utils.rendering.typefaces import built_in_typefaces, load_typefaces
from utils.rendering.vocabulary import Vocabulary, read_words
from utils.runtime.signals import StopRequest

FOLDER_IMAGES = 100
"""In each numbered folder."""
_HEADER = b"MATLAB 5.0 MAT-file, made by tools.render"
"""Instead of SciPy's, which tells the time: equal data are equal bytes."""


class Rendered(NamedTuple):
    """An image's entry in gt.mat."""

    name: str
    quads: np.ndarray
    """(words, 4, 2) float32."""
    characters: np.ndarray
    """(characters, 4, 2) float32."""
    texts: list[str]
    """Of each block, words between spaces, lines between line ends."""


def render_image(studio: Studio, style: Style, seed: int, number: int) -> tuple[bytes, Scene]:
    """Image `number` of a seed: a JPEG's bytes, and what is in it (at least one word)."""
    rng = np.random.default_rng([seed, number])
    for _ in range(20):
        scene = draw_scene(rng, studio, style)
        if scene.blocks:
            break
    else:
        raise UserError(f"image {number}: no word found room in 20 scenes; give shorter words or larger images")
    picture = photograph(rng, scene.picture)
    quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(40, 96))]
    _, data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), quality)
    return data.tobytes(), scene


class Renderer:
    """Writes image after image into a folder; a process's whole task."""

    def __init__(self, out: Path, studio: Studio, style: Style, seed: int):
        self.out, self.studio, self.style, self.seed = out, studio, style, seed

    def __call__(self, number: int) -> Rendered:
        data, scene = render_image(self.studio, self.style, self.seed, number)
        name = f"{number // FOLDER_IMAGES + 1}/render_{number}.jpg"
        path = self.out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        texts = ["\n".join(" ".join(line) for line in block.lines) for block in scene.blocks]
        return Rendered(name, scene.quads, scene.characters, texts)


def render(renderer: Renderer, count: int, workers: int) -> Iterator[Rendered]:
    """Images 0 to count - 1, in order."""
    cv2.setNumThreads(0)
    if workers == 1:
        yield from map(renderer, range(count))
        return
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    with ProcessPoolExecutor(workers, context, _start_worker, (renderer,)) as pool:
        try:
            yield from pool.map(_work, range(count), chunksize=4)
        except BrokenProcessPool:
            cure = "give --out another folder and fewer --workers"
            raise UserError(f"{renderer.out}: a worker was killed, for its memory perhaps; {cure}") from None


def _start_worker(renderer: Renderer) -> None:
    global _renderer
    _renderer = renderer
    cv2.setNumThreads(0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process ends us
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # whose handler there a forked one would have, too


def _work(number: int) -> Rendered:
    return _renderer(number)


def write_gt_mat(path: Path, images: list[Rendered]) -> None:
    """SynthText's variables: imnames, wordBB (2, 4, words), charBB (2, 4, characters), txt."""
    columns = {
        "imnames": [np.array([image.name]) for image in images],
        "wordBB": [_box_cell(image.quads) for image in images],
        "charBB": [_box_cell(image.characters) for image in images],
        "txt": [np.array(image.texts) for image in images],
    }
    contents = {name: np.empty((1, len(images)), object) for name in columns}
    for name, values in columns.items():
        contents[name][0, :] = values
    part = path.with_name(f".{path.name}.part")
    with open(part, "wb") as file:
        scipy.io.savemat(file, contents)
        file.seek(0)
        file.write(_HEADER.ljust(116))
    os.replace(part, path)


def _box_cell(quads: np.ndarray) -> np.ndarray:
    """(M, 4, 2) -> (2, 4, M), or (2, 4) for one, as MATLAB drops a last axis of one."""
    return quads[0].T if len(quads) == 1 else quads.transpose(2, 1, 0)


def load_studio(backgrounds: Path | None, fonts: Path | None, words: Path | None) -> Studio:
    """From the user's folders and list. What is left out of them is printed."""
    vocabulary = Vocabulary(read_words(words) if words else None)
    photos, faces = None, built_in_typefaces()
    if backgrounds:
        photos, problems = load_photos(backgrounds)
        if problems:
            print(problems)
    if fonts:
        faces, problems = load_typefaces(fonts, vocabulary.characters)
        if problems:
            print(problems)
    return Studio(Scenery(photos), faces, vocabulary)


def main() -> None:
    parser = Parser(__doc__)
    option(parser, "--out", given_path, None, "DIR", "folder for gt.mat and the images", required=True)
    option(parser, "--images", whole_number(1), None, "N", "how many images", required=True)
    option(parser, "--backgrounds", given_path, None, "DIR", "photographs without text (default: drawn walls)")
    option(parser, "--fonts", given_path, None, "DIR", ".ttf and .otf files (default: Pillow's font and OpenCV's)")
    option(parser, "--words", given_path, None, "FILE", "a word a line, UTF-8 (default: made up)")
    option(parser, "--size", whole_number(64, 8192), (450, 600), ("H", "W"), "of the images, in pixels", nargs=2)
    option(parser, "--seed", whole_number(0), 0, "N", "of all draws")
    option(parser, "--workers", whole_number(1, 1024), None, "N", "processes (default: one a core)")
    args = parser.parse_args()
    if (args.out / "gt.mat").exists():
        raise UserError(f"{args.out}: it has a gt.mat already; give --out another folder")
    studio = load_studio(args.backgrounds, args.fonts, args.words)
    args.out.mkdir(parents=True, exist_ok=True)
    workers = args.workers or len(os.sched_getaffinity(0))
    renderer = Renderer(args.out, studio, Style(size=tuple(args.size)), args.seed)
    done = []
    with StopRequest() as stop, contextlib.closing(render(renderer, args.images, workers)) as images:
        for image in tqdm(images, desc=str(args.out), total=args.images, unit="img", disable=None):
            done.append(image)
            if stop.requested:
                break
    write_gt_mat(args.out / "gt.mat", done)
    words = sum(len(image.quads) for image in done)
    print(f"{args.out}: {len(done)} images, {words} words")
    if len(done) < args.images:
        print(f"interrupted: gt.mat has the {len(done)} of {args.images} images that are written", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    run_script(main)
