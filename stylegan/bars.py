# SPDX-License-Identifier: Apache-2.0
"""Progress bars: drawn in a terminal, a line per minute in a file or a pipe."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm

LINE_SECONDS = 60  # between two lines in a file
FIRST_SECONDS = 10  # until the first of them


class Bar(tqdm):
    """tqdm, which in a file or a pipe writes lines instead of carriage returns: the first after ten
    seconds, then one per minute, and one at the end if there was one before.

    Args:
        items: what to iterate over, if anything.
        stream: where to draw, by default standard error.
        options: of tqdm.
    """

    def __init__(
        self, items: Iterable[Any] | None = None, stream: Any = None, **options: Any
    ) -> None:
        stream = sys.stderr if stream is None else stream
        self._lines = None if _is_terminal(stream) else stream
        self._line_at = time.monotonic() + FIRST_SECONDS
        self._written: str | None = None
        super().__init__(items, file=_Nowhere() if self._lines else stream, **options)

    def update(self, n: float | None = 1) -> bool | None:
        """tqdm's."""
        drawn = super().update(n)
        self.line_if_due()
        return drawn

    def __iter__(self) -> Any:
        for item in super().__iter__():
            self.line_if_due()
            yield item

    def line_if_due(self) -> None:
        """In a file, write a line if the last one is a minute old."""
        if self._lines is not None and time.monotonic() >= self._line_at:
            self._line()

    def lines_begin(self) -> None:
        """In a file, write the first line now, if there is none yet."""
        if self._lines is not None and self._written is None:
            self._line()

    def close(self) -> None:
        """tqdm's."""
        if not self.disable and self._written is not None and self._text() != self._written:
            self._line()
        super().close()

    def _line(self) -> None:
        self._line_at = time.monotonic() + LINE_SECONDS
        self._written = self._text()
        tqdm.write(self._written, file=self._lines)

    def _text(self) -> str:
        values = dict(self.format_dict)
        if values["bar_format"]:
            values["bar_format"] = values["bar_format"].replace("|{bar}|", "")
        else:
            values["ncols"] = 0
        return tqdm.format_meter(**values).strip()


def _is_terminal(stream: Any) -> bool:
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError):  # it is closed
        return False


class _Nowhere:
    """A stream that drops everything."""

    def write(self, text: str) -> int:
        return len(text)

    def flush(self) -> None:
        pass
