# SPDX-License-Identifier: Apache-2.0
"""Snapshots on disk: complete or not at all, only the newest kept."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch

from stylegan.errors import SnapshotError, UserError
from stylegan.files import remove, remove_partial, whole_folder
from stylegan.networks import Networks
from stylegan.snapshots import snapshots_of
from stylegan.words import one_line

STATE = "training_state.pt"
ASIDE = ".aside-"  # prefix of a snapshot's name while a new one replaces it


def write_snapshot(
    run_dir: str | Path,
    networks: Networks,
    state: dict[str, Any],
    keep: int | None = None,
    replaced: str | None = None,
) -> Path:
    """Write a snapshot. A kill at any moment leaves all of it or nothing.

    Args:
        run_dir: the run's folder.
        networks: G_ema, G and D, with `meta["kimg"]`.
        state: what `read_state` returns: tensors, numbers, strings, lists and dictionaries.
        keep: how many snapshots to leave in the folder, the newest ones. None: all.
        replaced: name of a snapshot that this one replaces.
    Returns: the snapshot's folder.
    Raises: OSError if the disk is full or cannot be written. Nothing is left behind then.
    """
    parent = Path(run_dir) / "snapshots"
    parent.mkdir(exist_ok=True)
    target = parent / f"{networks.meta['kimg']:010.3f}"
    with whole_folder(target, fsync=True, aside=parent / f"{ASIDE}{target.name}") as part:
        networks.save(part)
        torch.save(state, part / STATE)
    if replaced and replaced != target.name and (parent / replaced).is_dir():
        _remove(parent / replaced)
    for old in snapshots_of(run_dir)[: -keep if keep else 0]:
        _remove(old)
    return target


def set_aside(snapshot: Path) -> None:
    """Rename a damaged snapshot, so that it does not count as one any more."""
    for suffix in ("", *(f"-{n}" for n in range(2, 1000))):
        target = snapshot.with_name(f"damaged-{snapshot.name}{suffix}")
        if not target.exists():
            snapshot.rename(target)
            return


def clean(run_dir: str | Path) -> None:
    """Delete what a killed process left half written or half deleted."""
    for aside in Path(run_dir).glob(f"snapshots/{ASIDE}*"):
        target = aside.with_name(aside.name.removeprefix(ASIDE))
        if target.exists():
            shutil.rmtree(aside, ignore_errors=True)
        else:
            aside.rename(target)
    for folder in ("", "snapshots", "samples"):
        remove_partial(Path(run_dir) / folder)
    # Deleted snapshots, and the temporary names of version 0.1.
    for pattern in ("snapshots/.old-*", "snapshots/.part-*", ".*.part", "samples/.*.part"):
        for path in Path(run_dir).glob(pattern):
            remove(path)


def read_state(snapshot: str | Path) -> dict[str, Any]:
    """The training state beside the networks.

    Raises: SnapshotError if it is missing or damaged, UserError if it cannot be opened.
    """
    path = Path(snapshot) / STATE
    if not path.is_file():
        raise SnapshotError(snapshot, f"has no {STATE}, so training cannot continue from it")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except OSError as e:
        raise UserError(path, f"cannot be read ({e.strerror or e})") from e
    except Exception as e:  # a damaged file makes torch.load raise almost anything
        reason = one_line(e, 200) or type(e).__name__
        raise SnapshotError(path, f"cannot be read ({reason})") from e


def _remove(snapshot: Path) -> None:
    """Delete a snapshot. A kill in between leaves no half of one."""
    old = snapshot.with_name(f".old-{snapshot.name}")
    shutil.rmtree(old, ignore_errors=True)
    snapshot.rename(old)
    shutil.rmtree(old, ignore_errors=True)
