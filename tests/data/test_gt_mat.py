"""The one gt.mat writer: SciPy reads the same values as from its own files, and equal data are equal bytes."""

import numpy as np
import pytest
import scipy.io
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from utils.data.annotation_index import read_synthtext
from utils.data.gt_mat import SynthTextImage, cell_of_quads, quads_of_cell, read_columns, write_gt_mat, write_synthtext

shapes = st.sampled_from([(2, 4), (2, 4, 3), (2, 4, 0), (2, 4, 1), (5,), (0,), (1, 1)])
numbers = st.tuples(shapes, st.sampled_from(["f4", "f8", "u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8"])).map(
    lambda drawn: (np.arange(np.prod(drawn[0])).reshape(drawn[0]) + 1).astype(drawn[1])
)
characters = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
strings = st.text(characters, max_size=6)
cells = st.one_of(numbers, strings, st.lists(strings, min_size=1, max_size=4))


def columns_of_scipy(path, cells: list) -> np.ndarray:
    """What SciPy makes of the same cells."""
    column = np.empty((1, len(cells)), object)
    rows = [[value] if isinstance(value, str) else value for value in cells]
    column[0, :] = [np.asarray(value) for value in rows]
    scipy.io.savemat(path, {"x": column})
    return scipy.io.loadmat(path)["x"]


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(cells, min_size=1, max_size=6))
def test_scipy_reads_what_it_reads_of_its_own_file(tmp_path_factory, values):
    folder = tmp_path_factory.mktemp("mat")
    write_gt_mat(folder / "gt.mat", {"x": values, "y": [np.zeros(3)] * len(values)}, len(values))
    ours, expected = scipy.io.loadmat(folder / "gt.mat")["x"], columns_of_scipy(folder / "scipy.mat", values)
    assert ours.shape == expected.shape
    for one, other in zip(ours.flat, expected.flat, strict=True):
        assert (one.dtype, one.shape, one.tolist()) == (other.dtype, other.shape, other.tolist())


def test_equal_images_are_equal_bytes_and_nothing_else_is_left(tmp_path):
    quads = np.arange(16, dtype=np.float32).reshape(2, 4, 2)
    images = [
        SynthTextImage("1/a.jpg", quads, quads, ["a", "bc"]),
        SynthTextImage("1/ü.jpg", quads[:1], quads, ["d e"]),
    ]
    for name in ("one", "two"):
        write_synthtext(tmp_path / name / "gt.mat", images)
    assert (tmp_path / "one" / "gt.mat").read_bytes() == (tmp_path / "two" / "gt.mat").read_bytes()
    assert [path.name for path in (tmp_path / "one").iterdir()] == ["gt.mat"]
    contents = scipy.io.loadmat(tmp_path / "one" / "gt.mat")
    assert [contents[name].shape for name in ("imnames", "wordBB", "charBB", "txt")] == [(1, 2)] * 4
    assert [cell.shape for cell in contents["wordBB"].flat] == [(2, 4, 2), (2, 4)]
    assert contents["txt"][0, 0].tolist() == ["a ", "bc"]


def test_our_own_reader_gives_the_same(tmp_path):
    quads = np.array([[[1, 2], [9, 2], [9, 6], [1, 6]], [[2, 9], [8, 9], [8, 15], [2, 15]]], np.float32)
    images = [SynthTextImage(f"1/{n}.jpg", quads[:n], quads[:n], ["word"] * n) for n in range(3)]
    write_synthtext(tmp_path / "gt.mat", images)
    columns = read_columns(tmp_path / "gt.mat", ("imnames", "wordBB", "txt"))
    assert {count for count, _ in columns.values()} == {3}
    for image, name, box in zip(images, columns["imnames"][1], columns["wordBB"][1], strict=True):
        assert name.text == image.name
        assert np.array_equal(quads_of_cell(box), image.quads)
    annotations = read_synthtext(tmp_path)
    assert [len(annotations.words(number).quads) for number in range(3)] == [0, 1, 2]


def test_cells_are_taken_one_by_one(tmp_path):
    """A column may be a generator: no list of all cells is made."""
    alive = []

    def numbers():
        for number in range(1000):
            alive.append(number)
            yield np.full((2, 4), number, np.float32)

    write_gt_mat(tmp_path / "gt.mat", {"imnames": (f"{n}.jpg" for n in range(1000)), "wordBB": numbers()}, 1000)
    assert len(alive) == 1000
    assert scipy.io.loadmat(tmp_path / "gt.mat")["wordBB"][0, 999][0, 0] == 999


def test_an_error_on_the_way_leaves_the_old_file(tmp_path):
    write_gt_mat(tmp_path / "gt.mat", {"imnames": ["a.jpg"]}, 1)
    before = (tmp_path / "gt.mat").read_bytes()
    with pytest.raises(ValueError, match="imnames: 1 cells; expected 2"):
        write_gt_mat(tmp_path / "gt.mat", {"imnames": ["b.jpg"]}, 2)
    assert (tmp_path / "gt.mat").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["gt.mat"]


def test_cell_of_quads_is_the_way_back():
    quads = np.arange(24.0).reshape(3, 4, 2)
    assert cell_of_quads(quads).shape == (2, 4, 3)
    assert cell_of_quads(quads[:1]).shape == (2, 4)
    assert cell_of_quads(quads[:0]).shape == (2, 4, 0)
