# SPDX-License-Identifier: Apache-2.0
"""What a run folder tells of its run, whatever state the folder is in: reading it never raises."""

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path

from stylegan.config import Config
from stylegan.errors import UserError
from stylegan.networks import CONFIG, read_json, snapshots_of
from stylegan.runs.folder import RUN, is_locked, read_about
from stylegan.words import one_line

LOG, SAMPLES, REALS = "log.jsonl", "samples", "reals.png"
ENDS = ("finished", "interrupted", "failed")  # events that may be the last of a log
TAIL = 64 << 10  # bytes of the log that `tail` reads, some 150 lines


@dataclass(frozen=True)
class Run:
    """A run, as its folder tells it."""

    folder: Path
    about: dict | None  # run.json, "config" a `Config`; without one, the newest snapshot's config
    damage: str | None  # why there is a run.json that cannot be read
    state: str  # new, running, killed, or the event that ended it: finished, interrupted, failed
    ended: str | None  # that event; while the process still holds the folder too
    kimg: float
    target_kimg: float | None
    metrics: list  # {name: number}, "kimg" among them; in the order of the log
    events: list  # {"event", "text", "time": text, "kimg": number or None}
    last: dict  # the newest value of every metric
    written: float | None  # when the log was last written, in seconds since 1970


def looks_like_run(path):
    """Whether `path` is the folder of a run, an older or a damaged one too."""
    found = any(os.path.isfile(Path(path) / name) for name in (RUN, LOG))
    return found or bool(snapshots_of(path))


def read_run(run_dir, tail=False):
    """What is known of the run in `run_dir`; what is damaged or missing is left out.

    Args:
        run_dir: a run folder; older ones have no run.json.
        tail: read only the end of the log: enough for `last` and `state`, however long the run.
    Returns: `Run`.
    """
    folder = Path(run_dir)
    about, damage = _about(folder)
    raw, written = _lines(folder / LOG, tail)
    metrics, events, newest = [], [], None
    for line in raw:
        newest = _parsed(line)
        if newest and "event" in newest:
            events.append(newest)
        elif newest:
            metrics.append(newest)
    last = {}
    for line in metrics:
        last.update(line)
    ended = newest["event"] if newest and newest.get("event") in ENDS else None
    config = about and about.get("config")
    kimg, target = _kimg(metrics, events, about), _number(config.train.kimg) if config else None
    if not events and not os.path.exists(folder / RUN) and metrics and target and kimg >= target:
        ended = "finished"  # before there was a run.json, logs had no events
    return Run(
        folder=folder,
        about=about,
        damage=damage,
        state="running" if is_locked(folder) else ended or ("killed" if raw else "new"),
        ended=ended,
        kimg=kimg,
        target_kimg=target,
        metrics=metrics,
        events=events,
        last=last,
        written=written,
    )


def _about(folder):
    """(run.json, or what stands in for it; what is wrong with run.json)."""
    damage = None
    if os.path.exists(folder / RUN):  # of Path raises where it may not look
        try:
            return read_about(folder), None
        except UserError as e:
            damage = one_line(e)
        except RecursionError:
            damage = f"{folder / RUN}: not the description of a run (nested too deeply)"
    for snapshot in reversed(snapshots_of(folder)):
        try:
            content = read_json(snapshot / CONFIG)
            return {**content, "config": Config.from_dict(content["config"])}, damage
        except (UserError, KeyError, TypeError, AttributeError, ValueError, RecursionError):
            continue
    return None, damage


def _lines(path, tail):
    """(the lines of the log as bytes, when it was written)."""
    try:
        with path.open("rb") as f:
            start = max(f.seek(0, 2) - TAIL, 0) if tail else 0
            f.seek(start)  # most likely in the midst of a line, which then is no JSON
            data = f.read()
        written = path.stat().st_mtime
    except OSError:
        return [], None
    return [line for line in data.split(b"\n") if line.strip()], written


def _parsed(line):
    """A line as a metric or an event; None for what a crash left."""
    try:
        content = json.loads(line.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None
    if not isinstance(content, dict):
        return None
    if "event" in content:
        texts = {name: str(content.get(name, "")) for name in ("event", "text", "time")}
        return {**texts, "kimg": _finite(content.get("kimg"))}
    numbers = {k: n for k, v in content.items() if (n := _number(v)) is not None}
    return numbers if _finite(numbers.get("kimg")) is not None else None


def _number(value):
    """`value` as a float; None if it is no number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return float(value)
    except OverflowError:
        return None


def _finite(value):
    number = _number(value)
    return number if number is not None and math.isfinite(number) else None


def _kimg(metrics, events, about):
    """How far the run is: by its log, else by its newest snapshot."""
    seen = [line["kimg"] for line in (*metrics[-1:], *events[-1:]) if line["kimg"] is not None]
    if seen:
        return max(seen)
    return _finite((about or {}).get("kimg")) or 0.0
