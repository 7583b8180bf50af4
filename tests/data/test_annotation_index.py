"""The index of a gt.mat: the same words, built once, never trusted when it isn't this file's."""

import os
import pickle
import threading
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from benchmarks.annotation_index import write_large_mat
from datasets import EpochSampler, SynthText, make_loader
from tests.helpers import box, cell, write_mat, write_picture
from utils.data import annotation_index, gt_mat
from utils.data.annotation_index import read_synthtext
from utils.errors import UserError

CELLS = [
    cell(box(5, 5, 40, 20)),
    cell(box(5, 5, 40, 20), box(5, 30, 40, 50)),
    np.zeros((2, 4, 0)),
    cell(box(1, 2, 30, 40))[:, ::-1],
    np.full((2, 4), np.nan),
]


@pytest.fixture
def mat(tmp_path) -> Path:
    return write_mat(tmp_path / "data" / "gt.mat", CELLS)


@pytest.fixture
def builds(monkeypatch) -> list[Path]:
    """The gt.mat of each build."""
    built, write = [], annotation_index._write

    def counted(handle, file, key):
        built.append(file)
        time.sleep(0.05)
        write(handle, file, key)

    monkeypatch.setattr(annotation_index, "_write", counted)
    return built


def same(first, second) -> bool:
    return list(first.names) == list(second.names) and all(
        np.array_equal(getattr(first, name), getattr(second, name)) for name in ("offsets", "quads", "ignored")
    )


def test_built_once_and_then_read(mat, builds):
    first, second = read_synthtext(mat), read_synthtext(mat.parent)
    assert len(builds) == 1
    assert (mat.parent / "gt.mat.index").is_file()
    assert same(first, second)
    assert first.offsets.tolist() == [0, 1, 3, 3, 4]
    assert first.quads[3].tolist() == box(1, 2, 30, 40)[3:] + box(1, 2, 30, 40)[:3]  # turned round
    assert list(first.names) == [f"1/image{number}.jpg" for number in range(4)]
    for annotations in (first, second):
        assert annotations.problems.count("words with corners anticlockwise, turned round") == 1
        assert "1 words with corners that are no numbers, left out (e.g. 1/image4.jpg)" in str(annotations.problems)
        assert annotations.problems.count("images without a single valid word, left out") == 1


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16, np.uint8])
def test_all_that_scipy_writes(tmp_path, compressed, dtype):
    rng = np.random.default_rng(0)
    drawn = [rng.integers(1, 90, (words, 2, 2)) for words in rng.integers(1, 9, 40)]
    quads = [np.array([box(*low, *(low + size)) for low, size in image]) for image in drawn]
    names = [f"{number % 3}/bild_ü{'字' * (number % 4)}{number}.jpg" for number in range(40)]
    write_mat(tmp_path / "gt.mat", [cell(*each).astype(dtype) for each in quads], names)
    contents = scipy.io.loadmat(tmp_path / "gt.mat")
    variables = {name: contents[name] for name in ("wordBB", "imnames")}
    scipy.io.savemat(tmp_path / "gt.mat", variables, do_compression=compressed)
    annotations = read_synthtext(tmp_path)
    assert list(annotations.names) == names
    assert annotations.names[-1] == names[-1]
    for number, each in enumerate(quads):
        assert np.array_equal(annotations.words(number).quads, each)


def test_a_big_endian_file_is_left_to_scipy(mat, monkeypatch):
    expected = read_synthtext(mat)
    monkeypatch.setattr(gt_mat, "find_variables", lambda *_: (_ for _ in ()).throw(gt_mat.OddLayout()))
    os.utime(mat, (1, 1))
    assert same(read_synthtext(mat), expected)


def spoil_size(mat: Path) -> None:
    write_mat(mat, [*CELLS, CELLS[0]])


def spoil_time(mat: Path) -> None:
    os.utime(mat, (1, 1))


def spoil_content(mat: Path) -> None:
    """Same size, same time."""
    state = mat.stat()
    content = mat.read_bytes()
    mat.write_bytes(content.replace(np.float32(40).tobytes(), np.float32(41).tobytes()))
    os.utime(mat, ns=(state.st_atime_ns, state.st_mtime_ns))


@pytest.mark.parametrize("spoil", [spoil_size, spoil_time, spoil_content])
def test_a_stale_index_is_rebuilt(mat, builds, spoil):
    read_synthtext(mat)
    spoil(mat)
    again = read_synthtext(mat)
    assert len(builds) == 2
    expected = scipy.io.loadmat(mat)["wordBB"][0, 0].T
    assert np.array_equal(again.words(0).quads[0], expected)


def test_a_torn_index_is_rebuilt(mat, builds):
    expected = read_synthtext(mat)
    index = expected.index
    whole = index.read_bytes()
    zeros = whole[:100] + bytes(50) + whole[150:], whole[:-40] + bytes(8) + whole[-32:]
    torn = [b"", b"garbage", whole[:-1], whole[: len(whole) // 2], whole + b"x", *zeros]
    for number, content in enumerate(torn, 2):
        index.unlink()  # the old one stays mapped
        index.write_bytes(content)
        assert same(read_synthtext(mat), expected)
        assert len(builds) == number
        assert index.read_bytes() == whole


def test_a_foreign_index_is_rebuilt(mat, tmp_path, builds):
    other = write_mat(tmp_path / "other" / "gt.mat", [cell(box(1, 1, 9, 9))] * 3)
    foreign = read_synthtext(other).index
    (mat.parent / "gt.mat.index").write_bytes(foreign.read_bytes())
    assert len(read_synthtext(mat)) == 4
    assert builds == [other, mat]


def test_a_build_that_fails_leaves_nothing(mat, monkeypatch):
    def fail(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(annotation_index, "check_words", fail)
    with pytest.raises(KeyboardInterrupt):
        read_synthtext(mat)
    assert [path.name for path in mat.parent.iterdir()] == ["gt.mat"]


def test_starts_at_once_build_once(mat, builds):
    barrier = threading.Barrier(4)

    def start(_):
        barrier.wait()
        return read_synthtext(mat)

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(start, range(4)))
    assert len(builds) == 1
    assert all(same(each, found[0]) for each in found)


def test_a_read_only_folder(mat, tmp_path, monkeypatch, builds):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    mat.parent.chmod(0o555)
    try:
        first = read_synthtext(mat)
        assert first.index.is_relative_to(tmp_path / "cache")
        assert same(read_synthtext(mat), first)
        assert len(builds) == 1
        assert [path.name for path in mat.parent.iterdir()] == ["gt.mat"]
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
        with pytest.raises(UserError, match=r"gt\.mat: its index cannot be written .* give --cache-dir"):
            read_synthtext(mat)
    finally:
        mat.parent.chmod(0o755)


def test_cache_dir(mat, tmp_path, builds):
    other = write_mat(tmp_path / "other" / "gt.mat", CELLS[:1])
    for file in (mat, other, mat, other):
        assert read_synthtext(file, tmp_path / "cache").index.parent == tmp_path / "cache"
    assert builds == [mat, other]
    assert [path.name for path in mat.parent.iterdir()] == ["gt.mat"]


def test_workers_get_the_place_not_the_arrays(tmp_path):
    (tmp_path / "data").mkdir()
    write_large_mat(tmp_path / "data" / "gt.mat", 2000)
    annotations = read_synthtext(tmp_path / "data")
    sent = pickle.dumps(annotations)
    assert len(sent) < 2000 < annotations.quads.nbytes // 100
    assert same(pickle.loads(sent), annotations)
    annotations.index.unlink()
    with pytest.raises(UserError, match="removed or replaced"):
        pickle.loads(sent)


def test_a_dataset_in_spawned_workers(rendered):
    dataset = SynthText(rendered / "synthtext", draw=4)
    here = next(iter(make_loader(dataset, EpochSampler(dataset), 4, 0)))
    loader = make_loader(dataset, EpochSampler(dataset), 4, 1)
    loader.multiprocessing_context = "spawn"
    assert (next(iter(loader)).images == here.images).all()


def test_less_memory_than_scipy_and_the_same_words(tmp_path):
    write_large_mat(tmp_path / "gt.mat", 20_000)
    peaks = []
    variables = ["imnames", "wordBB"]
    for read in (
        lambda: scipy.io.loadmat(tmp_path / "gt.mat", variable_names=variables),
        lambda: read_synthtext(tmp_path),
    ):
        tracemalloc.start()
        found = read()
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        if isinstance(found, dict):
            contents = found
    assert peaks[1] < peaks[0]
    assert len(found) == 20_000
    for number in range(0, 20_000, 997):
        assert found.names[number] == contents["imnames"][0, number].item()
        expected = contents["wordBB"][0, number].reshape(2, 4, -1).transpose(2, 1, 0)
        assert np.array_equal(found.words(number).quads, expected)


def test_of_many_images_some_are_looked_at(tmp_path, monkeypatch):
    mat = write_mat(tmp_path / "gt.mat", [cell(box(5, 5, 40, 20))] * 300)
    for number in range(300):
        write_picture(tmp_path / "1" / f"image{number}.jpg", 8, 8)
    (tmp_path / "1" / "image0.jpg").unlink()
    looked = []

    def problem(path, _reading):
        return looked.append(path) or not path.exists()

    monkeypatch.setattr("utils.data.annotations.image_problem", problem)
    annotations = read_synthtext(mat)
    assert len(annotations.usable(np.arange(300), at_most=200, sample=10)) == 299
    assert len(looked) == 10


def test_names_that_no_file_can_have(tmp_path):
    mat = write_mat(tmp_path / "gt.mat", [cell(box(5, 5, 40, 20))] * 4, ["a.jpg", "", "b_c.jpg", "d.jpg"])
    mat.write_bytes(mat.read_bytes().replace(b"b_c", b"b\0c"))
    annotations = read_synthtext(tmp_path)
    assert list(annotations.names) == ["a.jpg", "d.jpg"]
    assert annotations.problems.count("images without a name, left out") == 2
    write_mat(tmp_path / "gt.mat", [cell(box(5, 5, 40, 20))], ["..\\x.jpg"])
    with pytest.raises(UserError, match="leaves the dataset's folder"):
        read_synthtext(tmp_path)


def test_names_and_boxes_of_different_number(tmp_path):
    write_mat(tmp_path / "gt.mat", [cell(box(5, 5, 40, 20))] * 3, ["a.jpg", "b.jpg"])
    with pytest.raises(UserError, match="2 imnames but 3 wordBB cells"):
        read_synthtext(tmp_path)
