# SPDX-License-Identifier: Apache-2.0
"""The folder of a run.

run.json      when, with what and on what the run was started; its settings
log.jsonl     a line per tick, and a line per event (started, resumed, warnings, how it ended)
samples/      sheets of images, by kimg      snapshots/  networks and state, by kimg
report.html   a page that shows all of it    .lock       held while a process trains here
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import filelock

from stylegan.config import Config
from stylegan.errors import UserError
from stylegan.files import whole_file, whole_folder
from stylegan.snapshots import read_json

RUN, LOCK = "run.json", ".lock"
FORMAT, VERSION = "stylegan-run", 1
LOCK_SECONDS = 10  # loader processes inherit the lock and outlive a killed run by up to five


def new_run_dir(outdir: str | Path, name: str, config: Config, about: Mapping[str, Any]) -> Path:
    """Create the next folder `outdir/00000-name` together with its run.json.

    Args:
        config: the settings of the run.
        about: what else to keep in run.json.
    Returns: the folder.
    Raises: UserError if it cannot be written.
    """
    outdir, name = Path(outdir), re.sub(r"[^\w.-]+", "-", name)
    content = {"format": FORMAT, "version": VERSION, **about, "config": config.to_dict()}
    try:
        outdir.mkdir(parents=True, exist_ok=True)
        taken = [int(m[1]) for p in outdir.iterdir() if (m := re.match(r"(\d{5,})-", p.name))]
        number = max(taken, default=-1) + 1
        while True:
            run_dir = outdir / f"{number:05d}-{name}"
            try:
                with whole_folder(run_dir, fsync=True) as part:
                    _write(part / RUN, content)
                return run_dir
            except FileExistsError:  # another process took the number
                number += 1
    except OSError as e:
        raise UserError(outdir, f"cannot make a run folder there ({e.strerror})") from e


def update_config(run_dir: str | Path, config: Config) -> None:
    """Replace the settings in run.json by those that a run continues with. Raises: OSError."""
    path = Path(run_dir) / RUN
    try:
        content = read_about(run_dir)
    except UserError:  # damaged; the snapshots hold what counts
        content = {"format": FORMAT, "version": VERSION}
    content["config"] = config.to_dict()
    with whole_file(path, fsync=True) as part:
        _write(part, content)


def is_run(path: str | Path) -> bool:
    """Whether `path` is the folder of a run."""
    return (Path(path) / RUN).is_file()


def runs_of(outdir: str | Path) -> list[Path]:
    """The run folders in `outdir`, oldest first."""
    return sorted(p.parent for p in Path(outdir).glob(f"[0-9]*-*/{RUN}"))


def read_about(run_dir: str | Path) -> dict[str, Any]:
    """The content of run.json, with "config" as a `Config`. Raises: UserError."""
    path = Path(run_dir) / RUN
    content = read_json(path)
    try:
        if (content["format"], content["version"]) != (FORMAT, VERSION):
            raise ValueError(f"format {content['format']} version {content['version']}")
        return {**content, "config": Config.from_dict(content["config"])}
    except (UserError, KeyError, TypeError, AttributeError, ValueError) as e:
        raise UserError(path, f"not the description of a run ({e})") from e


def lock(run_dir: str | Path) -> filelock.BaseFileLock:
    """Reserve the run folder for this process. The system releases the lock when the process dies.

    Returns: the lock, with `release()`; also a context manager.
    Raises: UserError if another process trains there.
    """
    held = filelock.FileLock(Path(run_dir) / LOCK)
    try:
        held.acquire(timeout=LOCK_SECONDS)
    except filelock.Timeout:
        raise UserError(run_dir, "another process trains there") from None
    except OSError as e:
        raise UserError(run_dir, f"cannot be written ({e.strerror})") from e
    return held


def is_locked(run_dir: str | Path) -> bool:
    """Whether a process trains in the run folder."""
    path = Path(run_dir) / LOCK
    if not path.exists():
        return False
    try:
        with filelock.FileLock(path).acquire(timeout=0):
            return False
    except filelock.Timeout:
        return True
    except OSError:  # belongs to another user, or is read-only: unknown
        return False


def _write(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1), "utf-8")
