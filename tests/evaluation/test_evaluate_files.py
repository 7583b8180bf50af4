"""`tools.evaluate` on files: ICDAR's rules compared with a plain version of them, and the printed report."""

import json
import zipfile

import numpy as np
import pytest

from tests.helpers import box, words_of
from tests.plain_protocol import evaluate_files
from tools.evaluate import main, parse_args, read_pairs
from utils.errors import UserError
from utils.evaluation import evaluate
from utils.evaluation.breakdown import SIZE_STEPS, break_down, short_sides
from utils.evaluation.curves import average_precision, best_threshold, threshold_curve
from utils.evaluation.result_files import read_ground_truth, read_results, whole_pixels, write_results
from utils.geometry import signed_areas


def random_quads(rng: np.random.Generator, count: int) -> np.ndarray:
    """Whole numbers, clockwise: near-rectangles that overlap a lot, some crossed, some off the picture, some flat."""
    place, size = rng.integers(-20, 60, (count, 1, 2)), rng.integers(0, 40, (count, 1, 2))
    quads = place + np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * size + rng.integers(-6, 7, (count, 4, 2))
    return np.where(signed_areas(quads)[:, None, None] < 0, quads[:, ::-1], quads)


def random_files(seed: int) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """Ground truth and results of a few images, by image number."""
    rng = np.random.default_rng(seed)
    truth, results = {}, {}
    end = "\r\n" if seed % 2 else "\n"
    texts = ["###", "word", "a,b", '"###"', " ###", "", '"quoted \\"x\\""', "caf\u00e9 \u2028 ###"]
    for image in range(rng.integers(1, 4)):
        words, found = random_quads(rng, int(rng.integers(0, 6))), random_quads(rng, int(rng.integers(0, 5)))
        found = np.concatenate([found, words[rng.random(len(words)) < 0.5] + rng.integers(-1, 2, 2)])
        lines = [", ".join(map(str, quad.ravel())) + "," + rng.choice(texts) for quad in words]
        truth[str(image + 1)] = (b"\xef\xbb\xbf" if seed % 3 else b"") + end.join(lines).encode()
        if rng.random() < 0.8:
            lines = [",".join(map(str, quad.ravel())) for quad in rng.permutation(found)]
            results[str(image + 1)] = (end.join(lines) + end).encode()
    return truth, results


def write_folder(folder, files: dict[str, bytes], prefix: str):
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / f"{prefix}{name}.txt").write_bytes(content)
    return folder


def write_zip(path, files: dict[str, bytes], prefix: str):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(f"{prefix}{name}.txt", content)
    return path


def test_equal_to_the_plain_protocol_in_every_digit(tmp_path):
    compared = 0
    for seed in range(60):
        truth, results = random_files(seed)
        if not results:
            continue
        compared += 1
        words, found = read_pairs(
            write_folder(tmp_path / f"gt{seed}", truth, "gt_img_"),
            write_zip(tmp_path / f"{seed}.zip", results, "res_img_"),
        )
        ours = evaluate(words, [each.quads for each in found])
        expected = evaluate_files(truth, results)
        assert {name: getattr(ours, name) for name in expected} == expected, seed
    assert compared > 40


def test_genuine_ground_truth_is_read_like_the_plain_protocol_reads_it(real_data):
    folder = real_data / "icdar2015" / "ch4_training_localization_transcription_gt"
    files = {path.stem.removeprefix("gt_img_"): path.read_bytes() for path in sorted(folder.glob("*.txt"))[:40]}
    results = {}
    for name, content in files.items():
        lines = [line.lstrip(b"\xef\xbb\xbf").split(b",")[:8] for line in content.splitlines()[::2]]
        results[name] = b"\n".join(b",".join(corners) for corners in lines)
    words = read_ground_truth(folder)
    found = [np.array([line.split(b",") for line in text.splitlines()], float) for text in results.values()]
    ours = evaluate([words[f"img_{name}"] for name in files], found)
    assert ours._asdict().items() >= evaluate_files(files, results).items()
    assert 0.3 < ours.hmean < 0.9


class TestCommand:
    def test_json_holds_full_precision(self, tmp_path, run_script):
        truth = {"a": b"0,0,9,0,9,9,0,9,x\n50,0,59,0,59,9,50,9,y\n80,0,89,0,89,9,80,9,z\n"}
        gt = write_zip(tmp_path / "gt.zip", truth, "gt_")
        found = write_folder(tmp_path / "found", {"a": b"0,0,9,0,9,9,0,9\r\n"}, "res_")
        process = run_script("-m", "tools.evaluate", "--gt", gt, "--results", found, "--json")
        assert json.loads(process.stdout) == {"precision": 1.0, "recall": 1 / 3, "hmean": 2 * (1 / 3) / (4 / 3)}

    def test_report_with_scores(self, tmp_path, capsys):
        gt = write_folder(tmp_path / "gt", {"a": b"0,0,99,0,99,9,0,9,x\n", "b": b""}, "")
        found = write_folder(tmp_path / "found", {"a": b"0,0,99,0,99,9,0,9,0.42\n0,50,99,50,99,59,0,59,0.3"}, "res_")
        (found / "notes.txt").write_text("is not a result")
        main(parse_args(["--gt", str(gt), "--results", str(found)]))
        printed = capsys.readouterr().out
        assert "precision  0.5000" in printed
        assert "average precision  1.0000" in printed
        assert "0.40 *" in printed
        assert "8 to 16" in printed

    @pytest.mark.parametrize(
        ("results", "parts"),
        [
            ({"a": b"0,0,9,0,9,9,0\n"}, ["res_a.txt:1", "x1,y1"]),
            ({"a": b"\n0,0,0,9,9,9,9,0\n"}, ["res_a.txt:2", "anticlockwise"]),
            ({"a": b"0,0,9,0,9,9,0,9,1.2.3\n"}, ["res_a.txt:1", "1.2.3"]),
            ({"a": b"0,0,9,0,9,9,0,9,1\n0,0,9,0,9,9,0,9"}, ["1 of 2 lines"]),
            ({"a": b"0,0,9,0,9,9,0,9999999999\n"}, ["1e+10"]),
            ({"c": b""}, ["c ", "no ground truth"]),
            ({}, ["no .txt file"]),
        ],
    )
    def test_bad_files_are_named(self, tmp_path, results, parts):
        gt = write_folder(tmp_path / "gt", {"a": b"0,0,9,0,9,9,0,9,x\n"}, "gt_")
        found = write_folder(tmp_path / "found", results, "res_")
        with pytest.raises(UserError) as error:
            main(parse_args(["--gt", str(gt), "--results", str(found)]))
        assert all(part in str(error.value) for part in parts)

    def test_neither_a_folder_nor_a_zip(self, tmp_path, refuses):
        (tmp_path / "cut.zip").write_bytes(b"PK\3\4 cut off")
        refuses("-m", "tools.evaluate", "--gt", tmp_path / "cut.zip", "--results", tmp_path, parts=["cut.zip", "zip"])
        refuses(
            "-m", "tools.evaluate", "--gt", tmp_path / "none", "--results", tmp_path, parts=["none", "No such file"]
        )


def test_results_round_trip(tmp_path):
    quads = np.array([box(0.4, 0, 10.6, 20), [[0, 0.4], [30, 0.6], [30, 0.9], [0, 0.5]]], float)
    write_results(tmp_path / "res_a.txt", quads, np.array([0.9, 0.5]))
    write_results(tmp_path / "res_b.txt", quads[:0])
    found = read_results(tmp_path)
    assert np.array_equal(found["a"].quads, whole_pixels(quads))
    assert (signed_areas(found["a"].quads) >= 0).all()
    assert found["a"].scores.tolist() == [0.9, 0.5]
    assert found["b"].quads.shape == (0, 4, 2)


def test_average_precision_by_hand():
    """Ranked: hit, miss, hit, of four words. The detection in the don't-care word has no rank."""
    truth = [
        words_of(box(0, 0, 50, 20), box(0, 30, 50, 50), ignored=[1]),
        words_of(*(box(60 * n, 0, 60 * n + 50, 20) for n in range(3))),
    ]
    quads = [np.array([box(0, 30, 50, 50), box(0, 0, 50, 20)]), np.array([box(0, 80, 50, 90), box(0, 0, 50, 20)])]
    scores = [np.array([0.99, 0.5]), np.array([0.7, 0.8])]
    assert average_precision(truth, quads, scores) == pytest.approx((1 + 2 / 3) / 4)
    assert average_precision([words_of()], [np.zeros((0, 4, 2))], [np.zeros(0)]) == 0


def test_curve_is_the_evaluation_at_each_threshold():
    rng = np.random.default_rng(3)
    truth = [words_of(*random_quads(rng, 8), ignored=[2]) for _ in range(5)]
    quads = [np.concatenate([words.quads + rng.integers(-3, 4, 2), random_quads(rng, 4)]) for words in truth]
    scores = [rng.random(len(found)) for found in quads]
    curve = threshold_curve(truth, quads, scores, (0, 0.3, 0.6, 1))
    for threshold, result in curve.items():
        chosen = [found[each >= threshold] for found, each in zip(quads, scores, strict=True)]
        assert result == evaluate(truth, chosen)
    assert curve[best_threshold(curve)].hmean == max(result.hmean for result in curve.values())


def test_breakdown_by_size():
    truth = [words_of(box(0, 0, 100, 20), box(0, 40, 100, 46), box(0, 60, 100, 160), ignored=[2])]
    quads = [np.array([box(0, 0, 100, 20), box(200, 0, 300, 20)])]
    bins = {each.low: each for each in break_down(truth, quads, short_sides, SIZE_STEPS)}
    assert bins[16][2:] == (1, 1, 2, 1)
    assert (bins[16].recall, bins[16].precision) == (1, 0.5)
    assert bins[0][2:] == (1, 0, 0, 0)
    assert bins[64].words == 0
    assert np.isnan(bins[64].recall)
