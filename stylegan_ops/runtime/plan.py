# SPDX-License-Identifier: Apache-2.0
"""Which of several equivalent ways computes an op fastest: by rule, or by measuring once.

The first call of a shape runs every candidate and keeps the fastest, which all later calls take, so
that they give the same bits. Where these shall not depend on a measurement (`planning("fixed")`,
PyTorch's deterministic algorithms), where a derivative will be asked for and under the compiler,
the first candidate, the rule's, runs.
"""

import math
import os
import threading
import time
from collections import OrderedDict
from contextlib import contextmanager
from typing import NamedTuple

import torch

MODES = ("measure", "fixed")
RUNS = 3  # of each candidate at most; the first warms up
CLEAR = 1.5  # one that takes so many times the best after a round is not tried again
WORTH = 0.95  # share of the rule's time that another must stay below to replace it
SIZE = 512  # plans that are kept

_plans = OrderedDict()  # key -> Plan
_lock = threading.Lock()
_mode = None
_forced = None


@contextmanager
def planning(mode, unless_set=False):
    """Choose how strategies are picked, in the block, for the whole process.

    Args:
        mode: "measure" picks the fastest by timing the first calls of each shape; "fixed" goes by
            rule: the same computation, and the same bits, in every process. The environment
            variable STYLEGAN_OPS_PLAN sets the default, which is "measure".
        unless_set: leave it where a block around this one or the environment has chosen.
    Raises: ValueError for any other mode.
    """
    global _mode
    _checked(mode, "planning")
    if unless_set and (_mode is not None or "STYLEGAN_OPS_PLAN" in os.environ):
        yield
        return
    before = _mode
    _mode = mode
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


class Plan(NamedTuple):
    """What a measurement found."""

    strategy: str
    ms: dict  # of each candidate


def is_forced(strategy):
    """Whether `forced` asks for this one."""
    return _forced == strategy


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
    if len(candidates) == 1 or differentiable or not _plans_for(device):
        return candidates[0]
    return None


def run_fastest(op, shape, candidates, device, run):
    """run(name) of the fastest candidate, found out if it is not known yet.

    Args:
        op, shape: what is planned; shape is a tuple of (name, value) that says all that a time
            depends on, besides the candidates.
        candidates, device: as for `settled`.
        run: function of a candidate's name, without side effects.
    """
    key = op, device.type, shape, (device.index, torch.get_num_threads(), tuple(candidates))
    with _lock:
        plan = _plans.get(key)
        if plan is not None:
            _plans.move_to_end(key)
    if plan is not None:
        return run(plan.strategy)
    if device.type == "cuda" and torch.cuda.is_current_stream_capturing():
        return run(candidates[0])  # nothing can be timed
    plan, last, result = _measure(candidates, device, run)
    with _lock:
        _plans[key] = plan
        if len(_plans) > SIZE:
            _plans.popitem(last=False)
    return result if last == plan.strategy else run(plan.strategy)


def _measure(candidates, device, run):
    """(plan, name and result of the last run)"""
    times = {name: [] for name in candidates}
    best = dict.fromkeys(candidates, 0.0)
    rule = candidates[0]
    last = result = None
    for _ in range(RUNS):
        for name in candidates:
            if best[name] > CLEAR * min(best.values()):
                continue
            last = result = None  # its memory serves the next run
            try:
                ms, result = _timed(run, name, device)
                last = name
            except torch.OutOfMemoryError:
                if name == rule:
                    raise
                ms = math.inf
            times[name].append(ms)
        best = {name: min(ms[1:] or ms) for name, ms in times.items()}
    fastest = min(best, key=best.get)
    return Plan(fastest if best[fastest] < WORTH * best[rule] else rule, best), last, result


def _timed(run, name, device):
    """(ms, result)"""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    result = run(name)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return (time.perf_counter() - start) * 1e3, result


def plans(op, device_type):
    """What has been measured for an op on a device: rows with shape, strategy, and ms by
    candidate."""
    with _lock:
        found = [(key, plan) for key, plan in _plans.items() if key[:2] == (op, device_type)]
    return [{**dict(key[2]), **plan._asdict()} for key, plan in found]


def _plans_for(device):
    if torch.compiler.is_compiling() or torch.are_deterministic_algorithms_enabled():
        return False
    mode = _mode or _checked(os.environ.get("STYLEGAN_OPS_PLAN", "measure"), "STYLEGAN_OPS_PLAN")
    return mode == "measure" and device.type in ("cpu", "cuda")


def _checked(mode, source):
    if mode not in MODES:
        raise ValueError(f"{source}: expected one of {', '.join(MODES)}, got {mode!r}")
    return mode
