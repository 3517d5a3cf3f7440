# SPDX-License-Identifier: Apache-2.0
"""Which run to go on with, and whether it is the one that was asked for."""

from collections.abc import Callable
from pathlib import Path

from stylegan.checkpoints.open import is_checkpoint
from stylegan.errors import SnapshotError, UserError
from stylegan.networks import load_networks, snapshots_of
from stylegan.runs.folder import is_run, read_about, runs_of
from stylegan.runs.snapshot import set_aside

# Settings that may differ from those of the run: how long, how often, how, and where the images
# lie. (With another batch_gpu the random draws come in another order.)
FREE = {
    "kimg",
    "minutes",
    "batch_gpu",
    "workers",
    "snapshot_kimg",
    "snapshot_minutes",
    "keep",
    "grid_kimg",
    "tick_kimg",
    "tf32",
    "ops",
    "path",
    "init_from",
}


NO_RUN = "no run of ours to go on with; --init-from begins with its weights"


def saved_config(path):
    """What `--resume` names, as (config, run folder, snapshot, kimg).

    Of a run folder, or the newest snapshot of one, the snapshot is None: the newest that can be
    read is taken. Any other snapshot has no run folder: it becomes a run of its own.

    Raises: UserError.
    """
    path = Path(path)
    if is_run(path):
        try:
            return read_about(path)["config"], path, None, kimg_of(path)
        except UserError:
            if not snapshots_of(path):
                raise
    if is_checkpoint(path):
        raise UserError(path, NO_RUN)
    nets = load_networks(path, "cpu")
    if "kimg" not in nets.meta:
        raise UserError(path, NO_RUN)
    kimg, run_dir = nets.meta["kimg"], nets.folder.resolve().parent.parent
    if snapshots_of(run_dir)[-1:] == [nets.folder.resolve()]:
        return nets.config, run_dir, None, kimg
    return nets.config, None, nets.folder, kimg


def differences(saved, wanted):
    """[(option, saved value, wanted value)] of two resolved `Config`s, free settings aside."""
    if saved.G.model != wanted.G.model:  # then most settings mean something else
        return [("model", saved.G.model, wanted.G.model)]
    rows = []
    saved, wanted = saved.to_dict(), wanted.to_dict()
    for part in saved:
        for name, value in saved[part].items():
            now = wanted[part][name]
            row = ("--" + name.replace("_", "-"), _text(value), _text(now))
            if now != value and name not in FREE and row not in rows:
                rows.append(row)
    return rows


def difference_table(path, rows):
    """The lines of a table of `differences`."""
    rows = [("setting", str(path), "now"), *rows]
    widths = [max(len(row[i]) for row in rows) for i in range(2)]
    return [f"  {a:{widths[0]}}  {b:{widths[1]}}  {c}" for a, b, c in rows]


def find_run(outdir, wanted):
    """The newest run below `outdir` with the settings of a resolved `Config`, for `--resume auto`.

    Returns: (run folder or None, (newest run, its differences) or None)
    """
    nearest = None
    for run_dir in reversed(runs_of(outdir)):
        try:
            saved = read_about(run_dir)["config"]
        except UserError:
            continue
        rows = differences(saved, wanted)
        for option, was, now in (
            ("--data", saved.data.path, wanted.data.path),
            ("--init-from", saved.train.init_from, wanted.train.init_from),
        ):
            if was != now:
                rows.append((option, _text(was), _text(now)))
        if not rows:
            return run_dir, None
        nearest = nearest or (run_dir, rows)
    return None, nearest


def kimg_of(run_dir):
    """Thousands of images at the newest snapshot of a run; 0 without one."""
    snapshots = snapshots_of(run_dir)
    return float(snapshots[-1].name) if snapshots else 0.0


def read_newest(
    run_dir: Path, read: Callable[[Path], None], discard: Callable[[], None]
) -> list[str]:
    """Read the newest snapshot of a run that can be read, and set newer, damaged ones aside.

    Args:
        read: called with a snapshot's folder; raises SnapshotError if it is damaged.
        discard: called after that, to drop what has been read of it.
    Returns: a line on every damaged snapshot.
    Raises: SnapshotError if there are snapshots, but none can be read.
    """
    damaged: list[tuple[Path, SnapshotError]] = []
    for snapshot in reversed(snapshots_of(run_dir)):
        try:
            read(snapshot)
            break
        except SnapshotError as e:
            damaged.append((snapshot, e))
            discard()
    else:
        if damaged:
            raise damaged[0][1]
    for snapshot, _ in damaged:
        set_aside(snapshot)
    return [f"{e}; the one before is taken" for _, e in damaged]


def _text(value):
    if isinstance(value, (list, tuple)):
        return "x".join(map(str, value))
    return "-" if value is None else str(value)
