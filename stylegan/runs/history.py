# SPDX-License-Identifier: Apache-2.0
"""What a run folder says about its run. Reading never raises, whatever state the folder is in."""

from __future__ import annotations

import json
import math
import os
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from stylegan.config import Config
from stylegan.errors import UserError
from stylegan.runs.folder import RUN, is_locked, read_about
from stylegan.snapshots import CONFIG, read_json, snapshots_of
from stylegan.words import one_line

LOG, SAMPLES, REALS = "log.jsonl", "samples", "reals.png"
ENDS = ("finished", "interrupted", "failed")  # events that may be the last of a log
TAIL = 64 << 10  # bytes of the log that `tail` reads, about 150 lines


@dataclass(frozen=True)
class Run:
    """What the folder of a run says."""

    folder: Path
    about: dict[str, Any] | None  # run.json with a `Config`, or else the newest snapshot's config
    damage: str | None  # why run.json cannot be read
    state: str  # new, running, killed, or the event that ended it: finished, interrupted, failed
    ended: str | None  # that event, also while the process still holds the folder
    kimg: float
    target_kimg: float | None
    metrics: list[dict[str, float]]  # {name: number}, one of them "kimg", in the order of the log
    events: list[dict[str, Any]]  # {"event", "text", "time": text, "kimg": number or None}
    last: dict[str, float]  # the newest value of every metric
    written: float | None  # when the log was last written, in seconds since 1970

    @property
    def mean_images_per_s(self) -> float | None:
        """Speed over the whole run, by its log."""
        seen, seconds = self.last.get("kimg"), self.last.get("seconds")
        speed = seen * 1000 / seconds if seen and seconds and seconds > 0 else None
        return speed if speed is not None and math.isfinite(speed) else None

    @property
    def seconds_left(self) -> float | None:
        """Until a running run ends, at its mean speed. None if that is not known."""
        speed = self.mean_images_per_s
        if self.state != "running" or not speed or self.target_kimg is None:
            return None
        left = max(self.target_kimg - self.kimg, 0) * 1000 / speed
        config, begun = (self.about or {}).get("config"), self._begun
        if config and config.train.minutes and begun is not None:
            left = min(left, max(begun + config.train.minutes * 60 - time.time(), 0))
        return left

    @property
    def _begun(self) -> float | None:
        """When the process that trains began, in seconds since 1970."""
        begins = [e["time"] for e in self.events if e["event"] in ("started", "resumed")]
        try:
            return datetime.fromisoformat(begins[-1]).timestamp() if begins else None
        except (ValueError, OverflowError, OSError):
            return None


def looks_like_run(path: str | Path) -> bool:
    """Whether `path` is the folder of a run, which may be old or damaged."""
    found = any(os.path.isfile(Path(path) / name) for name in (RUN, LOG))
    return found or bool(snapshots_of(path))


def read_run(run_dir: str | Path, tail: bool = False) -> Run:
    """Read a run folder and leave out what is damaged or missing.

    Args:
        run_dir: the folder; old ones have no run.json.
        tail: read only the end of the log. That is enough for `last` and `state`, however long the
            run was.
    """
    folder = Path(run_dir)
    about, damage = _about(folder)
    raw, written = _lines(folder / LOG, tail)
    metrics: list[dict[str, float]] = []
    events: list[dict[str, Any]] = []
    newest: dict[str, Any] | None = None
    for line in raw:
        newest = _parsed(line)
        if newest and "event" in newest:
            events.append(newest)
        elif newest:
            metrics.append(newest)
    last: dict[str, float] = {}
    for values in metrics:
        last.update(values)
    ended = newest["event"] if newest and newest.get("event") in ENDS else None
    config = about and about.get("config")
    kimg, target = _kimg(metrics, events, about), _number(config.train.kimg) if config else None
    if not events and not os.path.exists(folder / RUN) and metrics and target and kimg >= target:
        ended = "finished"  # runs without a run.json logged no events
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


def _about(folder: Path) -> tuple[dict[str, Any] | None, str | None]:
    """(run.json or its substitute, what is wrong with run.json)."""
    damage = None
    if os.path.exists(folder / RUN):  # Path.exists raises without permission
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


def _lines(path: Path, tail: bool) -> tuple[list[bytes], float | None]:
    """(the lines of the log, when it was written)."""
    try:
        with path.open("rb") as f:
            start = max(f.seek(0, 2) - TAIL, 0) if tail else 0
            f.seek(start)  # probably within a line, whose rest is then not JSON
            data = f.read()
        written = path.stat().st_mtime
    except OSError:
        return [], None
    return [line for line in data.split(b"\n") if line.strip()], written


def _parsed(line: bytes) -> dict[str, Any] | None:
    """A line as metrics or an event. None if it is neither, as after a crash."""
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


def _number(value: object) -> float | None:
    """`value` as a float, or None if it is not a number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return float(value)
    except OverflowError:
        return None


def _finite(value: object) -> float | None:
    number = _number(value)
    return number if number is not None and math.isfinite(number) else None


def _kimg(
    metrics: list[dict[str, float]], events: list[dict[str, Any]], about: dict[str, Any] | None
) -> float:
    """How far the run is, by its log or else by its newest snapshot."""
    seen = [line["kimg"] for line in (*metrics[-1:], *events[-1:]) if line["kimg"] is not None]
    if seen:
        return max(seen)
    return _finite((about or {}).get("kimg")) or 0.0
