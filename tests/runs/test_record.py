# SPDX-License-Identifier: Apache-2.0
import io
import sys

from stylegan.runs.record import Bar, Record


class Full(io.StringIO):
    """A stream on a full disk."""

    def write(self, *text):
        raise OSError(28, "No space left on device")

    flush = write


def test_a_terminal_on_a_full_disk_ends_nothing(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "stderr", Full())
    record = Record(tmp_path, 0, 0)
    with Bar(0, 100, 10, record.stream) as bar:
        for _ in range(10):
            bar.update(10)
            bar.set_postfix_str("x")
            record.print("hello")
    assert bar.n == 100


def test_a_line_is_written_above_the_bar(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    record = Record(tmp_path, 0, 0)
    with Bar(0, 100, 10, record.stream) as bar:
        bar.update(10)
        bar.refresh()
        record.print("hello")
    text = sys.stderr.getvalue()
    before = text[: text.index("hello")]
    assert before.split("\r")[-1] == "" and "hello\n" in text  # the line was cleared
    assert "0.1 kimg" in text
