# SPDX-License-Identifier: Apache-2.0
"""A run in a notebook: the bar, and the newest sheet of samples below the cell."""

from __future__ import annotations

import io
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from stylegan.runs.progress import RunProgress


def in_notebook() -> bool:
    """Whether this is a notebook, which shows pictures. It is none if IPython is not loaded."""
    get_ipython = getattr(sys.modules.get("IPython"), "get_ipython", None)
    shell = get_ipython() if get_ipython else None
    return any(kind.__name__ == "ZMQInteractiveShell" for kind in type(shell).__mro__)


class NotebookStream(io.TextIOBase):
    """Standard output of a notebook, where carriage returns work as in a terminal."""

    def isatty(self) -> bool:
        """True, so that a bar is drawn."""
        return True

    def write(self, text: str) -> int:
        """Write to what standard output is now."""
        return sys.stdout.write(text)

    def flush(self) -> None:
        """Flush it."""
        sys.stdout.flush()


class InlineSheets:
    """Shows the newest sheet of samples. A newer one takes the place of the one before."""

    def __init__(self) -> None:
        self._shown: Path | None = None
        self._place: Any = None  # of the picture in the notebook

    def __call__(self, progress: RunProgress) -> None:
        """Show the sheet of a `RunProgress`, if it is a new one."""
        if progress.sheet is None or progress.sheet == self._shown:
            return
        ipython = import_module("IPython.display")  # a notebook has it
        self._shown = progress.sheet
        image = ipython.Image(data=progress.sheet.read_bytes(), format="png")
        if self._place is None:
            self._place = ipython.display(image, display_id=True)
        else:
            self._place.update(image)
