# SPDX-License-Identifier: Apache-2.0
"""report.html: a page about a run, in one file that loads nothing else.

curves.py    the log as charts          report.html, report.css, report.js    the page
live.js      loads the page again while the run lives
sheets.py    samples, small enough      uplot/    the chart library, as published (MIT)
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
import time
from collections.abc import Iterator
from dataclasses import fields
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

import stylegan
from stylegan.files import whole_file
from stylegan.runs.history import Run, read_run
from stylegan.runs.report.curves import charts_of
from stylegan.runs.report.sheets import sheets_of
from stylegan.words import duration, hours, short

HERE = Path(__file__).parent
NAME = "report.html"
HIDDEN_FACTS = (
    "class names",
    "class counts",
    "label names",
)  # of run.json; a row each would be too long
MAX_EVENTS = 500  # rows of the table; a run that warns at every step has more


def write_report(run_dir: str | Path) -> Path:
    """Write report.html into the run folder, without what is damaged there. Returns: its path.

    Raises: OSError if it cannot be written.
    """
    path = Path(run_dir) / NAME
    page = _page(run_dir).encode("utf-8", "replace")  # file names need not be valid UTF-8
    with whole_file(path) as part:
        part.write_bytes(page)
    return path


def _page(run_dir: str | Path) -> str:
    run = read_run(run_dir)
    # A run that writes its report at its end still holds the lock.
    state = run.ended or run.state
    sheets, reals = sheets_of(run.folder)
    charts = charts_of(run.metrics)
    data = {
        **charts,
        "written": round(time.time()) if state == "running" else None,
        "marks": [e for e in run.events if e["event"] in ("resumed", "warning")][-MAX_EVENTS:],
        "sheets": [
            {
                "kimg": short(sheet.kimg),
                "columns": sheet.columns,
                "rows": sheet.rows,
                "classes": sheet.classes,
            }
            for sheet in sheets
        ],
    }
    scripts = [_license() + _text("uplot/uPlot.iife.min.js"), _text("report.js"), _text("live.js")]
    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        hours=hours, duration=duration, short=short, moment=_moment, number=_number
    )
    left = run.seconds_left if state == "running" else None
    return environment.get_template(NAME).render(
        run=run,
        state=state,
        name=run.folder.resolve().name,
        left=left if left is not None and math.isfinite(left) else None,
        facts=_facts(run),
        classes=_names(run, "class_names"),
        labels=_names(run, "label_names"),
        charts=charts,
        sheets=sheets,
        reals=reals,
        events=run.events[-MAX_EVENTS:],
        warnings=[e for e in run.events if e["event"] == "warning"],
        settings=_settings(run),
        version=stylegan.__version__,
        now=datetime.now().astimezone().isoformat(),
        styles=Markup(_text("uplot/uPlot.min.css") + _text("report.css")),
        scripts=[Markup(script) for script in scripts],
        hashes=[_hash(script) for script in scripts],
        data=Markup(_json(data)),
    )


def _text(name: str) -> str:
    return (HERE / name).read_text("utf-8")


def _license() -> str:
    return f"/*! {_text('uplot/LICENSE')}*/\n"


def _hash(script: str) -> str:
    """The hash by which the Content-Security-Policy allows this script and no other."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _json(data: Any) -> str:
    """JSON for a <script> element, which the first `</script` would end, even inside a string."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _facts(run: Run) -> dict[str, str]:
    """{name: text} of what run.json holds besides settings and classes."""
    about = dict(run.about or {})
    for name in ("format", "version", "config", "kimg"):
        about.pop(name, None)
    return {name: text for name, text in _flat(about) if not name.endswith(HIDDEN_FACTS)}


def _names(run: Run, key: str) -> list[str]:
    """Those of the classes, or of the labels."""
    dataset = (run.about or {}).get("dataset")
    names = dataset.get(key) if isinstance(dataset, dict) else None
    return [str(name) for name in names] if isinstance(names, (list, tuple)) else []


def _flat(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """(name, text) of every value in nested dictionaries."""
    for name, value in values.items():
        label = f"{prefix}{name}".replace("_", " ")
        if isinstance(value, dict):
            yield from _flat(value, f"{label} ")
        else:
            yield label, _moment(_number(value))


def _settings(run: Run) -> dict[str, dict[str, tuple[str, bool]]]:
    """{part: {name: (text, whether it is the default)}} of the config."""
    config = run.about and run.about.get("config")
    if not config:
        return {}
    table = {}
    for part in fields(config):
        values = getattr(config, part.name)
        defaults = type(values)()
        table[part.name] = {
            f.name: (
                _number(getattr(values, f.name)),
                getattr(values, f.name) == getattr(defaults, f.name),
            )
            for f in fields(values)
        }
    return table


def _number(value: Any) -> str:
    """A setting or a measurement as text."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}" if math.isfinite(value) else str(value)
    if isinstance(value, (list, tuple)):
        return ", ".join(_number(v) for v in value)
    return str(value)


def _moment(text: str) -> str:
    """A time of the log in this machine's time zone. Other texts stay as they are."""
    if not re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d", text):
        return text
    try:
        return datetime.fromisoformat(text).astimezone().strftime("%Y-%m-%d %H:%M %Z")
    except (ValueError, OverflowError, OSError):
        return text
