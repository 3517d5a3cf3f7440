# SPDX-License-Identifier: Apache-2.0
"""Which of several equivalent ways computes an op fastest: by rule, or by measuring once.

The first call of a shape runs every candidate and keeps the fastest. All later calls take that one,
so they give the same bits. The first candidate, the rule's choice, runs if results must not depend
on a measurement (`planning("fixed")`, PyTorch's deterministic algorithms), if a derivative may be
asked for, and under the compiler.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

T = TypeVar("T")
Shape = tuple[tuple[str, Any], ...]

MODES = ("measure", "fixed")
MAX_RUNS = 3  # of each candidate; the first warms up
MAX_RATIO = 1.5  # a candidate this many times slower than the best after a round is not run again
MIN_SPEEDUP = 0.95  # share of the rule's time that another candidate must stay below to replace it
MAX_PLANS = 512


@dataclass(frozen=True, slots=True)
class Plan:
    """What a measurement found for one shape of an op."""

    op: str
    device_type: str
    shape: Shape
    strategy: str
    ms: dict[str, float]  # of each candidate


_plans: OrderedDict[Hashable, Plan] = OrderedDict()
_lock = threading.Lock()
_mode: str | None = None
_forced: str | None = None


@contextmanager
def planning(mode: str, unless_set: bool = False) -> Iterator[None]:
    """Choose how strategies are picked, inside a `with` block, for the whole process.

    Args:
        mode: "measure" picks the fastest by timing the first calls of each shape; "fixed" goes by
            rule: the same computation, and the same bits, in every process. The environment
            variable STYLEGAN_OPS_PLAN sets the default, which is "measure".
        unless_set: change nothing if a surrounding block or the environment has chosen.
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
def forced(strategy: str) -> Iterator[None]:
    """Every op that has this strategy takes it, in the block; for tests and benchmarks."""
    global _forced
    before = _forced
    _forced = strategy
    try:
        yield
    finally:
        _forced = before


def is_forced(strategy: str) -> bool:
    """Whether `forced` asks for this one."""
    return _forced == strategy


def settled(
    candidates: Sequence[str], others: Sequence[str], device: torch.device, differentiable: bool
) -> str | None:
    """The strategy to run if there is nothing to measure, else None.

    Args:
        candidates: names; the first is the rule's choice.
        others: names that work too but are never the fastest.
        differentiable: whether a derivative may be asked for.
    """
    if _forced in candidates or _forced in others:
        return _forced
    if len(candidates) == 1 or differentiable or not _measures_on(device):
        return candidates[0]
    return None


def run_fastest(
    op: str,
    shape: Shape,
    candidates: Sequence[str],
    device: torch.device,
    run: Callable[[str], T],
) -> T:
    """run(name) of the fastest candidate, which is measured if it is not known yet.

    Args:
        op, shape: what is planned; shape is a tuple of (name, value) with all that a time depends
            on, besides the candidates.
        candidates, device: as for `settled`.
        run: function of a candidate's name, without side effects.
    """
    key = op, device.type, shape, device.index, torch.get_num_threads(), tuple(candidates)
    with _lock:
        plan = _plans.get(key)
        if plan is not None:
            _plans.move_to_end(key)
    if plan is not None:
        return run(plan.strategy)
    if device.type == "cuda" and torch.cuda.is_current_stream_capturing():
        return run(candidates[0])  # nothing can be timed
    measured = _measure(candidates, device, run)
    strategy = _fastest(measured.ms, candidates[0])
    with _lock:
        _plans[key] = Plan(op, device.type, shape, strategy, measured.ms)
        if len(_plans) > MAX_PLANS:
            _plans.popitem(last=False)
    return measured.result if measured.last == strategy else run(strategy)


def plans(op: str, device_type: str) -> list[dict[str, Any]]:
    """What has been measured for an op on a device: rows with shape, strategy, and ms by
    candidate."""
    with _lock:
        found = [p for p in _plans.values() if (p.op, p.device_type) == (op, device_type)]
    return [{**dict(p.shape), "strategy": p.strategy, "ms": p.ms} for p in found]


@dataclass(frozen=True, slots=True)
class _Measured:
    ms: dict[str, float]  # of each candidate
    last: str | None  # name of the last run
    result: Any  # of the last run


def _measure(
    candidates: Sequence[str], device: torch.device, run: Callable[[str], Any]
) -> _Measured:
    times: dict[str, list[float]] = {name: [] for name in candidates}
    best = dict.fromkeys(candidates, 0.0)
    last = result = None
    for _ in range(MAX_RUNS):
        for name in candidates:
            if best[name] > MAX_RATIO * min(best.values()):
                continue
            last = result = None  # frees its memory for the next run
            try:
                ms, result = _timed(run, name, device)
                last = name
            except torch.OutOfMemoryError:
                if name == candidates[0]:
                    raise
                ms = math.inf
            times[name].append(ms)
        best = {name: min(ms[1:] or ms) for name, ms in times.items()}
    return _Measured(best, last, result)


def _fastest(ms: dict[str, float], rule: str) -> str:
    fastest = min(ms, key=lambda name: ms[name])
    return fastest if ms[fastest] < MIN_SPEEDUP * ms[rule] else rule


def _timed(run: Callable[[str], Any], name: str, device: torch.device) -> tuple[float, Any]:
    """(ms, result)"""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    result = run(name)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return (time.perf_counter() - start) * 1e3, result


def _measures_on(device: torch.device) -> bool:
    if torch.compiler.is_compiling() or torch.are_deterministic_algorithms_enabled():
        return False
    mode = _mode or _checked(os.environ.get("STYLEGAN_OPS_PLAN", "measure"), "STYLEGAN_OPS_PLAN")
    return mode == "measure" and device.type in ("cpu", "cuda")


def _checked(mode: str, source: str) -> str:
    if mode not in MODES:
        raise ValueError(f"{source}: expected one of {', '.join(MODES)}, got {mode!r}")
    return mode
