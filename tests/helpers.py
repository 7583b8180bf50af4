"""Small inputs that the tests of several rooms share: boxes, words, pictures, gt.mat files."""

from pathlib import Path

import cv2
import numpy as np
import scipy.io
import shapely
import torch

from tools.convert import Conversion
from utils.data.annotations import Words
from utils.data.formats import txt
from utils.data.problems import Problems
from utils.maps import Prediction, Target


def box(left: float, top: float, right: float, bottom: float) -> list[list[float]]:
    """The upright quad, clockwise from its top-left corner."""
    return [[left, top], [right, top], [right, bottom], [left, bottom]]


def words_of(*quads, ignored=()) -> Words:
    """Words of these quads; `ignored`: numbers of the don't-care ones."""
    return Words(
        np.array(quads, np.float32).reshape(-1, 4, 2), np.array([n in ignored for n in range(len(quads))], bool)
    )


def read_words(path: Path, problems: Problems) -> Words:
    """The words of one annotation file."""
    entry, _ = txt.read_words(path, path.name, problems)
    return Words(entry.quads, entry.ignored)


def convert(source: Path, out: Path, to: str | None = None, *, copy: bool = False) -> tuple[dict[str, int], Problems]:
    """What `tools.convert` does: the number of images of each part, and what was left out or changed."""
    conversion = Conversion(source, out, copy=copy)
    return conversion.run(to), conversion.problems


def random_quads(count: int, seed: int = 0, spread: float = 0.3) -> np.ndarray:
    """(count, 4, 2) convex, clockwise, word-like quads of all rotations."""
    rng = np.random.default_rng(seed)
    size = rng.uniform([10, 5], [80, 30], (count, 2))
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * size[:, None] / 2
    bent = corners + rng.uniform(-spread, spread, (count, 4, 2)) * size.min(1)[:, None, None] / 2
    hulls = shapely.convex_hull(shapely.polygons(bent))
    convex = shapely.get_num_coordinates(hulls) == 5
    corners[convex] = bent[convex]
    turn = rng.uniform(-np.pi, np.pi, count)
    rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]).transpose(2, 0, 1)
    return corners @ rotation + rng.uniform(0, 100, (count, 1, 2))


def as_prediction(target: Target) -> Prediction:
    """The prediction of a network that gives exactly the target, as a batch of one."""
    confidence = torch.where(target.score_map > 0, 8.0, -8.0)
    return Prediction(confidence[None], target.distances[None], target.angle[None])


def write_picture(path: Path, height: int = 60, width: int = 80) -> Path:
    """A picture of noise, always the same for a size."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)
    cv2.imwrite(str(path), noise)
    return path


def write_mat(path: Path, cells: list, names: list[str] | None = None) -> Path:
    """A gt.mat of SciPy's with these wordBB cells; a reference that shares no code with ours."""
    path.parent.mkdir(parents=True, exist_ok=True)
    names = names or [f"1/image{number}.jpg" for number in range(len(cells))]
    columns = {"imnames": [np.array([name]) for name in names], "wordBB": cells}
    contents = {}
    for key, values in columns.items():
        contents[key] = np.empty((1, len(values)), object)
        contents[key][0, :] = values
    scipy.io.savemat(path, contents)
    return path


def cell(*quads) -> np.ndarray:
    """A wordBB cell of these quads: (2, 4, M) float32, or (2, 4) for one."""
    values = np.array(quads, np.float32).transpose(2, 1, 0)
    return values[..., 0] if len(quads) == 1 else values
