# SPDX-License-Identifier: Apache-2.0
"""Snapshots on disk: whole or not at all, the newest kept."""

import shutil
from pathlib import Path

import torch

from stylegan.errors import SnapshotError, UserError
from stylegan.files import remove, remove_partial, whole_folder
from stylegan.networks import snapshots_of
from stylegan.words import one_line

STATE = "training_state.pt"
ASIDE = ".aside-"  # before the name of a snapshot, while another takes its place


def write_snapshot(run_dir, networks, state, keep=None):
    """Write a snapshot so that a kill at any moment leaves either all of it or none.

    Args:
        run_dir: the run's folder.
        networks: `Networks` with G_ema, G and D.
        state: what `read_state` is to give back; tensors, numbers, strings, lists and dictionaries.
        keep: snapshots to leave in the folder, the newest; None: all.
    Returns: the snapshot's folder.
    Raises: OSError if the disk is full or cannot be written; nothing is left behind then.
    """
    parent = Path(run_dir) / "snapshots"
    parent.mkdir(exist_ok=True)
    target = parent / f"{networks.meta['kimg']:010.3f}"
    with whole_folder(target, fsync=True, aside=parent / f"{ASIDE}{target.name}") as part:
        networks.save(part)
        torch.save(state, part / STATE)
    for old in snapshots_of(run_dir)[: -keep if keep else 0]:
        _remove(old)
    return target


def set_aside(snapshot):
    """Take a damaged snapshot out of the row of snapshots."""
    snapshot = Path(snapshot)
    for end in ("", *(f"-{n}" for n in range(2, 1000))):
        target = snapshot.with_name(f"damaged-{snapshot.name}{end}")
        if not target.exists():
            snapshot.rename(target)
            return


def clean(run_dir):
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


def read_state(snapshot):
    """The training state beside the networks.

    Raises: SnapshotError if it is not there or damaged, UserError if it may not be read.
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
    except Exception as e:  # torch.load raises whatever the damage leads to
        reason = one_line(e, 200) or type(e).__name__
        raise SnapshotError(path, f"cannot be read ({reason})") from e


def _remove(snapshot):
    """Delete a snapshot; a kill on the way leaves no half of one."""
    old = snapshot.with_name(f".old-{snapshot.name}")
    shutil.rmtree(old, ignore_errors=True)
    snapshot.rename(old)
    shutil.rmtree(old, ignore_errors=True)
