# SPDX-License-Identifier: Apache-2.0
"""The log as charts: which metrics share one, and how many points a curve has at most."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from stylegan.words import ceil_div, rounded

MAX_POINTS = 2000  # per curve; no screen shows more
DIGITS = 5  # of a number: a pixel of a large chart is 1 in 1000


@dataclass(frozen=True)
class Chart:
    """Metrics that are drawn together."""

    title: str
    labels: dict[str, str]  # {metric: label}
    two_axes: bool = False  # each of two metrics has a scale of its own


CHARTS = (
    Chart("Losses", {"loss/G": "G", "loss/D": "D"}),
    Chart("Regularization", {"loss/r1": "R1", "loss/path_length": "path length"}, two_axes=True),
    Chart("Sign of D's output", {"sign/real": "real", "sign/fake": "generated"}),
    Chart("How much the images of a batch differ", {"std/real": "real", "std/fake": "generated"}),
    Chart("Speed and memory", {"images_per_s": "images/s", "memory_gb": "GB"}, two_axes=True),
    Chart("Non-finite gradients", {"nonfinite_gradients": "per step"}),
    Chart("Mean path length", {"pl_mean": "mean"}),
    Chart("Probability of augmentation", {"augment_p": "p"}),
)
NO_CURVE = {"kimg", "seconds"}
ONLY_IF_ANY = {"nonfinite_gradients", "pl_mean"}  # no curve if all are zero


def charts_of(metrics: list[dict[str, float]]) -> dict[str, Any]:
    """Charts of what was logged, for `report.js`.

    Args:
        metrics: the lines of the log, {name: number}, each with "kimg".
    Returns: {"x": kimg of every point, "charts": [...], "other": [...]}, a chart being {"title",
        "two_axes", "series": [{"label", "y", "last"}]}. A point of y is a number, None for NaN (a
        gap), or False if nothing was logged. If a point stands for many lines, "low" and "high"
        are their minimum and maximum.
    """
    lines = _ascending(metrics)
    buckets = _buckets(lines)
    names = {name: None for line in lines for name in line if name not in NO_CURVE}
    series = {name: _series(name, buckets) for name in names}
    for name in ONLY_IF_ANY & set(series):
        if not any(series[name]["y"]) and None not in series[name]["y"]:
            del series[name]
    charts = [_chart(chart, series) for chart in CHARTS]
    return {
        "x": [rounded(_mean([line["kimg"] for line in bucket]), DIGITS) for bucket in buckets],
        "charts": [chart for chart in charts if chart["series"]],
        "other": [_chart(Chart(name, {name: name}), series) for name in list(series)],
    }


def _chart(chart: Chart, series: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """A chart of the series that were logged, which it takes out of `series`."""
    found = [
        {"label": label, **series.pop(name)}
        for name, label in chart.labels.items()
        if name in series
    ]
    return {"title": chart.title, "two_axes": chart.two_axes and len(found) > 1, "series": found}


def _ascending(metrics: list[dict[str, float]]) -> list[dict[str, float]]:
    """Sorted by kimg. Of two lines at the same kimg the later one counts."""
    by_kimg = {line["kimg"]: line for line in metrics}
    return [by_kimg[kimg] for kimg in sorted(by_kimg)]


def _buckets(lines: list[dict[str, float]]) -> list[list[dict[str, float]]]:
    """Lists of neighbouring lines that become one point each. The first and the last line stay
    alone."""
    if len(lines) <= MAX_POINTS:
        return [[line] for line in lines]
    inner = lines[1:-1]
    size = ceil_div(len(inner), MAX_POINTS - 2)
    middle = [inner[i : i + size] for i in range(0, len(inner), size)]
    return [lines[:1], *middle, lines[-1:]]


def _series(name: str, buckets: list[list[dict[str, float]]]) -> dict[str, Any]:
    thinned = any(len(bucket) > 1 for bucket in buckets)
    y: list[Any] = []
    low: list[Any] = []
    high: list[Any] = []
    for bucket in buckets:
        values = [line[name] for line in bucket if name in line]
        finite = [v for v in values if math.isfinite(v)]
        nothing = None if values else False
        y.append(rounded(_mean(finite), DIGITS) if finite else nothing)
        if thinned:
            low.append(rounded(min(finite), DIGITS) if finite else nothing)
            high.append(rounded(max(finite), DIGITS) if finite else nothing)
    known = [v for v in y if v is not None and v is not False]  # 0 == False
    series = {"y": y, "last": known[-1] if known else None}
    return {**series, "low": low, "high": high} if thinned else series


def _mean(values: list[float]) -> float:
    return math.fsum(values) / len(values)
