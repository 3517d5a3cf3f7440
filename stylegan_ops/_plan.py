# SPDX-License-Identifier: Apache-2.0
"""Which of several equivalent ways computes an op fastest: by rule, or by measuring once.

The first calls of a shape try one candidate each, on the work that is to be done anyway, and their
times are compared; from then on the fastest runs. Nothing is computed twice. Where the same bits
are wanted in every process (`planning("fixed")`, PyTorch's deterministic algorithms), where a
derivative will be asked for, under the compiler and while a CUDA graph is captured, the first
candidate, the rule's, runs.
"""

import os
import threading
import time
from collections import OrderedDict
from contextlib import contextmanager

import torch

MODES = ("measure", "fixed")
RUNS = 3  # of each candidate; the first warms up
HOPELESS = 2.0  # a candidate that takes so many times the best after its first run is tried no more
WORTH = 0.95  # share of the rule's time that another must stay below to replace it
SIZE = 512  # plans that are kept

_plans = OrderedDict()  # key -> Plan
_lock = threading.Lock()
_mode = None
_forced = None


@contextmanager
def planning(mode):
    """Choose how strategies are picked, in the block, for the whole process.

    Args:
        mode: "measure" picks the fastest by timing the first calls of each shape; "fixed" goes by
            rule: the same computation, and the same bits, in every process. The environment
            variable STYLEGAN_OPS_PLAN sets the default, which is "measure".
    Raises: ValueError for any other mode.
    """
    global _mode
    before = _mode
    _mode = _checked(mode, "planning")
    try:
        yield
    finally:
        _mode = before


@contextmanager
def forced(strategy):
    """Every op that has this strategy takes it, in the block; for tests and benchmarks."""
    global _forced
    before = _forced
    _forced = strategy
    try:
        yield
    finally:
        _forced = before


class Plan:
    """Times of the candidates for one key, in ms, and what follows from them."""

    def __init__(self, candidates):
        self.times = {name: [] for name in candidates}
        self.chosen = None
        self.pending = []  # (name, start, end): CUDA events that have not been reached yet

    def next(self):
        """The candidate to run now."""
        if self.chosen is None:
            self.collect()
        return self.chosen or self._least_tried()

    def note(self, name, ms):
        """One run of a candidate took so long."""
        self.times[name].append(ms)
        if self._least_tried() is None:
            self.chosen = self.fastest()

    def collect(self):
        """Take note of the CUDA events that have been reached."""
        waiting, self.pending = self.pending, []
        for name, start, end in waiting:
            if end.query():
                self.note(name, start.elapsed_time(end))
            else:
                self.pending.append((name, start, end))

    def fastest(self):
        """The candidate with the best time; the rule's unless another is clearly faster."""
        rule = next(iter(self.times))
        best = {name: min(times[1:] or times) for name, times in self.times.items()}
        name = min(best, key=best.get)
        return name if best[name] < WORTH * best[rule] else rule

    def _least_tried(self):
        """The candidate with the fewest runs that is still in question, or None."""
        best = min((min(t[1:] or t) for t in self.times.values() if t), default=0)
        runs = {}
        for name, times in self.times.items():
            queued = sum(name == n for n, _, _ in self.pending)
            hopeless = len(times) > 0 and min(times) > HOPELESS * best
            if len(times) + queued < RUNS and not hopeless:
                runs[name] = len(times) + queued
        return min(runs, key=runs.get, default=None)


def settled(candidates, others, device, differentiable):
    """The strategy to run where there is nothing to measure, else None.

    Args:
        candidates: names; the first is the rule's choice.
        others: names that would serve too, but are never the fastest.
        device: torch.device.
        differentiable: whether a derivative may be asked for.
    """
    if _forced in candidates or _forced in others:
        return _forced
    if len(candidates) == 1 or differentiable or not _may_measure(device):
        return candidates[0]
    return None


@contextmanager
def measured(op, shape, candidates, device):
    """The name of the candidate to run in the block, which is timed if need be.

    Args:
        op, shape: what is planned; shape is a tuple of (name, value) that says all that a time
            depends on.
        candidates, device: as for `settled`.
    """
    key = op, device.type, shape, torch.get_num_threads() if device.type == "cpu" else 0
    with _lock:
        plan = _plans.setdefault(key, Plan(candidates))
        _plans.move_to_end(key)
        if len(_plans) > SIZE:
            _plans.popitem(last=False)
        name = plan.next()
    if name is None or plan.chosen is not None:  # all are tried, or just being so
        yield name or candidates[0]
    else:
        with _timed(plan, name, device):
            yield name


def plans(op, device_type):
    """What has been planned for an op on a device: rows with shape, strategy, and ms by candidate;
    strategy is None while candidates are tried."""
    with _lock:
        found = [(key, plan) for key, plan in _plans.items() if key[:2] == (op, device_type)]
    return [
        {
            **dict(key[2]),
            "strategy": plan.chosen,
            "ms": {name: min(t[1:] or t) for name, t in plan.times.items() if t},
        }
        for key, plan in found
    ]


def forget():
    """Drop all plans."""
    with _lock:
        _plans.clear()


def _may_measure(device):
    if torch.compiler.is_compiling() or torch.are_deterministic_algorithms_enabled():
        return False
    mode = _mode or _checked(os.environ.get("STYLEGAN_OPS_PLAN", "measure"), "STYLEGAN_OPS_PLAN")
    if mode == "fixed" or device.type not in ("cpu", "cuda"):
        return False
    return device.type == "cpu" or not torch.cuda.is_current_stream_capturing()


@contextmanager
def _timed(plan, name, device):
    if device.type == "cpu":
        start = time.perf_counter()
        yield
        with _lock:
            plan.note(name, (time.perf_counter() - start) * 1e3)
        return
    with torch.cuda.device(device):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        yield
        end.record()
    with _lock:
        plan.pending.append((name, start, end))


def _checked(mode, source):
    if mode not in MODES:
        raise ValueError(f"{source}: expected one of {', '.join(MODES)}, got {mode!r}")
    return mode
