# SPDX-License-Identifier: Apache-2.0
"""Snapshots on disk: whole or not at all, the newest kept."""

import errno
import os
import random
import re
import shutil
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError

from stylegan.errors import SnapshotError, UserError
from stylegan.networks import snapshots_of

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
    part = parent / f".part-{target.name}-{os.getpid()}"
    try:
        part.mkdir()
        networks.save(part)
        torch.save(state, part / STATE)
        for path in [*part.iterdir(), part]:
            _fsync(path)
        aside = parent / f"{ASIDE}{target.name}"
        if target.exists():  # of the same moment
            shutil.rmtree(aside, ignore_errors=True)
            target.rename(aside)
        part.rename(target)
        _fsync(parent)
        shutil.rmtree(aside, ignore_errors=True)
    except (SafetensorError, RuntimeError) as e:  # they wrap the error of the system
        error = _os_error(e, parent)
        shutil.rmtree(part, ignore_errors=True)
        if error is None:
            raise
        raise error from e
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
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
    for pattern in ("snapshots/.part-*", "snapshots/.old-*", ".*.part", "samples/.*.part"):
        for path in Path(run_dir).glob(pattern):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def read_state(snapshot):
    """The training state beside the networks.

    Raises: SnapshotError if it is not there or damaged, UserError if it may not be read.
    """
    path = Path(snapshot) / STATE
    if not path.is_file():
        raise SnapshotError(f"{snapshot}: holds no {STATE}, so training cannot go on from it")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except OSError as e:
        raise UserError(f"{path}: cannot be read ({e.strerror or e})") from e
    except Exception as e:  # torch.load raises whatever the damage leads to
        reason = " ".join(str(e).split())[:200] or type(e).__name__
        raise SnapshotError(f"{path}: cannot be read ({reason})") from e


def random_state():
    """The state of the process's random number generators: torch, CUDA, NumPy, Python."""
    kind, keys, *rest = np.random.get_state()
    version, words, gauss = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [],
        "numpy": [kind, keys.tolist(), *rest],
        "python": [version, list(words), gauss],
    }


def set_random_state(state):
    """The inverse of `random_state`; CUDA's where there are as many devices as then."""
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.device_count() == len(state["cuda"]):
        torch.cuda.set_rng_state_all(state["cuda"])
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, np.array(keys, dtype=np.uint32), *rest))
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))


def _remove(snapshot):
    """Delete a snapshot; a kill on the way leaves no half of one."""
    old = snapshot.with_name(f".old-{snapshot.name}")
    shutil.rmtree(old, ignore_errors=True)
    snapshot.rename(old)
    shutil.rmtree(old, ignore_errors=True)


def _os_error(e, folder):
    """The OSError that a library's error tells of, or None if it is of another kind."""
    told = re.search(r"os error (\d+)", str(e))
    if told:
        code = int(told[1])
    elif "PytorchStreamWriter" in str(e) or "file write failed" in str(e):
        full = shutil.disk_usage(folder).free < 1 << 20
        code = errno.ENOSPC if full else errno.EIO
    else:
        return None
    return OSError(code, os.strerror(code), str(folder))


def _fsync(path):
    # Windows cannot open a folder, and needs no sync of one.
    if os.name == "nt" and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
