"""The detector of any file that holds a network: a checkpoint or an exported file.

from detect import load_detector

detector = load_detector("best.pt", short_side=280)      # PyTorch
detector = load_detector("model.onnx")                   # without PyTorch
"""

from pathlib import Path
from typing import Any

from utils.base_detector import BaseDetector
from utils.decode import WORD_THRESHOLD
from utils.deploy.engines import EngineSettings
from utils.deploy.exported_detector import ExportedDetector
from utils.deploy.file_info import FORMATS
from utils.errors import UserError
from utils.runtime.optional import import_optional


def is_exported(path: str | Path) -> bool:
    """Whether a path names an exported file, by its suffix."""
    return Path(path).suffix.lower() in FORMATS


def load_detector(
    path: str | Path,
    *,
    backend: str | None = None,
    reject_below: float | None = None,
    word_threshold: float = WORD_THRESHOLD,
    **options: Any,
) -> BaseDetector:
    """The detector of a checkpoint, original or pruned, or of an exported file.

    backend: of an exported file, see `utils.deploy.engines.BACKENDS`. reject_below: probability of text below which
    frames are rejected; None: that of the file's rejector, if it has one; 0: never. word_threshold: see
    `utils.decode.Thresholds`. options: `ngpus`, as --ngpus (None takes the option `device` of
    `utils.detector.Detector`); `threads` on the CPU; `short_side`, `score_threshold`, `nms_threshold`. None is the
    file's value, or the default of `Detector`.
    """
    options = {name: value for name, value in options.items() if value is not None}
    if is_exported(path):
        detector = _load_exported(path, backend, reject_below, options)
    else:
        refuse_backend(path, backend)
        detector = _load_checkpoint(path, {"reject_below": reject_below, **options})
    detector.thresholds = detector.thresholds._replace(word=word_threshold)
    return detector


def _load_exported(
    path: str | Path, backend: str | None, reject_below: float | None, options: dict[str, Any]
) -> BaseDetector:
    options.pop("ngpus", None)
    if (device := str(options.pop("device", "cpu"))) != "cpu":
        raise UserError(f"{path}: an exported file runs on the CPU, not on {device}; load the checkpoint instead")
    engine = EngineSettings(backend, options.pop("threads", None))
    detector = ExportedDetector(path, engine=engine, **options)
    detector.use_rejector(reject_below)
    return detector


def refuse_backend(path: str | Path, backend: str | None) -> None:
    """Raise `UserError` if a backend is asked for, since a checkpoint has none."""
    if backend:
        raise UserError(f"--backend {backend}: {path} is no exported file; write one with export.py")


def _load_checkpoint(path: str | Path, options: dict[str, Any]) -> BaseDetector:
    ngpus, threads = options.pop("ngpus", None), options.pop("threads", None)
    cure = "torch; or export it with export.py where PyTorch is installed"
    torch = import_optional("torch", f"the checkpoint {path}", cure)  # not at the top: an exported file needs none

    from utils.detector import load_detector as load_checkpoint
    from utils.runtime.device import choose_device, describe_device

    if ngpus is None:
        if threads:
            torch.set_num_threads(threads)
        return load_checkpoint(path, **options)
    device = choose_device(ngpus, threads=threads)
    detector = load_checkpoint(path, device=device, **options)
    detector.runs_on = describe_device(device, ngpus, threads)
    return detector
