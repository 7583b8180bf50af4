"""Exported files with a rejector: one graph, most of which is computed only for frames with text."""

import shutil

import numpy as np
import pytest
import torch

import export
from detect import load_detector
from tests.conftest import ROOT
from tools.inspect_model import all_graphs
from utils.checkpoint import load_model, save_checkpoint
from utils.data.images import read_image
from utils.deploy import exporting
from utils.deploy.exported_detector import ExportedDetector
from utils.deploy.file_info import read_info
from utils.errors import UserError
from utils.network.rejector import Rejector

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")

THRESHOLD = 0.5
NOTHING, ALL = 0.0, 1.0


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A published network with an untrained rejector."""
    network, _ = load_model(ROOT / "weights" / "narrow_pruned.pt")
    torch.manual_seed(3)
    rejector = Rejector(network.plan["encoder1"])
    rejector.threshold = THRESHOLD
    path = tmp_path_factory.mktemp("checkpoint") / "rejecting.pt"
    save_checkpoint(path, network, rejector=rejector.contents())
    return path


@pytest.fixture(scope="module")
def files(checkpoint, rendered, tmp_path_factory):
    """The float and the int8 file, by precision: export.py writes both on its way to the int8 file."""
    folder = tmp_path_factory.mktemp("rejecting")
    calibration = ("--int8", rendered / "frames" / "train_images1", "--calibration-frames", 4, "--short-side", 192)
    kept = folder / "float32.onnx"

    def finish(path, *description):
        written = exporting.finish(path, *description)
        if not kept.exists():
            shutil.copy(written, kept)
        return written

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "finish", finish)
        run_export(checkpoint, folder / "int8.onnx", *calibration)
    return {path.stem: path for path in (kept, folder / "int8.onnx")}


def run_export(checkpoint, output, *line: object) -> None:
    export.main(export.parse_args(["--pretrain-model", str(checkpoint), "--output", str(output), *map(str, line)]))


@pytest.fixture(params=["float32", "int8"])
def file(request, files):
    return files[request.param]


def images_of(pictures, detector) -> np.ndarray:
    return detector.prepare([detector.transform(read_image(each)) for each in pictures[:2]])


def test_a_file_describes_itself(file, run_script):
    info = read_info(file)
    assert (info.reject_below, info.precision) == (THRESHOLD, file.stem)
    assert load_detector(file).reject_below == THRESHOLD
    assert load_detector(file, reject_below=0.25).reject_below == 0.25
    assert "below 0.5000" in (shown := run_script("-m", "tools.inspect_model", file).stdout)
    assert "50 Conv" in shown, "46 of the network and 4 of the rejector"


def test_the_float_file_has_the_probabilities_of_the_checkpoint(files, checkpoint, pictures):
    network, contents = load_model(checkpoint)
    rejector = Rejector.of_checkpoint(checkpoint, contents, network)
    detector = ExportedDetector(files["float32"])
    images = images_of(pictures, detector)
    with torch.inference_mode():
        expected = rejector(network.early(torch.from_numpy(images))).numpy()
    assert np.abs(detector.engine.run(images, NOTHING)[3] - expected).max() < 1e-4


def test_frames_that_pass_have_the_maps_of_the_network(file, files, checkpoint, pictures):
    detector = ExportedDetector(file)
    images = images_of(pictures, detector)
    *maps, text = detector.engine.run(images, NOTHING)
    assert text.shape == (2,)
    network, _ = load_model(checkpoint)
    with torch.inference_mode():
        expected = [each.numpy() for each in network(torch.from_numpy(images))]
    for found, other, tolerance in zip(maps, expected, (0.01, 0.01, 0.001), strict=True):
        assert found.shape == other.shape
        assert file.stem == "int8" or np.abs(found - other).max() < tolerance


def test_rejected_frames_have_no_words_and_are_counted(file, pictures):
    detector = load_detector(file, reject_below=ALL)
    images = images_of(pictures, detector)
    confidence, distances, angle, _ = detector.engine.run(images, ALL)
    height, width = images.shape[2] // 4, images.shape[3] // 4
    assert (confidence.shape, distances.shape) == ((2, 1, height, width), (2, 4, height, width))
    assert (angle.shape, confidence.max()) == ((2, 1, height, width), -np.inf)
    assert all(not len(quads) for quads, _ in detector.detect_batch(pictures[:2]))
    assert detector.rejected == 2


def test_of_a_batch_only_the_frames_below_are_rejected(file, pictures):
    """int8 probabilities of two pictures may be equal, so two that differ are looked for."""
    detector = load_detector(file, reject_below=NOTHING)
    all_ = np.concatenate([detector.engine.run(images_of([each], detector), NOTHING)[3] for each in pictures])
    pair = [pictures[all_.argmin()], pictures[all_.argmax()]]
    words = [len(quads) for quads, _ in detector.detect_batch(pair)]
    text = detector.engine.run(images_of(pair, detector), NOTHING)[3]
    assert text[0] < text[1]
    detector.reject_below = float(text.mean())
    kept = [len(quads) for quads, _ in detector.detect_batch(pair)]
    assert detector.rejected == 1
    assert kept == [0 if rejected else count for count, rejected in zip(words, text < text.mean(), strict=True)]
    assert max(words) > 0


def test_only_the_first_stage_and_the_head_are_outside_the_branch(file):
    whole, *branches = all_graphs(onnx.load(file).graph)
    convolutions = [sum(node.op_type == "Conv" for node in graph.node) for graph in (whole, *branches)]
    stem, stage, head = 1, 6, 4
    assert sorted(convolutions[1:]) == [0, 50 - convolutions[0]]
    assert convolutions[0] == stem + stage + head


def test_the_last_layer_of_the_head_stays_float(files):
    """A threshold of 0.02 is five steps of an 8-bit probability, and logits near it are as coarse."""
    graph = onnx.load(files["int8"]).graph
    makers = {name: node for node in graph.node for name in node.output}
    path = [makers["text"]]
    while path[-1].op_type != "Conv":
        path.append(makers[path[-1].input[0]])
    assert [node.op_type for node in path] == ["Sigmoid", "ReduceMax", "Conv"]
    weights = next(each for each in graph.initializer if each.name == path[-1].input[1])
    assert weights.data_type == onnx.TensorProto.FLOAT


def test_what_runs_no_rejector(checkpoint, tmp_path, capsys):
    run_export(checkpoint, tmp_path / "net.torchscript", "--size", 64, 96)
    assert "holds no rejector" in capsys.readouterr().out
    assert read_info(tmp_path / "net.torchscript").reject_below is None
    with pytest.raises(UserError, match="has no rejector"):
        load_detector(tmp_path / "net.torchscript", reject_below=0.5)


def test_openvino(files, pictures):
    pytest.importorskip("openvino")
    detector = load_detector(files["float32"], backend="openvino", reject_below=NOTHING)
    images = images_of(pictures, detector)
    other = ExportedDetector(files["float32"])
    for maps, expected in zip(detector.engine.run(images, NOTHING), other.engine.run(images, NOTHING), strict=True):
        assert np.abs(maps - expected).max() < 0.01
    assert detector.engine.run(images, ALL)[0].max() == -np.inf
