# SPDX-License-Identifier: Apache-2.0
"""Being asked to stop."""

import os
import signal
import threading

NAMES = ("SIGINT", "SIGTERM", "SIGHUP")  # Ctrl-C, kill and job schedulers, a closed terminal


class Interrupt:
    """While entered, the first of these signals only sets `signal`, so that a step can be finished
    and saved; the next one ends the process at once.

    Signals that are ignored (nohup) stay so. Outside the main thread it does nothing.
    """

    def __init__(self):
        self.signal, self._before = None, {}

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():
            for number in (getattr(signal, n) for n in NAMES if hasattr(signal, n)):
                before = signal.getsignal(number)
                if before not in (signal.SIG_IGN, None):
                    self._before[number] = before
                    signal.signal(number, self._ask)
        return self

    def __exit__(self, *_):
        for number, before in self._before.items():
            signal.signal(number, before)

    @property
    def exit_code(self):
        """What a shell shows for the signal: 130 for Ctrl-C, 143 for SIGTERM; 0 without one."""
        return 128 + self.signal if self.signal else 0

    def _ask(self, number, _):
        self.signal = number
        for n in self._before:  # the system's own handling needs no Python to come to a halt
            signal.signal(n, signal.SIG_DFL)
        text = "\nstopping after this step, with a snapshot; once more stops at once\n"
        try:
            os.write(2, text.encode())  # print() is not safe here
        except OSError:
            pass  # the terminal is gone
