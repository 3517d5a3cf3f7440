# SPDX-License-Identifier: Apache-2.0
"""`stylegan runs`: how far every run is."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from stylegan.cli.params import Command
from stylegan.words import hours, printable, short

HEADINGS = (
    *("run", "state", "kimg", "img/s", "mean", "loss G", "loss D", "trained", "left"),
    "last written",
)
TEXTS = (0, 1, 9)  # columns of text, which are aligned to the left
# What --json prints of a run that can be read, besides its name and state.
VALUES = (
    *("kimg", "target_kimg", "images_per_s", "mean_images_per_s", "loss_G", "loss_D"),
    *("seconds", "seconds_left", "written"),
)


@click.command("runs", cls=Command, short_help="List the runs and how far they are.")
@click.argument("folder", metavar="[DIR]", type=click.Path(), default="runs")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.option("--report", is_flag=True, help="Rewrite report.html of every run.")
def command(folder: str, as_json: bool, report: bool) -> None:
    """List the runs in a folder (default: runs), or one run, with their state and newest numbers.

    img/s is the speed at the last line of the log, mean that of the whole run. The times are hours
    and minutes.

    \b
    stylegan runs
    stylegan runs experiments --json
    stylegan runs runs/00000-photos-256x256 --report
    """
    rows = [_row(run_dir) for run_dir in _runs(Path(folder))]
    failed = _report(rows) if report else []
    if as_json:
        click.echo(json.dumps(_finite(rows), indent=1, allow_nan=False))
    else:
        click.echo("\n".join(_table(rows)))
        for row in rows:
            if row["damage"]:
                click.echo(printable(row["damage"]))
        for row in rows:
            if row.get("report"):
                click.echo(f"report: {printable(row['report'])}")
    for line in failed:
        click.echo(printable(line), err=True)
    if failed:
        raise SystemExit(1)


def _runs(folder: Path) -> list[Path]:
    """The run folders that `folder` means, newest last. Raises: UserError if there are none."""
    from stylegan.errors import UserError
    from stylegan.identify import refuse_address
    from stylegan.runs.history import looks_like_run

    refuse_address(folder)
    if looks_like_run(folder):
        return [folder]
    if not folder.is_dir():
        what = "expected a folder of runs, got a file" if folder.exists() else "no such folder"
        raise UserError(folder, f"{what}; `stylegan train` makes runs in the folder runs")
    try:
        found = [p for p in folder.iterdir() if re.match(r"\d+-", p.name) and looks_like_run(p)]
    except OSError as e:
        raise UserError(folder, f"cannot be read ({e.strerror})") from e
    if not found:
        raise UserError(folder, "holds no runs; `stylegan train` makes them")
    return sorted(found, key=lambda p: (int(p.name.partition("-")[0]), p.name))


def _row(run_dir: Path) -> dict[str, Any]:
    """What --json prints of a run."""
    from stylegan.runs.history import read_run

    row: dict[str, Any] = {"run": run_dir.resolve().name, "folder": str(run_dir)}
    try:
        run = read_run(run_dir, tail=True)
    except Exception as e:  # a folder with any kind of damage must not hide the others
        return {**row, "state": "damaged", **dict.fromkeys(VALUES), "damage": f"{run_dir}: {e}"}
    written = run.written and datetime.fromtimestamp(run.written).astimezone()
    return {
        **row,
        "state": run.state,
        "kimg": run.kimg,
        "target_kimg": run.target_kimg,
        "images_per_s": run.last.get("images_per_s"),
        "mean_images_per_s": run.mean_images_per_s,
        "loss_G": run.last.get("loss/G"),
        "loss_D": run.last.get("loss/D"),
        "seconds": run.last.get("seconds"),
        "seconds_left": run.seconds_left,
        "written": written and written.isoformat(timespec="seconds"),
        "damage": run.damage,
    }


def _report(rows: Iterable[dict[str, Any]]) -> list[str]:
    """Write the report of every row's run and put its path in the row. Returns: a line for each
    that could not be written."""
    from stylegan.runs.report import write_report

    failed = []
    for row in rows:
        try:
            row["report"] = str(write_report(row["folder"]))
        except Exception as e:  # as in _row
            reason = getattr(e, "strerror", None) or e
            failed.append(f"{row['folder']}: report.html cannot be written ({reason})")
    return failed


def _table(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Lines: headings and a row per run."""
    cells = [HEADINGS, *(_cells(row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells)]
    for line in cells:
        padded = [
            text.ljust(width) if i in TEXTS else text.rjust(width)
            for i, (text, width) in enumerate(zip(line, widths))
        ]
        yield "  ".join(padded).rstrip()


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    kimg = "" if row["kimg"] is None else short(row["kimg"])
    if row["target_kimg"] is not None:
        kimg += f"/{short(row['target_kimg'])}"
    written = row["written"] and datetime.fromisoformat(row["written"])
    return (
        printable(row["run"]),
        "damaged" if row["damage"] else row["state"],
        kimg,
        _number(row["images_per_s"], 1),
        _number(row["mean_images_per_s"], 1),
        _number(row["loss_G"], 3),
        _number(row["loss_D"], 3),
        "" if row["seconds"] is None else hours(row["seconds"]),
        "" if row["seconds_left"] is None else hours(row["seconds_left"]),
        f"{written:%Y-%m-%d %H:%M}" if written else "",
    )


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _finite(value: Any) -> Any:
    """`value` with None in place of NaN and infinities, which JSON does not have."""
    if isinstance(value, list):
        return [_finite(v) for v in value]
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
