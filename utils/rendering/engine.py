"""Rendered images in a folder, by one or several processes; their number does not change the images."""

import multiprocessing
import signal
import sys
from collections.abc import Generator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import cv2
import numpy as np

from utils.data.gt_mat import SynthTextImage
from utils.errors import UserError
from utils.rendering.scenery import Scenery, load_photos
from utils.rendering.scenes import Scene, Studio, Style, draw_scene, photograph
from utils.rendering.typefaces import built_in_typefaces, load_typefaces
from utils.rendering.vocabulary import Vocabulary, read_words
from utils.runtime.files import write_file

FOLDER_IMAGES = 100
"""Images in each numbered folder."""

_renderer: "Renderer | None" = None
"""In a worker process, the renderer of all its images."""


def load_studio(backgrounds: Path | None, fonts: Path | None, words: Path | None) -> Studio:
    """The studio of a folder of photographs, a folder of fonts and a word list; None: the built-in ones.

    Prints what is left out of the folders. Raises `UserError` where nothing usable is left.
    """
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


def render_image(studio: Studio, style: Style, seed: int, number: int) -> tuple[bytes, Scene]:
    """Image `number` of a seed: the bytes of a JPEG, and its scene, with a word unless the style has none."""
    rng = np.random.default_rng([seed, number])
    for _ in range(20):
        scene = draw_scene(rng, studio, style)
        if scene.blocks or not style.words[1]:
            break
    else:
        raise UserError(f"image {number}: no word found room in 20 scenes; give shorter words or larger images")
    picture = photograph(rng, scene.picture)
    quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(40, 96))]
    _, data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), quality)
    return data.tobytes(), scene


class Renderer:
    """Renders image `number` into a folder: `renderer(number)`. What a worker process needs."""

    def __init__(self, out: Path, studio: Studio, style: Style, seed: int):
        self.out, self.studio, self.style, self.seed = out, studio, style, seed

    def __call__(self, number: int) -> SynthTextImage:
        data, scene = render_image(self.studio, self.style, self.seed, number)
        name = f"{number // FOLDER_IMAGES + 1}/render_{number}.jpg"
        path = self.out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, data)
        texts = ["\n".join(" ".join(line) for line in block.lines) for block in scene.blocks]
        return SynthTextImage(name, scene.quads, scene.characters, texts)


def render(renderer: Renderer, count: int, workers: int) -> Generator[SynthTextImage]:
    """Render images 0 to count - 1, in order, with so many processes."""
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
            raise UserError(f"{renderer.out}: a worker was killed, perhaps for lack of memory; {cure}") from None


def _start_worker(renderer: Renderer) -> None:
    global _renderer
    _renderer = renderer
    cv2.setNumThreads(0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process ends the workers
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # not the main process's handler, which a fork inherits


def _work(number: int) -> SynthTextImage:
    assert _renderer is not None  # see _start_worker
    return _renderer(number)
