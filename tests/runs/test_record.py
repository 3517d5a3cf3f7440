# SPDX-License-Identifier: Apache-2.0
import io
import re
import sys

import pytest

from stylegan import bars
from stylegan.runs.record import Record, TrainBar


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Full(io.StringIO):
    """A stream on a full disk."""

    def write(self, *text):
        raise OSError(28, "No space left on device")

    flush = write


@pytest.mark.parametrize("terminal", [False, True])
def test_a_terminal_on_a_full_disk_ends_nothing(monkeypatch, tmp_path, terminal):
    monkeypatch.setattr(Full, "isatty", lambda self: terminal)
    monkeypatch.setattr(sys, "stderr", Full())
    record = Record(tmp_path, 0, 0)
    with TrainBar(0, 100, 10, record.stream) as bar:
        for _ in range(10):
            bar.update(10)
            bar.show("x")
            record.print("hello")
    assert bar.n == 100


def test_a_line_is_written_above_the_bar(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "stderr", Terminal())
    record = Record(tmp_path, 0, 0)
    with TrainBar(0, 100, 10, record.stream) as bar:
        bar.update(10)
        bar.refresh()
        record.print("hello")
    text = sys.stderr.getvalue()
    before = text[: text.index("hello")]
    assert before.split("\r")[-1] == "" and "hello\n" in text  # the line was cleared
    assert "0.1 kimg" in text


def test_a_log_holds_a_line_per_minute(monkeypatch, tmp_path):
    """Not a bar that returns to the begin of its line. The first line comes early."""
    now = [0.0]
    monkeypatch.setattr(bars.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    record = Record(tmp_path, 0, 0)
    with TrainBar(0, 200_000, 1000, record.stream) as bar:
        for i in range(150):
            now[0] += 1
            bar.update(1000)
            bar.refresh()
            if i % 5 == 4:
                bar.show(f"G {i}.00")
        record.print("hello")
    text = sys.stderr.getvalue()
    lines = text.splitlines()
    assert "\r" not in text and len(lines) == 5 and lines[3] == "hello"
    del lines[3]
    kimg = [re.match(r"train: +\d+% ([\d.]+)/200 kimg \[", line)[1] for line in lines]
    assert kimg == ["5", "65", "125", "150"]
    assert "img/s, G 4.00]" in lines[0]


@pytest.mark.parametrize("total", [40, None])
def test_other_bars_write_lines_too(monkeypatch, total):
    now = [0.0]
    monkeypatch.setattr(bars.time, "monotonic", lambda: now[0])
    stream = io.StringIO()
    items = range(40) if total else iter(range(40))
    for _ in bars.Bar(items, stream, unit="img", desc="generate", mininterval=0):
        now[0] += 4
    lines = stream.getvalue().splitlines()
    assert [re.search(r"\d+(?=/40|img )", line)[0] for line in lines] == ["3", "18", "33", "40"]
    assert "\r" not in stream.getvalue() and all("generate: " in line for line in lines)


def test_quick_work_writes_nothing_into_a_file():
    stream = io.StringIO()
    with bars.Bar(total=3, stream=stream) as bar:
        bar.update(3)
    assert stream.getvalue() == ""


def test_a_bar_in_a_terminal_is_drawn():
    stream = Terminal()
    for _ in bars.Bar(range(3), stream, mininterval=0):
        pass
    assert "\r" in stream.getvalue() and "100%|" in stream.getvalue()
