"""export.py: what it writes, what it refuses, and that the files compute what the checkpoint computes."""

import hashlib
import json
import shutil

import cv2
import numpy as np
import pytest
import torch

from model_pruned import FOTSModelPruned
from tests.deploy.conftest import CHECKPOINT, run_export
from utils.checkpoint import load_model
from utils.data.annotations import Words
from utils.data.augmentation import NetworkInput
from utils.data.image_types import ReadOptions
from utils.deploy.agreement import compare_maps
from utils.deploy.calibration import calibration_inputs
from utils.deploy.engines import EngineSettings
from utils.deploy.exported_detector import ExportedDetector
from utils.deploy.exporting import with_tensors
from utils.deploy.file_info import read_info
from utils.deploy.quantisation import convolutions, operators_without, quantise
from utils.deploy.sensitivity import errors_of_layers
from utils.detector import Detector
from utils.errors import UserError
from utils.evaluation import evaluate
from utils.maps import normalise
from utils.network.channels import LAYERS, uniform_plan


@pytest.fixture(scope="module")
def network():
    return load_model(CHECKPOINT)[0]


class TestFiles:
    def test_a_file_describes_itself(self, float_file, fixed_file, network):
        info = read_info(float_file)
        assert (info.short_side, info.score_threshold, info.size, info.precision) == (320, 0.5, None, "float32")
        assert info.plan == network.plan
        assert info.checkpoint == hashlib.sha256(CHECKPOINT.read_bytes()).hexdigest()
        assert read_info(fixed_file).size == (224, 352)

    def test_a_file_names_no_path_of_the_machine(self, float_file):
        assert b".py" not in float_file.read_bytes()

    def test_any_size_and_number_of_pictures(self, float_file, network):
        """32 x 32: the deepest map has one cell; 416 / 32 is odd."""
        detector = ExportedDetector(float_file)
        for shape in ((1, 3, 32, 32), (3, 3, 416, 64), (2, 3, 96, 160)):
            images = torch.randn(shape, generator=torch.Generator().manual_seed(0))
            with torch.inference_mode():
                expected = network(images)
            for maps, other in zip(expected, detector.run(images.numpy()), strict=True):
                assert np.abs(maps.numpy() - other).max() < 0.01

    def test_a_wrong_network_is_noticed(self, float_file, fixed_file):
        other = load_model(CHECKPOINT)[0]
        assert compare_maps(other, ExportedDetector(float_file).run).small
        assert compare_maps(other, ExportedDetector(fixed_file).run, (224, 352)).small
        with torch.no_grad():
            other.distances[0].bias += 1e-3
        assert not compare_maps(other, ExportedDetector(float_file).run).small

    def test_the_graph_serves_networks_of_other_widths(self, float_file, tmp_path):
        torch.manual_seed(0)
        other = FOTSModelPruned(uniform_plan(0.1)).eval()
        with_tensors(float_file, other, tmp_path / "other.onnx")
        differences = compare_maps(other, ExportedDetector(tmp_path / "other.onnx").run)
        assert max(differences.probability, differences.angle) < 1e-3
        assert differences.distance < 0.1  # an untrained network's large activations are rounded more coarsely

    def test_torchscript(self, tmp_path, network):
        path = run_export(tmp_path / "net.torchscript")
        detector = ExportedDetector(path)
        assert compare_maps(network, detector.run).small
        assert "TorchScript" in detector.runs_on

    def test_openvino(self, float_file, network, tmp_path):
        openvino = pytest.importorskip("openvino")
        from utils.deploy.exporting import onnx_to_openvino

        path, info = tmp_path / "net.xml", read_info(float_file)
        onnx_to_openvino(openvino, float_file, info, path)
        assert read_info(path) == info
        for each, backend in ((path, None), (float_file, "openvino")):
            detector = ExportedDetector(each, engine=EngineSettings(backend))
            assert "OpenVINO" in detector.runs_on
            assert compare_maps(network, detector.run).small

    def test_signals_after_detectors_of_openvino_have_ended(self, float_file, run_script):
        """Two `openvino.Core`s that end in the order in which they began leave signals a stack that is gone."""
        pytest.importorskip("openvino")
        lines = (
            "import faulthandler, os, signal, sys",
            "from utils.deploy.engines import EngineSettings",
            "from utils.deploy.exported_detector import ExportedDetector",
            "faulthandler.enable()",
            "signal.signal(signal.SIGUSR1, lambda *_: print('handled'))",
            "detectors = [ExportedDetector(sys.argv[1], engine=EngineSettings('openvino')) for _ in range(2)]",
            "del detectors[0], detectors[0]",
            "os.kill(os.getpid(), signal.SIGUSR1)",
        )
        assert run_script("-c", "\n".join(lines), float_file).stdout == "handled\n"


class TestWords:
    """Words equal those of `Detector`."""

    @staticmethod
    def same_words(found, expected, pixels: float = 1e-3) -> None:
        (quads, scores), (other_quads, other_scores) = found, expected
        assert len(quads) == len(other_quads)
        assert np.allclose(quads, other_quads, atol=pixels, rtol=0)
        assert np.allclose(scores, other_scores, atol=1e-5)

    def test_pictures_alone_and_in_a_batch(self, float_file, network, pictures):
        exported, detector = ExportedDetector(float_file), Detector(network, 320)
        expected = [detector.detect(path) for path in pictures]
        assert sum(len(quads) for quads, _ in expected) > 3
        for path, words in zip(pictures, expected, strict=True):
            self.same_words(exported.detect(path), words)
        images = [cv2.imread(str(path))[: 200 + 40 * number, :, ::-1] for number, path in enumerate(pictures[:3])]
        for found, words in zip(exported.detect_batch(images), detector.detect_batch(images), strict=True):
            self.same_words(found, words)

    def test_a_fixed_size_in_opencv_and_in_onnxruntime(self, fixed_file, pictures):
        default = ExportedDetector(fixed_file)
        opencv = ExportedDetector(fixed_file, engine=EngineSettings("opencv"))
        assert "OpenCV" in opencv.runs_on
        images = [cv2.imread(str(path))[: 300 - 60 * number, :, ::-1] for number, path in enumerate(pictures[:3])]
        for image, words in zip(images, default.detect_batch(images), strict=True):
            assert default.transform(image).image.shape == (224, 352, 3)
            self.same_words(default.detect(image), words)
            self.same_words(opencv.detect(image), words, 0.01)

    def test_int8_finds_the_same_words(self, int8_file, float_file, pictures):
        assert read_info(int8_file).precision == "int8"
        assert int8_file.stat().st_size < 0.35 * float_file.stat().st_size
        found, expected = (
            [np.rint(detector.detect(path)[0]) for path in pictures]
            for detector in (ExportedDetector(int8_file), ExportedDetector(float_file))
        )
        words = [Words(quads, np.zeros(len(quads), bool)) for quads in expected]
        assert evaluate(words, found).hmean > 0.9

    def test_layers_that_stay_float_and_what_int8_costs_in_a_layer(self, float_file, pictures, tmp_path):
        onnx = pytest.importorskip("onnx")
        detector, path = ExportedDetector(float_file), tmp_path / "int8.onnx"
        inputs = [detector.prepare([detector.transform(cv2.imread(str(each))[..., ::-1])]) for each in pictures[:2]]
        layers = convolutions(float_file)
        assert set(layers) == {layer.conv for layer in LAYERS}
        quantise(float_file, path, detector.info, inputs, operators_without(float_file, {"distances.0", "conv1.0"}))
        kept = {each.name for each in onnx.load(path).graph.initializer if each.data_type == onnx.TensorProto.FLOAT}
        assert {layer for layer in layers if f"{layer}.weight" in kept} == {"distances.0", "conv1.0"}
        lines = list(errors_of_layers(float_file, inputs, ["conv1.0", "center.1.0"]))
        assert [line.layer for line in lines] == ["all layers", "conv1.0", "center.1.0"]
        assert all(min(line.errors) > 0 for line in lines)
        assert lines[0].share(lines[0].errors) == 1
        assert lines[2].share(lines[0].errors) < 1

    def test_normalisation_is_that_of_training(self, float_file):
        levels = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 256, 3)
        detector = ExportedDetector(float_file)
        image = np.tile(levels, (32, 1, 1))
        expected = normalise(torch.from_numpy(image)[None]).numpy()
        assert np.array_equal(detector.prepare([NetworkInput(image, np.eye(3)[:2], (32, 256))]), expected)


class TestRefusals:
    def test_outputs(self, tmp_path, refuses):
        line = ("export.py", "--pretrain-model", CHECKPOINT, "--output")
        (tmp_path / "mine.onnx").write_text("mine")
        refuses(*line, tmp_path / "mine.onnx", parts=["mine.onnx", "did not write"])
        assert (tmp_path / "mine.onnx").read_text() == "mine"
        refuses(*line, tmp_path / "a.pt", parts=["a.pt", ".onnx"])
        refuses(*line, tmp_path / "a.onnx", "--format", "torchscript", parts=["a.onnx", ".torchscript"])
        refuses(*line, tmp_path / "none" / "a.onnx", parts=["there is no folder"])
        refuses(*line, tmp_path / "a.onnx", "--size", 100, 128, parts=["100 128", "multiples of 32"])
        refuses(*line, tmp_path / "a.onnx", "--size", 3200000, 3200000, parts=["--size", "3200000", "32 to 4096"])
        refuses(*line, tmp_path / "a.torchscript", "--int8", tmp_path, parts=["--int8", ".onnx"])
        assert [path.name for path in tmp_path.iterdir()] == ["mine.onnx"]

    def test_the_checkpoint_itself(self, tmp_path, refuses):
        path = tmp_path / "net.onnx"
        path.write_bytes(CHECKPOINT.read_bytes())
        refuses("export.py", "--pretrain-model", path, "--output", path, parts=["net.onnx", "an input"])
        assert path.read_bytes() == CHECKPOINT.read_bytes()

    def test_weights_beside_an_openvino_file(self, tmp_path, refuses):
        path = tmp_path / "net.bin"
        path.write_bytes(CHECKPOINT.read_bytes())
        refuses("export.py", "--pretrain-model", path, "--output", tmp_path / "net.xml", parts=["net.bin", "an input"])
        line = ("export.py", "--pretrain-model", CHECKPOINT, "--output", tmp_path / "net.xml")
        refuses(*line, parts=["net.bin exists", "did not write", "another --output"])
        assert path.read_bytes() == CHECKPOINT.read_bytes()
        assert [each.name for each in tmp_path.iterdir()] == ["net.bin"]

    def test_an_openvino_file_is_replaced_with_its_weights(self, tmp_path):
        pytest.importorskip("onnxscript")
        pytest.importorskip("openvino")
        for short_side in (320, 352):
            path = run_export(tmp_path / "net.xml", "--size", 32, 32, "--short-side", short_side)
            assert read_info(path).short_side == short_side
        assert {each.name for each in tmp_path.iterdir()} == {"net.xml", "net.bin"}

    def test_a_folder_without_pictures(self, tmp_path, refuses):
        pytest.importorskip("onnxscript")
        line = ("export.py", "--pretrain-model", CHECKPOINT, "--output", tmp_path / "a.onnx")
        refuses(*line, "--int8", tmp_path, parts=[f"{tmp_path}: no picture"])
        refuses(*line, "--float-layers", "conv1.0", parts=["--float-layers", "--int8"])
        refuses(*line, "--int8", tmp_path, "--float-layers", "conv2", parts=["--float-layers conv2", "no such layer"])
        assert not list(tmp_path.iterdir())

    def test_unreadable_pictures_are_counted_and_replaced(self, tmp_path, float_file, pictures, capsys):
        for number, path in enumerate(pictures[:3]):
            shutil.copy(path, tmp_path / f"{number}.jpg")
        (tmp_path / "0.jpg").write_bytes(b"\xff\xd8")
        inputs = list(calibration_inputs(tmp_path, 2, ExportedDetector(float_file), ReadOptions()))
        assert len(inputs) == 2
        output = capsys.readouterr().out
        assert f"calibrated on 2 pictures of {tmp_path}" in output
        assert "1 pictures unreadable, left out" in output

    @pytest.mark.parametrize("kind", ["empty", "text", "cut", "foreign", "newer", "odd"])
    def test_damaged_and_foreign_files(self, tmp_path, float_file, kind):
        onnx = pytest.importorskip("onnx")
        path = tmp_path / f"{kind}.onnx"
        data = float_file.read_bytes()
        if kind in ("foreign", "newer", "odd"):
            model = onnx.load(float_file)
            kept = {each.key: each.value for each in model.metadata_props}
            del model.metadata_props[:]
            changed = {"foreign": {}, "newer": kept | {"format": "99"}, "odd": kept | {"std": json.dumps([0, 1, 1])}}
            onnx.helper.set_model_props(model, changed[kind])
            data = model.SerializeToString()
        path.write_bytes({"empty": b"", "text": b"hello, world", "cut": data[: len(data) // 2]}.get(kind, data))
        with pytest.raises(UserError, match=path.name):
            ExportedDetector(path)

    def test_what_a_backend_does_not_run(self, float_file, int8_file, fixed_file):
        for path, reason in ((float_file, "--size"), (int8_file, "wrong distances")):
            with pytest.raises(UserError, match=reason):
                ExportedDetector(path, engine=EngineSettings("opencv"))
        with pytest.raises(UserError, match="torchscript does not read onnx"):
            ExportedDetector(float_file, engine=EngineSettings("torchscript"))
        with pytest.raises(UserError, match="fixed size 224x352"):
            ExportedDetector(fixed_file, short_side=736)


class TestInspectModel:
    def test_float_and_int8(self, float_file, int8_file, fixed_file, run_script):
        shown = run_script("-m", "tools.inspect_model", float_file).stdout
        for part in ("multiples of 32", "short side 320", "float32", "46 Conv", "float (100.0%)"):
            assert part in shown
        shown = run_script("-m", "tools.inspect_model", int8_file).stdout
        assert "int8 (100.0%)" in shown
        assert "(1, 3, 224, 352)" in run_script("-m", "tools.inspect_model", fixed_file).stdout

    def test_other_files(self, refuses):
        refuses("-m", "tools.inspect_model", CHECKPOINT, parts=["narrow_pruned.pt", ".onnx"])


def test_files_that_int8_sensitivity_refuses(float_file, int8_file, tmp_path, refuses):
    refuses("-m", "tools.int8_sensitivity", int8_file, tmp_path, parts=["int8 already", "the float file"])
    refuses("-m", "tools.int8_sensitivity", CHECKPOINT, tmp_path, parts=["narrow_pruned.pt", "an ONNX file"])
    refuses("-m", "tools.int8_sensitivity", float_file, tmp_path, parts=[f"{tmp_path}: no picture"])
