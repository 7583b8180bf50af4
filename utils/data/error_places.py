"""Places where a network was wrong, which training then sees more often.

Known as bootstrapping, or mining of hard examples ("Example-based learning for view-based human face detection",
Sung and Poggio, PAMI 1998).
"""

from __future__ import annotations  # else `np.random` in them imports it, which a detector does not use

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from utils.errors import UserError

SHARE = 0.8
"""Of an image's crops that are drawn around a word: how many are drawn around an error, if it has any."""


class ErrorPlaces:
    """The errors of a network in training images.

    by_image: their quads (K, 4, 2), in pixels, by the absolute path of the image.
    """

    def __init__(self, by_image: Mapping[str, np.ndarray]):
        self.by_image = by_image

    def choose(self, path: Path, words: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The quads that a crop of this image is drawn around one of: its words' (M, 4, 2), or its errors'."""
        errors = self.by_image.get(os.path.abspath(path))
        return words if errors is None or rng.random() >= SHARE else errors

    def require_some_in(self, folders: Iterable[Path]) -> None:
        """Raise `UserError` if no image with errors is in one of the folders."""
        roots = [Path(os.path.abspath(folder)) for folder in folders]
        if not any(root in Path(image).parents for image in self.by_image for root in roots):
            raise UserError(
                f"--errors: {next(iter(self.by_image))} and the other images with errors are in none of the training "
                "folders; inspect these with `python3 -m tools.inspect_errors CKPT FOLDER --train --out DIR`"
            )


def read_places(files: Iterable[str | Path]) -> ErrorPlaces:
    """The places in all the files, which are `errors.jsonl` of `tools.inspect_errors`. Raises `UserError`."""
    quads: dict[str, list[np.ndarray]] = {}
    for file in files:
        try:
            lines = Path(file).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{file}: cannot be read ({getattr(error, 'strerror', error)}); check the path") from None
        for number, line in enumerate(lines, 1):
            try:
                record = json.loads(line)
                image, quad = os.path.abspath(record["image"]), np.array(record["quad"], np.float64)
                if quad.shape != (4, 2) or not np.isfinite(quad).all():
                    raise ValueError
            except (ValueError, TypeError, KeyError):
                raise UserError(
                    f"{file}, line {number}: no error of tools.inspect_errors; give its errors.jsonl"
                ) from None
            quads.setdefault(image, []).append(quad)
    if not quads:
        raise UserError("--errors: the files list no errors; leave the option out")
    return ErrorPlaces({image: np.stack(each) for image, each in quads.items()})
