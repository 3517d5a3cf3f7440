# SPDX-License-Identifier: Apache-2.0
"""Which folders are snapshots, runs and folders of runs, and where the newest snapshot is."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from stylegan.config import Config
from stylegan.errors import SnapshotError, UserError
from stylegan.identify import identify, not_a_network, refuse_address

T = TypeVar("T")
MAX_TRIES = 20  # to read a snapshot of a run that deletes it meanwhile
FORMAT, VERSION = "stylegan-snapshot", 1
CONFIG, AVERAGED, TRAINED = "config.json", "G_ema.safetensors", "G.safetensors"


def find_snapshot(path: str | Path) -> Path:
    """The snapshot folder that `path` means: itself, the newest of a run, or the newest of the
    newest run in a folder of runs. Raises: UserError."""
    refuse_address(path)
    path = Path(path)
    snapshots = snapshots_of(path) or snapshots_of_runs(path)
    if snapshots:
        return snapshots[-1]
    if is_snapshot(path):
        return path
    if (path / CONFIG).is_file() and not identify(path):
        raise SnapshotError(path, f"holds no {AVERAGED}")
    raise UserError(path, not_a_network(path))


def with_snapshot(path: str | Path, read: Callable[[Path], T]) -> T:
    """Read the snapshot that `path` means (`find_snapshot`). If the path is a run that lives and
    deletes it meanwhile, read its next one.

    Args: read: called with the folder.
    Returns: the result of `read`.
    Raises: UserError.
    """
    for _ in range(MAX_TRIES - 1):
        folder = find_snapshot(path)
        try:
            result = read(folder)
        except UserError:
            if folder.is_dir():
                raise
        else:
            if folder.is_dir():
                return result
    return read(find_snapshot(path))


def snapshot_around(path: str | Path) -> Path | None:
    """The snapshot folder that `path` means as a file: that of a config.json or a
    G_ema.safetensors. None for any other path."""
    path = Path(path)
    if path.name in (CONFIG, AVERAGED) and path.is_file() and is_snapshot(path.parent):
        return path.parent
    return None


def is_snapshot(path: str | Path) -> bool:
    """Whether a folder holds what inference needs."""
    path = Path(path)
    generators = (path / AVERAGED, path / TRAINED)
    return (path / CONFIG).is_file() and any(file.is_file() for file in generators)


def snapshots_of(run_dir: str | Path) -> list[Path]:
    """The snapshot folders of a run, oldest first."""
    before: list[Path] | None = None
    while True:
        folders = Path(run_dir).glob("snapshots/[0-9]*")
        named = sorted(f for f in folders if re.fullmatch(r"\d{6,}\.\d{3}", f.name))
        found = [f for f in named if (f / CONFIG).is_file()]
        # If a live run has deleted all that were listed, it has written another.
        if found or named == before:
            return found
        before = named


def is_network_folder(path: str | Path) -> bool:
    """Whether `path` is a snapshot, a run with one, or a folder of such runs."""
    return is_snapshot(path) or bool(snapshots_of(path) or snapshots_of_runs(path))


def snapshots_of_runs(outdir: str | Path) -> list[Path]:
    """The snapshot folders of the newest run in `outdir` that has any, oldest first."""
    for run_dir in sorted(Path(outdir).glob("[0-9]*-*"), reverse=True):
        if snapshots := snapshots_of(run_dir):
            return snapshots
    return []


def read_json(path: Path) -> Any:
    """A JSON file. Raises: UserError that names the line."""
    try:
        return json.loads(path.read_text("utf-8"))
    except json.JSONDecodeError as e:
        raise SnapshotError(path, f"line {e.lineno}, column {e.colno}: {e.msg}") from e
    except (OSError, ValueError, RecursionError) as e:
        raise SnapshotError(path, f"cannot be read ({e})") from e


def read_config(folder: Path) -> tuple[Config, dict[str, Any]]:
    """The settings of a snapshot, and what else its config.json holds. Raises: SnapshotError."""
    content = read_json(folder / CONFIG)
    about = content if isinstance(content, dict) else {}
    if about.get("format") != FORMAT or about.get("version") != VERSION:
        raise SnapshotError(
            folder / CONFIG,
            f"expected format {FORMAT} version {VERSION}, got "
            f"{ascii(about.get('format'))[:40]} version {ascii(about.get('version'))[:40]}",
        )
    try:
        config = Config.from_dict(content["config"])
    except (UserError, KeyError, TypeError, AttributeError, ValueError) as e:
        raise SnapshotError(folder / CONFIG, f"not a valid config ({e})") from e
    meta = {k: v for k, v in content.items() if k not in ("format", "version", "config")}
    return config, meta
