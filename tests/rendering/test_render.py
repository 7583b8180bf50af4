import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from datasets import SynthText
from tests.conftest import ROOT
from utils.data.images import read_image
from utils.geometry import signed_areas
from utils.rendering.lettering import set_block
from utils.rendering.scenes import Studio, Style, draw_scene

SIZE = (160, 224)
STUDIO = Studio()


def render(run_script, out, *more, images=6, seed=0, workers=1):
    line = ["-m", "tools.render", "--out", out, "--images", images, "--seed", seed, "--workers", workers]
    return run_script(*line, "--size", *SIZE, *more)


def contents(folder) -> dict:
    return {path.name: path.read_bytes() for path in sorted(folder.rglob("[!.]*")) if path.is_file()}


@pytest.fixture(scope="module", params=[0, 1], ids=["", "hard"])
def drawn(request, tmp_path_factory, run_script):
    folder = tmp_path_factory.mktemp("drawn") / "syn"
    render(run_script, folder, "--hard", request.param)
    return folder


def test_the_same_seed_gives_the_same_bytes_with_any_number_of_workers(request, drawn, tmp_path, run_script):
    hard = ("--hard", request.node.callspec.params["drawn"])
    render(run_script, tmp_path / "two", *hard, workers=2)
    assert contents(tmp_path / "two") == contents(drawn)
    render(run_script, tmp_path / "other", *hard, seed=1)
    assert not set(contents(tmp_path / "other").values()) & set(contents(drawn).values())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_leaves_what_it_has_drawn(number, tmp_path):
    process = start(tmp_path)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert "interrupted: gt.mat has the" in errors
    images = SynthText(tmp_path / "syn").annotations.names
    assert 0 < len(images) < 5000
    assert all((tmp_path / "syn" / name).is_file() for name in images)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="the worker is found in /proc")
def test_a_killed_worker_ends_the_run(tmp_path):
    process = start(tmp_path)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(children[-1]), signal.SIGKILL)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2, errors
    assert "error: " in errors and "a worker was killed" in errors


def start(folder) -> subprocess.Popen:
    """A long run of two workers that has begun to draw."""
    line = ["-m", "tools.render", "--out", folder / "syn", "--images", 5000, "--workers", 2, "--size", *SIZE]
    command, pipe = [sys.executable, *map(str, line)], subprocess.PIPE
    process = subprocess.Popen(command, cwd=ROOT, text=True, stdout=pipe, stderr=pipe)
    while len(list(folder.rglob("*.jpg"))) < 20 and process.poll() is None:
        time.sleep(0.05)
    return process


def test_synthtexts_layout(drawn):
    gt = scipy.io.loadmat(drawn / "gt.mat")
    assert gt["imnames"].shape == gt["wordBB"].shape == gt["charBB"].shape == gt["txt"].shape == (1, 6)
    for name, words, characters, texts in zip(
        *(gt[key][0] for key in ("imnames", "wordBB", "charBB", "txt")), strict=True
    ):
        assert read_image(drawn / name[0]).shape == (*SIZE, 3)
        words = words.reshape(2, 4, -1).transpose(2, 1, 0)
        assert len(words) == len(" ".join(texts).split())
        assert characters.reshape(2, 4, -1).shape[2] == sum(len("".join(text.split())) for text in texts)
        assert (signed_areas(words.astype(float)) > 0).all()  # clockwise
        assert words.min() > -1
        assert (words.reshape(-1, 2).max(0) <= [SIZE[1], SIZE[0]]).all()


def test_read_back_as_training_data(drawn):
    dataset = SynthText(drawn)
    assert not dataset.problems
    assert len(dataset) == 4
    image, _ = dataset[0]
    assert image.shape[2] == 3
    assert sum(float(dataset[number][1].score_map.sum()) for number in range(4)) > 0


def test_words_do_not_overlap(drawn):
    import shapely

    for words in scipy.io.loadmat(drawn / "gt.mat")["wordBB"][0]:
        boxes = shapely.polygons(words.reshape(2, 4, -1).transpose(2, 1, 0))
        for number, box in enumerate(boxes):
            assert shapely.area(shapely.intersection(box, boxes[:number])).sum() < 0.05 * box.area


def test_ink_lies_in_the_quads(drawn):
    """Within the words' boxes the picture has more contrast than around them."""
    import cv2

    inside, outside = [], []
    gt = scipy.io.loadmat(drawn / "gt.mat")
    for name, words in zip(gt["imnames"][0], gt["wordBB"][0], strict=True):
        grey = cv2.cvtColor(read_image(drawn / name[0]), cv2.COLOR_RGB2GRAY).astype(float)
        edges = np.hypot(cv2.Sobel(grey, -1, 1, 0), cv2.Sobel(grey, -1, 0, 1))
        mask = np.zeros(SIZE, np.uint8)
        for quad in words.reshape(2, 4, -1).transpose(2, 1, 0):
            cv2.fillConvexPoly(mask, np.rint(quad).astype(np.int32), 1)
        inside.append(edges[mask == 1].mean())
        outside.append(edges[mask == 0].mean())
    assert np.mean(inside) > 1.3 * np.mean(outside)


def test_hard_scenes():
    """More steep, small and large words; distractors add no words."""
    easy, hard = (
        np.concatenate([draw_scene(np.random.default_rng(seed), STUDIO, style).quads for seed in range(30)])
        for style in (Style(), Style(hard=1))
    )
    steep = [(np.abs(np.degrees(angles(quads))) > 45).mean() for quads in (easy, hard)]
    assert steep[0] < 0.05 < 0.1 < steep[1]
    heights = [np.linalg.norm(quads[:, 3] - quads[:, 0], axis=1) for quads in (easy, hard)]
    small, large = [(each < 10).mean() for each in heights], [(each > 40).mean() for each in heights]
    assert small[1] > 1.5 * small[0]
    assert large[1] > 1.5 * large[0]
    bare = draw_scene(np.random.default_rng(0), STUDIO, Style(words=(0, 0), distractors=(8, 8)))
    assert not len(bare.quads)
    assert bare.picture.std() > draw_scene(np.random.default_rng(0), STUDIO, Style(words=(0, 0))).picture.std()


def angles(quads: np.ndarray) -> np.ndarray:
    """(N, 4, 2) -> (N,) directions of the words' baselines, radians."""
    along = quads[:, 2] - quads[:, 3]
    return np.arctan2(along[:, 1], along[:, 0])


def test_wide_words_have_a_box_around_all_letters():
    face, rng = STUDIO.typefaces[0], np.random.default_rng(0)
    plain = set_block(rng, face, [["LETTERS"]], 40)
    wide = set_block(rng, face, [["LETTERS"]], 40, wide=True)
    assert np.ptp(wide.quads[0, :, 0]) > 1.3 * np.ptp(plain.quads[0, :, 0])
    inked = np.argwhere(wide.mask)
    assert (inked.max(0) - inked.min(0) + 1).tolist() == np.ptp(wide.quads[0], 0)[::-1].tolist()


def test_words_of_a_list(tmp_path, run_script):
    (tmp_path / "words.txt").write_text("Zebra\nQuartz\n", encoding="utf-8")
    render(run_script, tmp_path / "syn", "--words", tmp_path / "words.txt", images=2)
    cells = scipy.io.loadmat(tmp_path / "syn" / "gt.mat")["txt"][0]
    texts = {word.lower() for text in cells for word in " ".join(text).split()}
    assert texts <= {"zebra", "quartz"}


def test_bad_input(tmp_path, refuses, drawn):
    line = ("-m", "tools.render", "--images", 2, "--out")
    refuses(*line, drawn, parts=[drawn, "there is something in it already", "--replace"])
    refuses(*line, tmp_path / "a", "--words", tmp_path / "no.txt", parts=["no.txt"])
    refuses(*line, tmp_path / "a", "--fonts", tmp_path / "none", parts=["none"])
    refuses(*line, tmp_path / "a", "--backgrounds", tmp_path / "none", parts=["none"])
    (tmp_path / "empty").mkdir()
    refuses(*line, tmp_path / "a", "--backgrounds", tmp_path / "empty", parts=["empty"])
