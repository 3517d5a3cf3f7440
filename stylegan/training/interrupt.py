# SPDX-License-Identifier: Apache-2.0
"""Signals that ask a run to stop."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import Any

NAMES = ("SIGINT", "SIGTERM", "SIGHUP")  # Ctrl-C, kill and job schedulers, a closed terminal


class Interrupt:
    """Inside the block, the first of these signals only sets `signal`, so that the step can be
    finished and saved. The next one ends the process at once.

    Signals that are ignored (nohup) stay ignored. Outside the main thread the block does nothing.

    Args:
        embedded: in a program that goes on after the block, as in a notebook. Its own handlers get
            the next signal: Ctrl-C is a KeyboardInterrupt.
    """

    def __init__(self, embedded: bool = False) -> None:
        self.signal: int | None = None
        self._embedded = embedded
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupt:
        if threading.current_thread() is threading.main_thread():
            for number in (getattr(signal, n) for n in NAMES if hasattr(signal, n)):
                before = signal.getsignal(number)
                if before not in (signal.SIG_IGN, None):
                    self._before[number] = before
                    signal.signal(number, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    @property
    def exit_code(self) -> int:
        """What a shell shows for the signal: 130 for Ctrl-C, 143 for SIGTERM; 0 without one."""
        return 128 + self.signal if self.signal else 0

    def _ask(self, number: int, _: FrameType | None) -> None:
        self.signal = number
        for n, before in self._before.items():
            # The default handlers work even if Python hangs.
            signal.signal(n, before if self._embedded else signal.SIG_DFL)
        text = "\nstopping after this step, with a snapshot; once more stops at once\n"
        try:
            os.write(2, text.encode())  # print() is not safe here
        except OSError:
            pass  # the terminal is gone
