# SPDX-License-Identifier: Apache-2.0
"""The log as charts: which metrics share one, and at most so many points each."""

import math

POINTS = 2000  # per curve; no screen shows more

# (title, its metrics with their labels; where "two axes" stands, each has a scale of its own)
CHARTS = (
    ("Losses", {"loss/G": "G", "loss/D": "D"}),
    ("Regularisation", {"loss/r1": "R1", "loss/path_length": "path length"}, "two axes"),
    ("Sign of D's output", {"sign/real": "real", "sign/fake": "generated"}),
    ("How much the images of a batch differ", {"std/real": "real", "std/fake": "generated"}),
    ("Speed and memory", {"images_per_s": "images/s", "memory_gb": "GB"}, "two axes"),
    ("Non-finite gradients", {"nonfinite_gradients": "per step"}),
    ("Mean path length", {"pl_mean": "mean"}),
)
NO_CURVE = {"kimg", "seconds"}
ONLY_IF_ANY = {"nonfinite_gradients", "pl_mean"}  # all zeros: nothing to see


def charts_of(metrics):
    """Charts of what was logged, for `report.js`.

    Args:
        metrics: the lines of the log, {name: number} with "kimg" in each.
    Returns: {"x": kimg of every point, "charts": [...], "other": [...]}, a chart being {"title",
        "two_axes", "series": [{"label", "y", "last"}]}. A point of y is a number, None for NaN (a
        gap), or False where nothing was logged. Where points stand for many lines, "low" and
        "high" are the least and the largest of them.
    """
    lines = _ascending(metrics)
    buckets = _buckets(lines)
    names = {name: None for line in lines for name in line if name not in NO_CURVE}
    series = {name: _series(name, buckets) for name in names}
    for name in ONLY_IF_ANY & set(series):
        if not any(series[name]["y"]) and None not in series[name]["y"]:
            del series[name]
    charts = [_chart(title, labels, series, bool(axes)) for title, labels, *axes in CHARTS]
    return {
        "x": [_short(_mean([line["kimg"] for line in bucket])) for bucket in buckets],
        "charts": [chart for chart in charts if chart["series"]],
        "other": [_chart(name, {name: name}, series, False) for name in list(series)],
    }


def _chart(title, labels, series, two_axes):
    """A chart of those of the series that were logged, which it takes out of `series`."""
    found = [
        {"label": label, **series.pop(name)} for name, label in labels.items() if name in series
    ]
    return {"title": title, "two_axes": two_axes and len(found) > 1, "series": found}


def _ascending(metrics):
    """By kimg, the later line of two at the same kimg: what was trained again counts."""
    by_kimg = {line["kimg"]: line for line in metrics}
    return [by_kimg[kimg] for kimg in sorted(by_kimg)]


def _buckets(lines):
    """Lists of neighbouring lines that become one point; the first and the last stay alone."""
    if len(lines) <= POINTS:
        return [[line] for line in lines]
    inner = lines[1:-1]
    size = -(-len(inner) // (POINTS - 2))
    middle = [inner[i : i + size] for i in range(0, len(inner), size)]
    return [lines[:1], *middle, lines[-1:]]


def _series(name, buckets):
    thinned = any(len(bucket) > 1 for bucket in buckets)
    y, low, high = [], [], []
    for bucket in buckets:
        values = [line[name] for line in bucket if name in line]
        finite = [v for v in values if math.isfinite(v)]
        nothing = None if values else False
        y.append(_short(_mean(finite)) if finite else nothing)
        if thinned:
            low.append(_short(min(finite)) if finite else nothing)
            high.append(_short(max(finite)) if finite else nothing)
    known = [v for v in y if v is not None and v is not False]  # 0 == False
    series = {"y": y, "last": known[-1] if known else None}
    return {**series, "low": low, "high": high} if thinned else series


def _mean(values):
    return math.fsum(values) / len(values)


def _short(value):
    return float(f"{value:.5g}")  # a pixel of a large chart is 1 in 1000
