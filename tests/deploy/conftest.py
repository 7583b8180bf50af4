"""Exported files of a published network, made once: to export takes half a minute."""

from pathlib import Path

import pytest

from export import main, parse_args
from tests.conftest import ROOT

CHECKPOINT = ROOT / "weights" / "narrow_pruned.pt"


def run_export(output: Path, *line: object) -> Path:
    """Run export.py in this process; returns the file that it writes."""
    main(parse_args(["--pretrain-model", str(CHECKPOINT), "--output", str(output), *map(str, line)]))
    return output


@pytest.fixture(scope="session")
def float_file(tmp_path_factory) -> Path:
    """An ONNX file of any size; its short side is 320."""
    pytest.importorskip("onnxscript")
    return run_export(tmp_path_factory.mktemp("exported") / "float.onnx", "--short-side", 320)


@pytest.fixture(scope="session")
def fixed_file(tmp_path_factory) -> Path:
    """An ONNX file of the fixed size 224x352; 224 / 32 and 352 / 32 are odd."""
    pytest.importorskip("onnxscript")
    return run_export(tmp_path_factory.mktemp("exported") / "fixed.onnx", "--size", 224, 352)


@pytest.fixture(scope="session")
def int8_file(tmp_path_factory, float_file, rendered) -> Path:
    """The float file, quantised on the rendered training frames."""
    from utils.data.images import IMAGE_SUFFIXES, read_image
    from utils.deploy.exported_detector import ExportedDetector
    from utils.deploy.quantisation import quantise

    path = tmp_path_factory.mktemp("exported") / "int8.onnx"
    detector = ExportedDetector(float_file)
    pictures = [each for each in sorted(rendered.rglob("train*/*")) if each.suffix in IMAGE_SUFFIXES]
    inputs = (detector.prepare([detector.transform(read_image(each))]) for each in pictures[:8])
    quantise(float_file, path, detector.info, inputs)
    return path


@pytest.fixture(scope="session")
def pictures(rendered) -> list[Path]:
    """Rendered frames."""
    return sorted(each for each in (rendered / "frames").rglob("*") if each.suffix in (".jpg", ".png"))
