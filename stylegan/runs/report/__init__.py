# SPDX-License-Identifier: Apache-2.0
"""report.html: a run to look at, in one file that loads nothing else.

curves.py    the log as charts          report.html, report.css, report.js    the page
sheets.py    samples, small enough      uplot/    the chart library, as published (MIT)
"""

import base64
import hashlib
import json
import math
import re
from dataclasses import fields
from datetime import datetime
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

import stylegan
from stylegan.files import whole_file
from stylegan.runs.history import read_run
from stylegan.runs.report.curves import charts_of
from stylegan.runs.report.sheets import sheets_of
from stylegan.words import hours, short

HERE = Path(__file__).parent
NAME = "report.html"
EVENTS = 500  # rows of the table; a run that warns at every step has more


def write_report(run_dir):
    """Write report.html into the run folder, whole or not at all; returns its path.

    Raises: OSError if it cannot be written. What is damaged in the folder is left out.
    """
    path = Path(run_dir) / NAME
    page = _page(run_dir).encode("utf-8", "replace")  # names of files may hold half characters
    with whole_file(path) as part:
        part.write_bytes(page)
    return path


def _page(run_dir):
    run = read_run(run_dir)
    sheets, reals = sheets_of(run.folder)
    charts = charts_of(run.metrics)
    data = {
        **charts,
        "marks": [e for e in run.events if e["event"] in ("resumed", "warning")][-EVENTS:],
        "sheets": [short(sheet.kimg) for sheet in sheets],
    }
    scripts = [_licence() + _text("uplot/uPlot.iife.min.js"), _text("report.js")]
    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(hours=hours, short=short, moment=_moment, number=_number)
    return environment.get_template(NAME).render(
        run=run,
        # A run that writes its report at its end still holds the folder.
        state=run.ended or run.state,
        name=run.folder.resolve().name,
        facts=_facts(run),
        classes=_classes(run),
        charts=charts,
        sheets=sheets,
        reals=reals,
        events=run.events[-EVENTS:],
        warnings=[e for e in run.events if e["event"] == "warning"],
        settings=_settings(run),
        version=stylegan.__version__,
        now=datetime.now().astimezone().isoformat(),
        styles=Markup(_text("uplot/uPlot.min.css") + _text("report.css")),
        scripts=[Markup(script) for script in scripts],
        hashes=[_hash(script) for script in scripts],
        data=Markup(_json(data)),
    )


def _text(name):
    return (HERE / name).read_text("utf-8")


def _licence():
    return f"/*! {_text('uplot/LICENSE')}*/\n"


def _hash(script):
    """What a Content-Security-Policy calls the script: no other one runs on the page."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _json(data):
    """JSON for a <script>, which ends at the first `</script` whatever stands around it."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _facts(run):
    """{name: text} of what run.json tells besides settings and classes."""
    about = dict(run.about or {})
    for name in ("format", "version", "config", "kimg"):
        about.pop(name, None)
    return {name: text for name, text in _flat(about) if not name.endswith("class names")}


def _classes(run):
    dataset = (run.about or {}).get("dataset")
    names = dataset.get("class_names") if isinstance(dataset, dict) else None
    return [str(name) for name in names] if isinstance(names, (list, tuple)) else []


def _flat(values, prefix=""):
    """(name, text) of what is in nested dictionaries."""
    for name, value in values.items():
        label = f"{prefix}{name}".replace("_", " ")
        if isinstance(value, dict):
            yield from _flat(value, f"{label} ")
        else:
            yield label, _moment(_number(value))


def _settings(run):
    """{part: {name: (text, whether it is the default)}} of the config."""
    config = run.about and run.about.get("config")
    if not config:
        return {}
    table = {}
    for part in fields(config):
        values = getattr(config, part.name)
        usual = type(values)()
        table[part.name] = {
            f.name: (
                _number(getattr(values, f.name)),
                getattr(values, f.name) == getattr(usual, f.name),
            )
            for f in fields(values)
        }
    return table


def _number(value):
    """A setting or a measurement in words."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}" if math.isfinite(value) else str(value)
    if isinstance(value, (list, tuple)):
        return ", ".join(_number(v) for v in value)
    return str(value)


def _moment(text):
    """A time as the log writes it, in this machine's time zone; as it is if it is none."""
    if not re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d", text):
        return text
    try:
        return datetime.fromisoformat(text).astimezone().strftime("%Y-%m-%d %H:%M %Z")
    except (ValueError, OverflowError, OSError):
        return text
