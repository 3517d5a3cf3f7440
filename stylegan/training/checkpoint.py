# SPDX-License-Identifier: Apache-2.0
"""Snapshots and run folders on disk."""

import os
import re
import shutil
from pathlib import Path

import torch

from stylegan.errors import UserError

STATE = "training_state.pt"


def new_run_dir(outdir, name):
    """Make and return the next folder `outdir/00000-name`. Raises: UserError if it cannot be
    written."""
    outdir = Path(outdir)
    name = re.sub(r"[^\w.-]+", "-", name)
    try:
        outdir.mkdir(parents=True, exist_ok=True)
        taken = [int(m[1]) for p in outdir.iterdir() if (m := re.match(r"(\d{5})-", p.name))]
        number = max(taken, default=-1) + 1
        while True:
            run_dir = outdir / f"{number:05d}-{name}"
            try:
                run_dir.mkdir()
                return run_dir
            except FileExistsError:
                number += 1
    except OSError as e:
        raise UserError(f"{outdir}: cannot make a run folder there ({e.strerror})") from e


def write_snapshot(run_dir, networks, state):
    """Write a snapshot so that a kill at any moment leaves either all of it or none.

    Args:
        run_dir: the run's folder.
        networks: `Networks` with G_ema, G and D.
        state: what `read_state` is to give back; tensors, numbers, strings, lists and dictionaries.
    Returns: the snapshot's folder.
    """
    parent = Path(run_dir) / "snapshots"
    parent.mkdir(exist_ok=True)
    target = parent / f"{networks.meta['kimg']:010.3f}"
    if target.exists():
        return target
    part = parent / f".part-{target.name}-{os.getpid()}"
    try:
        part.mkdir()
        networks.save(part)
        torch.save(state, part / STATE)
        for path in [*part.iterdir(), part]:
            _fsync(path)
        part.rename(target)
        _fsync(parent)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    return target


def read_state(snapshot):
    """The training state beside the networks. Raises: UserError if it is not there or damaged."""
    path = Path(snapshot) / STATE
    if not path.is_file():
        raise UserError(f"{snapshot}: holds no {STATE}, so training cannot go on from it")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as e:  # torch.load raises whatever the damage leads to
        raise UserError(f"{path}: cannot be read ({str(e).splitlines()[0]})") from e


def _fsync(path):
    # Windows cannot open a folder, and needs no sync of one.
    if os.name == "nt" and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
