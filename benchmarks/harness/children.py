# SPDX-License-Identifier: Apache-2.0
"""Contestants that exist at the same time and take turns, so that only one runs at any time.

On a CPU much depends on the allocator, which belongs to the process. So each contestant is a
process of its own that stays alive, and a slow moment of the machine hits all of them. On a GPU all
contestants are in one process.

A contestant is made by a function that returns {name: function}; `ask(name)` calls one of them.
Every contestant also answers to "settled" (whether its strategies are chosen) and "peak_mb".
"""

import multiprocessing
import statistics
import time
import traceback
from pathlib import Path

import torch

from harness.common import settled
from stylegan.training.memory import peak_memory_gb


class Died(Exception):
    """The process of a contestant ended before it answered. The message is the reason, if known."""


class Child:
    """A contestant in a process of its own.

    Args: make, arguments: `make(*arguments)` is called there; a function of a module's top level.
    """

    def __init__(self, make, *arguments):
        context = multiprocessing.get_context("spawn")  # a fork would share pages and threads
        self._pipe, child_pipe = context.Pipe()
        target = (child_pipe, make, arguments)
        self._process = context.Process(target=_serve, args=target, daemon=True)
        self._process.start()
        child_pipe.close()
        self._answer()  # wait until it is made, so that it is not busy while another is timed

    def ask(self, name):
        """(ms, result) of the function of that name."""
        self._pipe.send(name)
        return self._answer()

    def close(self):
        self._pipe.close()  # _serve ends
        self._process.join(10)
        if self._process.is_alive():
            self._process.kill()

    def _answer(self):
        try:
            error, ms, result = self._pipe.recv()
        except EOFError:
            self._process.join()
            reason = "killed, perhaps out of memory" if self._process.exitcode < 0 else "it ended"
            raise Died(f"a contestant died: {reason}") from None
        if error:
            raise Died(f"a contestant failed:\n{error}")
        return ms, result


class Inside:
    """A contestant in this process, on a CUDA device; used as `Child` is."""

    def __init__(self, make, *arguments):
        base = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        self._functions = make(*arguments)
        self._held = torch.cuda.memory_allocated() - base  # without what others hold
        self._peak, self._has_run = torch.cuda.max_memory_allocated() - base, False

    def ask(self, name):
        if name == "peak_mb":
            return 0.0, self._peak / 1e6
        if name == "settled":
            return 0.0, settled("cuda")
        if self._has_run:
            return _timed(self._functions[name], torch.cuda.synchronize)
        self._has_run, before = True, torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        answer = _timed(self._functions[name], torch.cuda.synchronize)
        run = torch.cuda.max_memory_allocated() - before
        self._peak = max(self._peak, self._held + run)
        return answer

    def close(self):
        self._functions = None
        torch.cuda.empty_cache()


def contestants(device, make, choices, *arguments):
    """{name: Child or Inside} for {name: what sets it apart}, made as make(device type, what,
    *arguments), one after the other."""
    kind, made = Inside if device.type == "cuda" else Child, {}
    try:
        for name, choice in choices.items():
            made[name] = kind(make, device.type, choice, *arguments)
    except BaseException:
        close(made)
        raise
    return made


def close(made):
    for contestant in made.values():
        contestant.close()


def warm_up(made, names=("run",), min_runs=2, max_runs=12):
    """Let each contestant run `min_runs` times, and more until its strategies are chosen."""
    for contestant in made.values():
        for name in names:
            for i in range(max_runs):
                if i >= min_runs and contestant.ask("settled")[1]:
                    break
                contestant.ask(name)


def race(made, name="run", repeats=5, seconds=float("inf")):
    """{contestant: median ms} of `repeats` runs in turns; after `seconds`, 3 runs are enough."""
    times, start = {who: [] for who in made}, time.monotonic()
    for i in range(repeats):
        if i >= 3 and time.monotonic() - start > seconds:
            break
        for who, contestant in made.items():
            times[who].append(contestant.ask(name)[0])
    return {who: statistics.median(ms) for who, ms in times.items()}


def peaks_mb(made):
    """{contestant: 10^6 bytes}: resident in its process, or allocated on the GPU by its first
    run."""
    return {who: contestant.ask("peak_mb")[1] for who, contestant in made.items()}


def _serve(pipe, make, arguments):
    functions = {"settled": lambda: settled("cpu"), "peak_mb": peak_mb}
    try:
        functions.update(make(*arguments))
        pipe.send((None, 0.0, None))
        while True:
            pipe.send((None, *_timed(functions[pipe.recv()])))
    except (EOFError, KeyboardInterrupt):
        pass  # the parent is done
    except Exception:
        pipe.send((traceback.format_exc(), 0.0, None))


def _timed(function, wait=lambda: None):
    wait()
    start = time.perf_counter()
    result = function()
    wait()
    return (time.perf_counter() - start) * 1e3, result


def peak_mb():
    """Peak resident memory of this process. On Linux it is VmHWM: a process inherits ru_maxrss from
    its parent."""
    return _status_mb("VmHWM") or peak_memory_gb(torch.device("cpu")) * 1e3


def resident_mb():
    """Resident memory of this process now; if the system does not report it, the peak so far."""
    return _status_mb("VmRSS") or peak_mb()


def _status_mb(key):
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(key)) * 1024 / 1e6
    except (OSError, StopIteration):
        return None
