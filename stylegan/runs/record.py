# SPDX-License-Identifier: Apache-2.0
"""Output of a running run. The disk may be full and the terminal gone; neither ends the run."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO, TypeVar

from tqdm import tqdm

from stylegan.bars import Bar
from stylegan.runs.log import RunLog
from stylegan.runs.report import write_report
from stylegan.words import ceil_div, short

T = TypeVar("T")
REPORT_SECONDS = 15  # between two reports of a running run, at least,
REPORT_SHARE = 100  # and so many times as long as the last one took


class Record:
    """log.jsonl, report.html and lines on the terminal.

    Args:
        run_dir: the run's folder.
        logged, seen: up to where an earlier log counts, as in `RunLog`.
        stream: for the lines and the bar; None: standard error.
    """

    def __init__(
        self, run_dir: str | Path, logged: int, seen: int, stream: TextIO | None = None
    ) -> None:
        self.run_dir, self.log = Path(run_dir), RunLog(run_dir, logged, seen)
        self._failing: set[str] = set()
        self._report_at = 0.0
        self.stream = _Forgiving(sys.stderr if stream is None else stream)

    def attempt(self, what: str, write: Callable[[], T]) -> T | None:
        """Call `write`. If the disk is full or cannot be written, a line says so once, until it
        works again.

        Args: what: names what is written, the same every time.
        Returns: the result of `write`, or None if it failed.
        """
        try:
            result = write()
        except OSError as e:
            if what not in self._failing:
                reason = e.strerror or e
                self.print(f"cannot write {what} ({reason}); training continues and tries again")
            self._failing.add(what)
            return None
        if what in self._failing:
            self._failing.remove(what)
            self.print(f"{what} could be written again")
        return result

    def numbers(self, line: dict[str, float]) -> None:
        """Log a line of numbers."""
        self.attempt("the log", lambda: self.log.write(line))

    def event(self, kimg: float, kind: str, text: str) -> None:
        """Log an event; kinds as in `RunLog.event`."""
        self.attempt("the log", lambda: self.log.event(kimg, kind, text))

    def warn(self, kimg: float, text: str) -> None:
        """Log a warning and print it."""
        self.event(kimg, "warning", text)
        self.print(f"warning: {text}")

    def report(self, late: bool = False) -> None:
        """Write report.html.

        Args: late: only if the last one is old.
        """
        begun = time.monotonic()
        if late and begun < self._report_at:
            return
        try:
            self.attempt("report.html", lambda: write_report(self.run_dir))
        except Exception as e:  # a broken report must not end the run
            self.print(f"report.html: {type(e).__name__}: {e}")
        now = time.monotonic()
        self._report_at = now + max(REPORT_SECONDS, REPORT_SHARE * (now - begun))

    def print(self, text: str) -> None:
        """Print a line above the bar."""
        tqdm.write(text, file=self.stream)

    def close(self) -> None:
        """Close the log."""
        self.log.close()


class TrainBar(Bar):
    """A progress bar that counts images and shows kimg. In a file or a pipe it is a line for the
    first `show`, then one per minute, and one at the end.

    Args:
        seen, end: images at the start and at the end.
        batch: images per step.
        stream: where to draw.
    """

    def __init__(self, seen: int, end: int, batch: int, stream: Any) -> None:
        super().__init__(
            stream=stream,
            total=ceil_div(end, batch) * batch,
            initial=seen,
            unit="img",
            desc="train",
            mininterval=1,
            bar_format="{desc}: {percentage:3.0f}%|{bar}| "
            "{kimg} [{elapsed}<{remaining}, {rate_fmt}{postfix}]",
        )

    def show(self, losses: str) -> None:
        """Show newer losses. They begin the lines in a file."""
        self.set_postfix_str(losses)
        self.lines_begin()

    @property
    def format_dict(self) -> dict[str, Any]:
        """tqdm's, with kimg."""
        d = super().format_dict
        return {**d, "kimg": f"{short(d['n'] / 1000)}/{short(d['total'] / 1000)} kimg"}


class _Forgiving:
    """A stream without errors if the disk is full or the terminal is gone."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError:
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError:
            pass

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
