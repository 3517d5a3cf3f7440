# SPDX-License-Identifier: Apache-2.0
"""Which run or snapshot to continue, and whether it has the settings that were asked for."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stylegan.checkpoints.recognise import is_checkpoint
from stylegan.config import Config
from stylegan.config.options import Option, option_of
from stylegan.config.train import AUG_SETTINGS
from stylegan.errors import SnapshotError, UserError
from stylegan.networks import load_networks
from stylegan.runs.folder import is_run, read_about, runs_of
from stylegan.runs.snapshot import set_aside
from stylegan.snapshots import snapshots_of
from stylegan.words import pixels

# Settings that a resumed run may change. (With another batch_gpu it draws random numbers in another
# order.)
MAY_CHANGE = {
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

# Fields of the networks that follow from the data, and what they follow from.
OF_THE_DATA = {"resolution": "--resolution", "channels": "--channels", "c_dim": "classes"}

NO_RUN = "not a run that can be continued; --init-from starts from its weights"


@dataclass(frozen=True)
class Saved:
    """What `--resume` names."""

    config: Config
    run_dir: Path | None  # where the run continues; None: in a folder of its own
    snapshot: Path | None  # to start from; None: the newest of the run that can be read
    kimg: float


@dataclass(frozen=True)
class Difference:
    """A setting that differs between a saved run and what was asked for."""

    option: str
    saved: str
    wanted: str


@dataclass(frozen=True)
class Found:
    """What `find_run` found."""

    run_dir: Path | None  # with the wanted settings
    newest: Path | None = None  # else the newest run, and how it differs
    differences: tuple[Difference, ...] = ()


def saved_config(path: str | Path) -> Saved:
    """What `--resume PATH` means.

    A run folder, or the newest snapshot of one, continues that run. Any other snapshot starts a
    run of its own.

    Raises: UserError.
    """
    path = Path(path)
    if is_run(path):
        try:
            return Saved(read_about(path)["config"], path, None, kimg_of(path))
        except UserError:
            if not snapshots_of(path):
                raise
    if is_checkpoint(path):
        raise UserError(path, NO_RUN)
    nets = load_networks(path, "cpu")
    if nets.folder is None or "kimg" not in nets.meta:
        raise UserError(path, NO_RUN)
    kimg, run_dir = nets.meta["kimg"], nets.folder.resolve().parent.parent
    if snapshots_of(run_dir)[-1:] == [nets.folder.resolve()]:
        return Saved(nets.config, run_dir, None, kimg)
    return Saved(nets.config, None, nets.folder, kimg)


def differences(saved: Config, wanted: Config) -> list[Difference]:
    """The settings in which two resolved configs differ, MAY_CHANGE aside, and those of another
    augmentation than both have."""
    if saved.G.model != wanted.G.model:  # then most settings mean something else
        return [Difference("model", saved.G.model, wanted.G.model)]
    augs = {saved.train.aug, wanted.train.aug}
    unused = {name for name, users in AUG_SETTINGS.items() if augs.isdisjoint(users)}
    changes: dict[tuple[str, str], _Change] = {}  # by part and field
    for part in (f.name for f in dataclasses.fields(Config)):
        before, after = getattr(saved, part), getattr(wanted, part)
        for field in dataclasses.fields(before):
            values = getattr(before, field.name), getattr(after, field.name)
            if values[0] != values[1] and field.name not in MAY_CHANGE | unused:
                changes[part, field.name] = _Change(field, *values)
    rows: list[Difference] = []
    for (part, name), change in changes.items():
        other = {"G": "D", "D": "G"}.get(part)
        if other and _set_together(saved, name) and changes.get((other, name)) != change:
            name = f"{part.lower()}_{name}"
        row = change.row(name)
        if row not in rows:
            rows.append(row)
    return rows


def difference_table(path: str | Path, rows: Iterable[Difference]) -> list[str]:
    """The lines of a table of `differences`."""
    rows = [Difference("setting", str(path), "now"), *rows]
    first, second = (max(len(getattr(r, name)) for r in rows) for name in ("option", "saved"))
    return [f"  {r.option:{first}}  {r.saved:{second}}  {r.wanted}" for r in rows]


def find_run(outdir: str | Path, wanted: Config) -> Found:
    """The newest run in `outdir` with the settings of a resolved config, for `--resume auto`."""
    nearest = Found(None)
    for run_dir in reversed(runs_of(outdir)):
        try:
            saved = read_about(run_dir)["config"]
        except UserError:
            continue
        rows = differences(saved, wanted)
        for part, name in (("data", "path"), ("train", "init_from")):
            before, after = getattr(saved, part), getattr(wanted, part)
            change = _Change(_field(before, name), getattr(before, name), getattr(after, name))
            if change.saved != change.wanted:
                rows.append(change.row(name))
        if not rows:
            return Found(run_dir)
        if nearest.newest is None:
            nearest = Found(None, run_dir, tuple(rows))
    return nearest


def kimg_of(run_dir: str | Path) -> float:
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


@dataclass(frozen=True)
class _Change:
    """Two values of a field of the settings."""

    field: dataclasses.Field = dataclasses.field(compare=False)
    saved: Any
    wanted: Any

    def row(self, dest: str) -> Difference:
        """The row for the option that sets `dest`; of fields without an option, for what sets
        them."""
        option = option_of(self.field)
        name = option.flags(dest)[0] if option else OF_THE_DATA[self.field.name]
        return Difference(name, self._text(self.saved), self._text(self.wanted))

    def _text(self, value: Any) -> str:
        if value is None:
            return _none_text(option_of(self.field))
        if isinstance(value, bool):
            return "on" if value else "off"
        if self.field.name == "resolution":
            return pixels(value)
        return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _none_text(option: Option | None) -> str:
    """What the command line calls None."""
    if option is None:
        return "-"
    if option.none is not None:
        return option.none
    if option.none_is is not None:
        return str(option.none_is)
    # A formula that gives None even in a resolved config means that the setting is not used.
    rule = option.automatic
    return rule.text if rule and not rule.value else "-"


def _set_together(config: Config, name: str) -> bool:
    """Whether one option sets the field `name` of G and of D."""
    both = [f for part in (config.G, config.D) for f in dataclasses.fields(part) if f.name == name]
    options = [option_of(f) for f in both]
    return len(both) == 2 and not any(o.names for o in options if o)


def _field(settings: Any, name: str) -> dataclasses.Field:
    (field,) = (f for f in dataclasses.fields(settings) if f.name == name)
    return field
