import json
import re
from pathlib import Path

import cv2
import pytest

from tools.compare_results import COLUMNS, compare
from tools.plot_curves import draw_curves
from utils.training.run_folder import append_row, repair_results, set_aside


def write_run(folder, epochs: int = 3) -> None:
    folder.mkdir()
    for epoch in range(1, epochs + 1):
        row = {"epoch": epoch, "lr": 1e-3, "train_loss": 2 / epoch, "train_iou": 1 / epoch, "hmean": 0.1 * epoch}
        append_row(folder / "results.csv", row)


def test_curves_of_two_runs(tmp_path, run_script):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (requirements-extra.txt)")
    write_run(tmp_path / "one")
    write_run(tmp_path / "two", 5)
    run_script("-m", "tools.plot_curves", tmp_path / "one", tmp_path / "two", "--to", tmp_path / "curves.png")
    picture = cv2.imread(str(tmp_path / "curves.png"))
    assert picture.shape[:2] == (700, 1100)
    assert picture.std() > 5


def test_runs_of_one_name_are_all_drawn(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (requirements-extra.txt)")
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_run(tmp_path / name / "run")
    write_run(tmp_path / "other")
    monkeypatch.chdir(tmp_path)
    draw_curves([Path("a/run"), Path("b/run"), Path("other")], Path("curves.svg"))
    texts = set(re.findall(r"<!-- (.*?) -->", Path("curves.svg").read_text()))
    assert {"a/run hmean", "b/run hmean", "other hmean"} <= texts


def test_measurements_of_one_name_in_a_table(tmp_path):
    folders = [tmp_path / name for name in ("a/run", "b/run", "other")]
    for number, folder in enumerate(folders):
        folder.mkdir(parents=True)
        (folder / "metrics.json").write_text(json.dumps(dict.fromkeys(COLUMNS, number)))
    labels = [line.split()[0] for line in compare(folders).splitlines()[2:]]
    assert labels == [str(folders[0]), str(folders[1]), "other"]


def test_a_folder_that_is_no_run(tmp_path, refuses):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (requirements-extra.txt)")
    refuses("tools.plot_curves", tmp_path, parts=["results.csv: No such file"])
    (tmp_path / "results.csv").write_text("a,b\n")
    refuses("tools.plot_curves", tmp_path, parts=["not a table of epochs"])
    (tmp_path / "results.csv").write_text("a,b\n1,2\n")
    refuses("tools.plot_curves", tmp_path, "--to", tmp_path / "a.png", parts=["results.csv: no column epoch"])


def test_missing_package_says_what_to_install(tmp_path, run_script):
    write_run(tmp_path / "one")
    (tmp_path / "matplotlib.py").write_text("raise ImportError('No module named matplotlib')")
    done = run_script("-m", "tools.plot_curves", tmp_path / "one", expect=2, env={"PYTHONPATH": str(tmp_path)})
    assert "pip install -r requirements-extra.txt" in done.stderr


def test_an_epoch_is_in_the_table_once(tmp_path):
    write_run(tmp_path / "one", 2)
    table = tmp_path / "one" / "results.csv"
    row = {"epoch": 2, "lr": 1e-3, "train_loss": 1, "train_iou": 0.5, "hmean": 0.2}
    repair_results(table, row)
    repair_results(table, row | {"epoch": 3})
    assert [line.split(",")[0] for line in table.read_text().splitlines()] == ["epoch", "1", "2", "3"]


def test_runs_are_set_aside_one_after_the_other(tmp_path):
    assert set_aside(tmp_path) is None
    for number in (1, 2):
        (tmp_path / "last.pt").write_text(str(number))
        assert set_aside(tmp_path) == tmp_path / f"earlier-{number}"
    assert (tmp_path / "earlier-2" / "last.pt").read_text() == "2"
