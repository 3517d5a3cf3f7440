# SPDX-License-Identifier: Apache-2.0
import io
import sys

import pytest

from stylegan.runs.record import Bar, Record


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
    with Bar(0, 100, 10, record.stream) as bar:
        for _ in range(10):
            bar.update(10)
            bar.set_postfix_str("x")
            record.print("hello")
    assert bar.n == 100


def test_a_line_is_written_above_the_bar(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "stderr", Terminal())
    record = Record(tmp_path, 0, 0)
    with Bar(0, 100, 10, record.stream) as bar:
        bar.update(10)
        bar.refresh()
        record.print("hello")
    text = sys.stderr.getvalue()
    before = text[: text.index("hello")]
    assert before.split("\r")[-1] == "" and "hello\n" in text  # the line was cleared
    assert "0.1 kimg" in text


def test_a_log_holds_lines(monkeypatch, tmp_path):
    """Not a bar that returns to the begin of its line."""
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    record = Record(tmp_path, 0, 0)
    with Bar(0, 100_000, 1000, record.stream) as bar:
        for i in range(100):
            bar.update(1000)
            bar.refresh()
            if i % 50 == 49:
                bar.set_postfix_str(f"G {i}.00")
        record.print("hello")
    lines = sys.stderr.getvalue().split("\n")
    assert "\r" not in sys.stderr.getvalue() and len(lines) == 4 and lines[2:] == ["hello", ""]
    assert lines[0].startswith("train: 50.0/100 kimg [") and "img/s, G 49.00]" in lines[0]
    assert lines[1].startswith("train: 100.0/100 kimg [")
