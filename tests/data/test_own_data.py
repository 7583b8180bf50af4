"""The README's way to add a dataset, the statistics and sheets of one, the measured slow road."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.data import measure, render
from benchmarks.slow import slow_maps, slow_sample
from datasets import EpochSampler, TextDataset, make_loader, open_folder
from tests.helpers import box, random_quads, write_picture
from tools.inspect_data import describe, word_statistics
from utils.data.annotations import Annotations, Words
from utils.data.augmentation import TrainTransform
from utils.data.problems import Problems
from utils.data.targets import encode


class JsonDataset(TextDataset):
    """labels.json: {"a.jpg": [{"quad": [[x, y], ...4 corners], "text": "..."}, ...], ...}; last fifth for tests."""

    def __init__(self, root: str | Path, train: bool = True, **options):
        labels = json.loads(Path(root, "labels.json").read_text(encoding="utf-8"))
        names = sorted(labels)
        split = int(0.8 * len(names))
        names = names[:split] if train else names[split:]
        words = [
            Words(
                np.array([word["quad"] for word in labels[name]], float).reshape(-1, 4, 2),
                np.array([word["text"] == "###" for word in labels[name]], bool),
            )
            for name in names
        ]
        super().__init__(Annotations(Path(root), names, words, Problems()), train, **options)


def test_the_documented_class(tmp_path):
    labels = {}
    for number in range(10):
        write_picture(tmp_path / f"{number}.jpg", 300, 400)
        texts = {"a": box(50, 60, 300, 160), "no area": [[5, 5]] * 4, "###": box(50, 200, 300, 280)}
        words = [{"quad": quad, "text": text} for text, quad in texts.items()]
        labels[f"{number}.jpg"] = words[: number % 4]
    (tmp_path / "labels.json").write_text(json.dumps(labels))
    dataset = JsonDataset(tmp_path)
    assert (len(dataset), len(JsonDataset(tmp_path, train=False))) == (8, 2)
    assert dataset.problems.count("words without area, left out") == 4
    batches = list(make_loader(dataset, EpochSampler(dataset), 4, workers=1))
    assert [batch.images.shape for batch in batches] == [(4, 280, 280, 3)] * 2
    assert max(batch.target.score_map.max() for batch in batches) == 1


def test_statistics_of_known_words():
    quads = [box(0, 0, 100, 20), box(0, 0, 30, 60), box(5, 5, 9, 9)]
    words = [
        Words(np.array(quads, float), np.array([False, False, True])),
        Words(np.zeros((0, 4, 2)), np.zeros(0, bool)),
    ]
    annotations = Annotations(Path("x"), ["a.jpg", "b.jpg"], words, Problems())
    found = word_statistics(annotations)
    assert [values.tolist() for values in found.values()] == [[20, 30], [100, 60], [0, 0]]
    text = describe(annotations)
    assert "images       2, 1 of them without words" in text
    assert "words        3, 1 of them don't-care" in text


@pytest.mark.parametrize("part", [[], ["--test"]])
def test_inspect_data(rendered, tmp_path, run_script, part):
    output = run_script(
        "-m", "tools.inspect_data", rendered / "frames", *part, "--out", tmp_path, "--samples", 9
    ).stdout
    assert f"images       {4 if part else 6}, " in output
    assert "rotation of a word" in output
    assert "left out or repaired" in output
    sheet = cv2.imread(str(tmp_path / "sheet_1.png"))
    assert sheet.shape[1] > 1600
    score = sheet[:280, 283:563].reshape(-1, 3)
    assert {tuple(colour) for colour in np.unique(score, axis=0).tolist()} <= {(0,) * 3, (110,) * 3, (255,) * 3}


def test_inspect_data_shows_the_crops_of_the_runs_options(rendered, tmp_path, run_script):
    line = ["-m", "tools.inspect_data", rendered / "frames", "--samples", 2, "--seed", 3, "--out", tmp_path]
    run_script(*line, "--short-side", 192, "--crop", 128, "--rotation", 0, "--colour", 0.5)
    sheet = cv2.cvtColor(cv2.imread(str(tmp_path / "sheet_1.png")), cv2.COLOR_BGR2RGB)
    transform = TrainTransform(short_side=192, crop=128, rotation=0, colour=0.5)
    dataset = open_folder(rendered / "frames", True, transform=transform)
    index = int(np.random.default_rng(3).permutation(len(dataset))[0])
    frame = dataset.frame(index, 3)
    words = frame.info.words_in_input()
    expected, drawn = frame.image.copy(), np.zeros((128, 128), np.uint8)
    for quad in words.quads:
        cv2.polylines(drawn, [np.rint(quad).astype(np.int32)], True, 1, 5)
    assert np.array_equal(sheet[:128, :128][drawn == 0], expected[drawn == 0])


def test_inspect_data_of_synthtext(rendered, run_script, refuses, tmp_path):
    output = run_script("-m", "tools.inspect_data", rendered / "synthtext", "--cache-dir", tmp_path / "cache").stdout
    assert "images       20, " in output
    assert len(list((tmp_path / "cache").iterdir())) == 1
    refuses("-m", "tools.inspect_data", tmp_path, parts=["no sample dataset"])


def test_the_slow_road_leads_to_the_same(tmp_path):
    """What the benchmark compares with makes the same maps and nearly the same pixels."""
    differing = 0
    for seed in range(6):
        words = Words((random_quads(9, seed=seed, spread=0.2) * 1.5 - 10).astype(np.float32), np.arange(9) % 4 == 3)
        target = encode(words, 128, 160)
        score, geometry, mask = slow_maps(words.quads, words.ignored, 128, 160)
        same = (target.score_map[0].numpy() == score) & (target.training_mask[0].numpy() == mask)
        differing += 1 - same.mean()
        both = same & (score == 1)
        close = np.isclose(np.concatenate([target.distances, target.angle])[:, both], geometry[:, both], atol=2e-2)
        assert close.all(0).mean() > 0.9
    assert differing / 6 < 0.02
    write_picture(tmp_path / "a.png", 450, 600)
    crop, _ = slow_sample(tmp_path / "a.png", words, TrainTransform(), np.random.default_rng(0))
    assert crop.shape == (3, 280, 280)
    assert crop.dtype == np.float32


def test_the_benchmark_measures_every_way(tmp_path):
    annotations = render(tmp_path, 450, 600, 2)
    found = measure(annotations, seconds=0.02, rounds=1)
    assert set(found) == {"floor", "slow", "ours", "ours, in a worker"}
    assert all((speeds > 0).all() for speeds in found.values())
