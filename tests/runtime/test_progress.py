"""Progress bars: shown on a terminal only."""

import os
import pty
import select
import subprocess
import sys
import termios

from tests.conftest import ROOT

CODE = """
import sys
from utils.runtime.progress import progress, write_line
for number in progress([1, 2], desc="count"):
    write_line(f"item {number}")
with progress(total=3, desc="frames") as bar:
    bar.update()
print("tqdm" in sys.modules)
"""


def test_without_a_terminal():
    process = subprocess.run([sys.executable, "-c", CODE], cwd=ROOT, capture_output=True, text=True, check=True)
    assert process.stdout.split("\n") == ["item 1", "item 2", "False", ""]
    assert not process.stderr


def test_on_a_terminal():
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))  # in a terminal of no width tqdm shows nothing
    process = subprocess.run([sys.executable, "-c", CODE], cwd=ROOT, stdout=subprocess.PIPE, stderr=theirs, text=True)
    assert select.select([ours], [], [], 10)[0], "nothing was shown"
    shown = os.read(ours, 10_000).decode()
    for each in (ours, theirs):
        os.close(each)
    assert process.returncode == 0
    assert "count" in shown
    assert "frames" in shown
    assert process.stdout.split("\n")[-2] == "True"
