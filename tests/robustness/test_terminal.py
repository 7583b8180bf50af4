"""Names and texts never command the terminal: control characters reach it as escapes."""

import os
import re
import shutil

import cv2
import pytest

from tests.data.test_images import smooth
from utils.data.problems import Problems
from utils.errors import UserError, fail, printable
from utils.runtime.distributed import ALONE
from utils.runtime.tables import format_table

EVIL = "a\x1b[31m\x1b]0;title\x07\r\n\u202eb\udcff"
CONTROLS = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u202e\udc80-\udcff]")


def test_printable():
    assert printable(EVIL) == r"a\x1b[31m\x1b]0;title\x07\x0d\x0a\u202eb\xff"
    assert printable("Straße 漢字 🙂") == "Straße 漢字 🙂"


def test_in_errors_problems_tables_and_prints(capsys):
    problems = Problems()
    problems.add("images left out", EVIL)
    texts = [str(UserError(EVIL)), str(problems), format_table([["name", "n"], [EVIL, "1"]])]
    with pytest.raises(SystemExit):
        fail(EVIL)
    ALONE.print(EVIL, "and more")
    texts += capsys.readouterr()
    for text in texts:
        assert r"\x1b[31m" in text
        assert not CONTROLS.search(text)


def test_a_run_over_files_of_such_names(tmp_path, small_checkpoint, run_script):
    """Whole and damaged files, in a run of detect.py and as arguments of a command that refuses them."""
    folder = tmp_path / "in\x1b[2J"
    folder.mkdir()
    cv2.imwrite(str(tmp_path / "a.jpg"), smooth(64, 64))
    raw = os.fsencode(folder)
    for name in (b"\x1b[31mred.jpg", b"not utf-8 \xff.jpg"):
        shutil.copy(tmp_path / "a.jpg", raw + b"/" + name)
    for name in (b"\x1b]0;title\x07.jpg", b"empty \xff.png"):
        open(raw + b"/" + name, "wb").close()
    out = tmp_path / "out\x1b[2J"
    line = ["detect.py", "--pretrain-model", small_checkpoint, "--output-dir", out, "--no-pictures", "--ngpus", 0]
    finished = run_script(*line, folder)
    for text in (finished.stdout, finished.stderr):
        assert not CONTROLS.search(text.replace("\r", "")), repr(text)
    assert r"\x1b]0;title\x07.jpg" in finished.stdout
    refused = run_script(*line, folder / "\x1b[31mnone.jpg", expect=2)
    assert r"\x1b[31mnone.jpg" in refused.stderr
    assert not CONTROLS.search(refused.stderr)
