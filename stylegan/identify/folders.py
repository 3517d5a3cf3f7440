# SPDX-License-Identifier: Apache-2.0
"""What a folder is, from the names of its files."""

from __future__ import annotations

import dataclasses
import os
import re
from pathlib import Path

from stylegan.identify.kinds import KINDS, Kind

MAX_FILES = 5000  # whose names are looked at
DEPTH = 2  # folders below the folder

# A name that only this kind of folder has, from the strongest sign on.
SIGNS = (
    (r"data\.mdb", "lmdb"),
    (r"saved_model\.pb(txt)?", "savedmodel"),
    (r"model_index\.json", "diffusers"),
    (r"batches\.meta(\.txt|\.mat)?|data_batch_\d(\.bin|\.mat)?", "cifars"),
    (r"(train|t10k|emnist|qmnist).*-(images|labels)[-.]idx\d-ubyte(\.gz)?", "mnists"),
    (r"\.zarray|\.zgroup|zarr\.json", "zarr"),
    (r"run\.json", "new run"),
)
ENDS = (  # of any file
    (r".*\.(pkl|pth?|ckpt|safetensors)", "checkpoints"),
    (r".*\.(png|jpe?g|webp|bmp|tiff?|gif|avif|heic|ppm|pgm)", "images"),
    (r".*\.tfrecords?|.*\.tfrec|.*tfrecords?-\d+-of-\d+", "tfrecords"),
    (r".*\.parquet", "parquets"),
    (r".*\.(arrow|feather)", "arrows"),
    (r".*\.mds(\.zst)?", "mds"),
    (r".*\.(tar|tar\.gz|tgz)", "webdataset"),
    (r".*\.(mp4|mov|m4v|avi|mkv|webm|wmv|mpe?g|3gp)", "videos"),
    (r".*\.ckpt-\d+\.(index|meta)|.*\.data-\d+-of-\d+", "tfcheckpoint"),
)


def identify_folder(path: Path) -> Kind | None:
    """What a folder is; None if its files tell nothing. Raises: OSError if it cannot be read."""
    names = _names(path)
    here = [name for name in names if "/" not in name]
    for pattern, kind in SIGNS:
        if any(re.fullmatch(pattern, name) for name in here):
            return KINDS[kind]
    if {"config.json", "G_ema.safetensors"} <= set(here):
        return KINDS["snapshot"]
    if "config.json" in here and any(re.match(r"(pytorch_)?model[.-]", name) for name in here):
        return KINDS["transformers"]
    if any(re.fullmatch(r"\d+-[^/]+/run\.json", name) for name in names):
        return KINDS["runs"]
    for pattern, kind in ENDS:
        found = [n for n in names if re.fullmatch(pattern, n.rpartition("/")[2], re.I)]
        if found and kind == "checkpoints":
            return _checkpoints(path, found)
        if found:
            return KINDS[kind]
    return None


def is_network_folder(path: Path) -> bool:
    """Whether a folder is a snapshot, a run, or holds runs. Images in it are not a data set."""
    return identify_folder(path) in [KINDS[name] for name in ("snapshot", "new run", "runs")]


def _checkpoints(path: Path, names: list[str]) -> Kind:
    """A folder of networks; the step names the newest of those nearest to the top."""
    top = min(name.count("/") for name in names)
    near = [path / name for name in names if name.count("/") == top]
    newest = max(near, key=lambda file: (_time(file), str(file)))
    return dataclasses.replace(
        KINDS["checkpoints"], step=f"give one of its files, such as {newest}"
    )


def _time(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except OSError:
        return 0.0


def _names(path: Path) -> list[str]:
    """Names of files in a folder and the folders below it, with forward slashes, sorted."""
    names: list[str] = []
    todo = [(str(path), "", 0)]
    for folder, prefix, depth in todo:
        try:
            with os.scandir(folder) as found:
                for entry in found:
                    if len(names) >= MAX_FILES:
                        return sorted(names)
                    if not entry.is_dir(follow_symlinks=False):
                        names.append(prefix + entry.name)
                    elif depth < DEPTH:
                        todo.append((entry.path, f"{prefix}{entry.name}/", depth + 1))
        except OSError:
            if not prefix:
                raise
    return sorted(names)
