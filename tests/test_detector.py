"""From pictures to words: `Detector`, `detect.py`, and unusual inputs of both."""

import json
import re
import wave

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from detect import expand_inputs, load_detector
from tests.conftest import ROOT
from tests.helpers import read_words
from utils.base_detector import BaseDetector, to_frame, words_in_frames
from utils.checkpoint import load_model
from utils.data.augmentation import WholeFrame
from utils.data.images import UnreadableImage
from utils.data.problems import Problems
from utils.data.video import UnreadableVideo, VideoReader, VideoWriter
from utils.decode import Thresholds
from utils.detector import Detector
from utils.errors import UserError
from utils.evaluation import evaluate
from utils.evaluation.detection_results import Results
from utils.evaluation.drawing import draw_quads
from utils.maps import Prediction
from utils.network.inference import for_inference


@pytest.fixture(scope="module")
def detector(small_checkpoint) -> BaseDetector:
    return load_detector(small_checkpoint, short_side=96, score_threshold=0.05)


@pytest.fixture(scope="module")
def colours() -> np.ndarray:
    """(40, 60, 3) RGB: red at the top, green at the bottom left, black at the bottom right."""
    image = np.zeros((40, 60, 3), np.uint8)
    image[:20], image[20:, :30] = (200, 30, 10), (10, 200, 30)
    return image


def write_video(path, frames: int = 12, rate: float = 12.5):
    """Frames with noise, so that each takes many bytes of the file."""
    rng = np.random.default_rng(0)
    with VideoWriter(path, rate) as writer:
        for number in range(frames):
            writer.write(np.full((96, 128, 3), 15 * number, np.uint8) ^ rng.integers(0, 16, (96, 128, 3), np.uint8))
    return path


def write_sound(path):
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(8000))
    return path


def always_text(detector: Detector, monkeypatch, width: float = 1000.0) -> None:
    """Replace the network by one that predicts, in every cell, a horizontal box of `width` pixels to all sides."""

    def predict(inputs):
        height, across = (side // 4 for side in inputs[0].image.shape[:2])
        distances = torch.full((len(inputs), 4, height, across), width)
        logits, angles = torch.full_like(distances[:, :1], 3.0), torch.full_like(distances[:, :1], np.pi / 4)
        return Prediction(logits, distances, angles)

    monkeypatch.setattr(detector, "predict", predict)


class TestDetector:
    def test_folding_keeps_the_outputs(self, small_checkpoint):
        model, _ = load_model(small_checkpoint)
        folded = for_inference(model)
        assert any(isinstance(module, torch.nn.BatchNorm2d) for module in model.modules())
        assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in folded.modules())
        images = torch.randn(2, 3, 64, 96)
        with torch.inference_mode():
            for ours, theirs in zip(folded(images), model(images), strict=True):
                assert torch.allclose(ours, theirs, atol=1e-3, rtol=1e-3)

    def test_words_are_in_the_frames_pixels_and_inside(self, detector, monkeypatch):
        always_text(detector, monkeypatch)
        quads, scores = detector.detect(np.zeros((192, 300, 3), np.uint8))
        assert quads.dtype == np.float32
        assert quads.shape == (len(scores), 4, 2)
        assert np.array_equal(quads, [[[0, 0], [299, 0], [299, 191], [0, 191]]])
        assert 0 < scores[0] < 1

    def test_a_batch_gives_the_same_as_its_images_one_by_one(self, detector):
        rng = np.random.default_rng(0)
        images = [rng.integers(0, 256, (size, 120, 3), np.uint8) for size in (96, 96, 130)]
        inputs = [detector.transform(image) for image in images]
        for number, maps in enumerate(zip(*detector.predict(inputs[:2]), strict=True)):
            for together, alone in zip(maps, detector.predict(inputs[number : number + 1]), strict=True):
                assert torch.allclose(together, alone[0], atol=1e-2, rtol=1e-3)
        assert len(detector.detect_batch(images)) == 3

    def test_empty_results(self, small_checkpoint):
        quads, scores = load_detector(small_checkpoint, short_side=64, score_threshold=1).detect(
            np.zeros((50, 70, 3), np.uint8)
        )
        assert (quads.shape, scores.shape) == ((0, 4, 2), (0,))

    def test_maps_of_nan_contain_no_words(self, detector, monkeypatch):
        monkeypatch.setattr(
            detector, "predict", lambda _: Prediction(*(torch.full((1, n, 24, 32), torch.nan) for n in (1, 4, 1)))
        )
        assert detector.detect(np.zeros((96, 128, 3), np.uint8))[0].shape == (0, 4, 2)

    def test_strips_stay_small(self, detector):
        for height, width in ((10, 10_000), (3, 100_000)):
            assert max(WholeFrame(280)(np.zeros((height, width, 3), np.uint8)).image.shape) <= 64 * 280
        for quads in (
            detector.detect(np.zeros(shape, np.uint8))[0] for shape in ((10, 10_000, 3), (10_000, 10, 3), (1, 1, 3))
        ):
            assert np.isfinite(quads).all()

    def test_grey_arrays_and_wrong_ones(self, detector):
        assert len(detector.detect(np.zeros((40, 60), np.uint8))) == 2
        for wrong in (np.zeros((40, 60, 3)), np.zeros((40, 60, 4), np.uint8), np.zeros((0, 60, 3), np.uint8)):
            with pytest.raises(UserError, match="expected uint8"):
                detector.detect(wrong)

    def test_corners_beyond_the_frame_move_to_its_border(self):
        view = WholeFrame(100)(np.zeros((200, 400, 3), np.uint8))
        inside = np.array([[[-9, 5], [300, 5], [300, 30], [-9, 30]], [[210, 5], [220, 5], [220, 9], [210, 9]]], float)
        quads, scores = to_frame(inside, np.array([0.9, 0.8]), view)
        assert np.allclose(quads, [[[0, 10.5], [399, 10.5], [399, 60.5], [0, 60.5]]])
        assert scores.tolist() == [0.9]

    def test_words_in_frames_ignores_the_padding_of_each_input(self, detector, monkeypatch):
        """Two frames of different sizes in one batch: each gets a box of its own size."""
        always_text(detector, monkeypatch)
        inputs = [detector.transform(np.zeros((height, 200, 3), np.uint8)) for height in (100, 80)]
        prediction = detector.predict([max(inputs, key=lambda each: each.image.size)] * 2)
        for (quads, scores), size in zip(
            words_in_frames(prediction, inputs, Thresholds()), ((100, 200), (80, 200)), strict=True
        ):
            assert len(quads) == len(scores) == 1
            assert quads[0, 2].tolist() == [size[1] - 1, size[0] - 1]
        nothing = words_in_frames(prediction, inputs, Thresholds(score=1))
        assert [len(quads) for quads, _ in nothing] == [0, 0]


class TestPictures:
    @pytest.mark.parametrize("name", ["sixteen.png", "grey16.png", "cmyk.jpg", "cmyk.tif", "rgba.png", "palette.png"])
    def test_colours_of_every_kind(self, tmp_path, detector, colours, monkeypatch, name):
        path, image = tmp_path / name, Image.fromarray(colours)
        if name == "sixteen.png":
            cv2.imwrite(str(path), colours[..., ::-1].astype(np.uint16) * 257)
        elif name == "grey16.png":
            Image.fromarray(colours[..., 0].astype(np.uint16) * 257).save(path)
        else:
            image.convert({"cmyk": "CMYK", "rgba": "RGBA", "palette": "P"}[path.stem]).save(path, quality=95)
        expected = np.stack([colours[..., 0]] * 3, 2) if name == "grey16.png" else colours
        seen = []
        monkeypatch.setattr(detector, "transform", lambda picture: seen.append(picture) or WholeFrame(96)(picture))
        detector.detect(path)
        difference = np.abs(seen[0].astype(int) - expected)
        assert difference[5:15, 5:25].max() <= (50 if name == "palette.png" else 4)
        assert difference[25:35, 35:55].max() <= 4

    def test_exif_rotation(self, tmp_path, detector, colours, monkeypatch):
        always_text(detector, monkeypatch)
        exif = Image.Exif()
        exif[0x112] = 6  # a quarter turn
        Image.fromarray(colours).save(tmp_path / "turned.jpg", exif=exif)
        quads, _ = detector.detect(tmp_path / "turned.jpg")
        assert (quads[..., 0].max(), quads[..., 1].max()) == (39, 59)

    def test_files_that_are_no_pictures(self, tmp_path, detector):
        (tmp_path / "cut.jpg").write_bytes(cv2.imencode(".jpg", np.zeros((64, 64, 3), np.uint8))[1].tobytes()[:-300])
        for path in (tmp_path / "cut.jpg", write_sound(tmp_path / "sound.jpg"), tmp_path / "none.png"):
            with pytest.raises(UnreadableImage, match=path.name):
                detector.detect(path)


class TestVideos:
    def test_round_trip(self, tmp_path):
        with VideoReader(write_video(tmp_path / "a.mp4")) as reader:
            assert (reader.rate, reader.count) == (12.5, 12)
            frames = list(reader)
        assert [frame.shape for frame in frames] == [(96, 128, 3)] * 12
        assert abs(frames[10].mean() - 150) < 10

    def test_damage_in_the_middle_is_counted(self, tmp_path):
        path = write_video(tmp_path / "a.mp4")
        data = bytearray(path.read_bytes())
        data[len(data) // 3 : len(data) // 2] = bytes(len(data) // 2 - len(data) // 3)
        path.write_bytes(data)
        with VideoReader(path) as reader:
            frames = list(reader)
        assert frames[0] is not None
        assert frames[-1] is not None
        assert 6 < len(frames) <= 12

    def test_files_that_are_no_videos(self, tmp_path):
        cut = write_video(tmp_path / "cut.mp4")
        cut.write_bytes(cut.read_bytes()[:600])
        for path in (
            cut,
            write_sound(tmp_path / "sound.wav"),
            write_sound(tmp_path / "sound.mp4"),
            tmp_path / "no.mp4",
        ):
            with pytest.raises(UnreadableVideo, match=path.name):
                VideoReader(path)


class TestScript:
    """`detect.py` as a user runs it."""

    @pytest.fixture
    def line(self, tmp_path, small_checkpoint):
        start = ("detect.py", "--pretrain-model", small_checkpoint, "--output-dir", tmp_path / "out")
        return (*start, "--short-side", 64, "--score-threshold", 0.05)

    def test_pictures_folders_globs_and_videos(self, tmp_path, line, run_script, colours):
        inputs = tmp_path / "in"
        (inputs / "more").mkdir(parents=True)
        cv2.imwrite(str(inputs / "img_10.png"), colours)
        cv2.imwrite(str(inputs / "img_2.jpg"), colours)
        cv2.imwrite(str(inputs / "more" / "img_2.jpg"), colours)
        (inputs / "broken.jpg").write_bytes(b"\xff\xd8 cut")
        write_video(inputs / "clip.mp4", frames=7)
        sound = write_sound(tmp_path / "sound.wav")
        process = run_script(*line, "--every", 3, inputs, str(inputs / "more" / "*.jpg"), sound)
        assert "2 inputs unreadable" in process.stdout
        assert "broken.jpg" in process.stdout
        assert "in 6 frames" in process.stdout
        written = {path.name for path in (tmp_path / "out").glob("[!.]*")}
        pictures = {"det_img_10.jpg", "det_in__img_2.jpg", "det_more__img_2.jpg", "det_clip.mp4"}
        texts = {"res_img_10.txt", "res_in__img_2.txt", "res_more__img_2.txt"}
        assert written == pictures | texts | {f"res_clip_{number:06}.txt" for number in (0, 3, 6)}
        with VideoReader(tmp_path / "out" / "det_clip.mp4") as reader:
            assert (reader.rate, len(list(reader))) == (12.5, 7)

    def test_json_lines(self, tmp_path, line, run_script, colours):
        cv2.imwrite(str(tmp_path / "a.png"), colours)
        video = write_video(tmp_path / "b.mp4", frames=3)
        run_script(*line, "--format", "jsonl", "--no-pictures", tmp_path / "a.png", video)
        assert [path.name for path in (tmp_path / "out").glob("[!.]*")] == ["detections.jsonl"]
        lines = [json.loads(line) for line in (tmp_path / "out" / "detections.jsonl").read_text().splitlines()]
        assert [line["frame"] for line in lines] == [None, 0, 1, 2]
        assert lines[0]["source"].endswith("a.png")
        for word in (word for line in lines for word in line["words"]):
            assert np.shape(word["quad"]) == (4, 2)
            assert 0 <= word["score"] <= 1

    @pytest.mark.parametrize("every", [1, 3])
    def test_the_threads_change_nothing(self, tmp_path, line, run_script, small_checkpoint, every):
        """The results are those of a loop that reads, detects and writes frame by frame, byte for byte."""
        video = write_video(tmp_path / "b.mp4", frames=9)
        run_script(*line, "--every", every, video)
        detector, output = load_detector(small_checkpoint, short_side=64, score_threshold=0.05), tmp_path / "loop"
        expected = Results(output, "txt", pictures=True)
        expected.name_sources([video])
        quads = np.zeros((0, 4, 2))
        with VideoReader(video) as reader, VideoWriter(expected.picture_of(video), reader.rate) as writer:
            for frame in reader.frames():
                if frame.number % every == 0:
                    quads, scores = detector.detect(frame.image)
                    expected.write(video, frame, quads, scores)
                writer.write(draw_quads(frame.image, quads), frame.time_ms)
        names = sorted(path.name for path in output.glob("[!.]*"))
        assert len(names) == 1 + -(-9 // every)
        for name in names:
            assert (tmp_path / "out" / name).read_bytes() == (output / name).read_bytes()

    def test_tracks(self, tmp_path, line, run_script):
        """All frames have results, and words have numbers."""
        video = write_video(tmp_path / "b.mp4", frames=9)
        run_script(*line, "--every", 4, "--track", "--format", "jsonl", video)
        rows = [json.loads(line) for line in (tmp_path / "out" / "detections.jsonl").read_text().splitlines()]
        assert [row["frame"] for row in rows] == list(range(9))
        for row in rows:
            tracks = [word["track"] for word in row["words"]]
            assert len(set(tracks)) == len(tracks)
        with VideoReader(tmp_path / "out" / "det_b.mp4") as reader:
            assert len(list(reader)) == 9

    def test_nothing_readable(self, tmp_path, line, refuses):
        sound = write_sound(tmp_path / "sound.wav")
        refuses(*line, sound, parts=["none of the 1 inputs", "sound.wav"])

    def test_a_picture_too_long_to_be_drawn(self, tmp_path, line, run_script):
        cv2.imwrite(str(tmp_path / "long.bmp"), np.zeros((3, 66_000, 3), np.uint8))
        process = run_script(*line, "--score-threshold", 1, tmp_path / "long.bmp")
        assert "1 pictures too long" in process.stdout
        assert [path.name for path in (tmp_path / "out").glob("[!.]*")] == ["res_long.txt"]

    def test_inputs(self, tmp_path):
        for name in ("b_10.jpg", "b_9.jpg", "c.mp4", "notes.txt"):
            (tmp_path / name).touch()
        (tmp_path / "empty").mkdir()
        names = ["b_9.jpg", "b_10.jpg", "c.mp4"]
        assert [path.name for path in expand_inputs([str(tmp_path)])] == names
        assert [path.name for path in expand_inputs([str(tmp_path / "b*")])] == names[:2]
        assert expand_inputs(["0", str(tmp_path / "c.mp4")]) == [0, tmp_path / "c.mp4"]
        twice = [str(tmp_path / names[0]), "0", str(tmp_path), f"{tmp_path}/./{names[0]}", "0"]
        assert expand_inputs(twice) == [tmp_path / names[0], 0, *(tmp_path / name for name in names[1:])]
        for wrong in ("none.jpg", "empty", "empt*"):
            with pytest.raises(UserError, match=re.escape(wrong)):
                expand_inputs([str(tmp_path / wrong)])


def test_the_example_in_the_manual(small_checkpoint, tmp_path, monkeypatch, colours):
    """The lines of detect.py's docstring, with a checkpoint and picture of those names."""
    import detect

    lines = detect.__doc__.split("From Python:")[1].splitlines()
    cv2.imwrite(str(tmp_path / "street.jpg"), colours)
    (tmp_path / "best.pt").write_bytes(small_checkpoint.read_bytes())
    monkeypatch.chdir(tmp_path)
    names = {}
    exec("\n".join(line.strip() for line in lines), names)
    assert names["quads"].shape == (len(names["scores"]), 4, 2)


@pytest.mark.parametrize("name", ["narrow", "narrow_pruned"])
def test_the_published_networks_read_photographs(real_data, name):
    """At the default threshold, on photographs that they were not trained on; the figures are in weights/README.md."""
    folder = real_data / "icdar2015"
    detector = load_detector(ROOT / "weights" / f"{name}.pt", short_side=736)
    numbers, texts = range(801, 809), folder / "ch4_training_localization_transcription_gt"
    found = [detector.detect(folder / "ch4_training_images" / f"img_{number}.jpg")[0] for number in numbers]
    words = [read_words(texts / f"gt_img_{number}.txt", Problems()) for number in numbers]
    assert evaluate(words, [np.rint(quads) for quads in found]).hmean > 0.5
