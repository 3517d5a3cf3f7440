# SPDX-License-Identifier: Apache-2.0
"""The folder of a run, and who is working in it.

run.json      when, with what and on what the run was started; its settings
log.jsonl     a line per tick, and a line per event (started, resumed, warnings, how it ended)
samples/      sheets of images, by kimg      snapshots/  networks and state, by kimg
report.html   all of it to look at           .lock       held while a process trains here
"""

import itertools
import json
import re
from pathlib import Path

import filelock

from stylegan.config import Config
from stylegan.errors import UserError
from stylegan.files import whole_file, whole_folder
from stylegan.networks import read_json

RUN, LOCK = "run.json", ".lock"
FORMAT, VERSION = "stylegan-run", 1
LOCK_SECONDS = 10  # loader processes inherit the lock and outlive a killed run by up to five


def new_run_dir(outdir, name, config, about):
    """Make and return the next folder `outdir/00000-name`, with its run.json, at once or not at
    all.

    Args:
        config: the run's `Config`.
        about: what else to keep in run.json: a dictionary for JSON.
    Raises: UserError if it cannot be written.
    """
    outdir, name = Path(outdir), re.sub(r"[^\w.-]+", "-", name)
    content = {"format": FORMAT, "version": VERSION, **about, "config": config.to_dict()}
    try:
        outdir.mkdir(parents=True, exist_ok=True)
        taken = [int(m[1]) for p in outdir.iterdir() if (m := re.match(r"(\d{5,})-", p.name))]
        for number in itertools.count(max(taken, default=-1) + 1):
            run_dir = outdir / f"{number:05d}-{name}"
            try:
                with whole_folder(run_dir, fsync=True) as part:
                    _write(part / RUN, content)
                return run_dir
            except FileExistsError:  # another process took the number
                continue
    except OSError as e:
        raise UserError(outdir, f"cannot make a run folder there ({e.strerror})") from e


def update_config(run_dir, config):
    """Put the settings that a run goes on with into its run.json. Raises: OSError."""
    path = Path(run_dir) / RUN
    try:
        content = read_about(run_dir)
    except UserError:  # damaged: what counts is in the snapshots
        content = {"format": FORMAT, "version": VERSION}
    content["config"] = config.to_dict()
    with whole_file(path, fsync=True) as part:
        _write(part, content)


def is_run(path):
    """Whether `path` is the folder of a run."""
    return (Path(path) / RUN).is_file()


def runs_of(outdir):
    """The run folders right below `outdir`, oldest first."""
    return sorted(p.parent for p in Path(outdir).glob(f"[0-9]*-*/{RUN}"))


def read_about(run_dir):
    """The content of run.json, with "config" as a `Config`. Raises: UserError."""
    path = Path(run_dir) / RUN
    content = read_json(path)
    try:
        if (content["format"], content["version"]) != (FORMAT, VERSION):
            raise ValueError(f"format {content['format']} version {content['version']}")
        return {**content, "config": Config.from_dict(content["config"])}
    except (UserError, KeyError, TypeError, AttributeError, ValueError) as e:
        raise UserError(path, f"not the description of a run ({e})") from e


def lock(run_dir):
    """Take the run folder for this process: a lock that the system releases when its holder dies.

    Returns: an object with `release()`, also a context manager.
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


def is_locked(run_dir):
    """Whether a process trains in the run folder."""
    path = Path(run_dir) / LOCK
    if not path.exists():
        return False
    try:
        with filelock.FileLock(path).acquire(timeout=0):
            return False
    except filelock.Timeout:
        return True
    except OSError:  # of somebody else, or read-only: it cannot be told
        return False


def _write(path, content):
    path.write_text(json.dumps(content, indent=1), "utf-8")
