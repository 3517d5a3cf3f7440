# SPDX-License-Identifier: Apache-2.0
"""Where built extensions are, which of them fits, and loading it.

    <root>/<device>-<key>/         the extension, meta.json (what it was built from and for)
    <root>/<device>-<key>.lock     held while building; .builder says by whom
    <root>/<device>-<key>.log      the output of the compilers
    <root>/<device>-<key>.failed   not to be tried again with the same tools

with the package's own folder and the user's cache as roots.
"""

from __future__ import annotations

import hashlib
import importlib.machinery
import importlib.util
import json
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from stylegan_ops.build import cuda_tools, tools
from stylegan_ops.build.recipe import PACKAGE, identity
from stylegan_ops.build.tools import Problem

PREBUILT = PACKAGE / "_native"
VARIABLE = "STYLEGAN_OPS_CACHE"


class Unwritable(Problem):
    """No folder for a cache can be written."""


@dataclass(frozen=True, slots=True)
class Built:
    """An extension that was built."""

    file: Path
    meta: dict[str, Any]  # meta.json


def folder() -> Path:
    """The user's cache or, if that cannot be written, a private folder beside other temporary
    files. Created. Raises: Unwritable if neither works."""
    paths = _folders()
    for path in paths:
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            if _is_private(path):
                with tempfile.TemporaryFile(dir=path):
                    return path
        except OSError:
            continue
    raise Unwritable(f"no folder for a cache can be written: {', '.join(map(str, paths))}")


def _folders() -> list[Path]:
    """Folders that may be the cache, the preferred first."""
    given = os.environ.get(VARIABLE)
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    path = os.path.abspath(os.path.expanduser(given)) if given else f"{base}/stylegan_ops"
    # Without HOME and a name, "~" stays as it is.
    paths = [Path(path)] if os.path.isabs(path) else []
    user = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")
    try:
        paths.append(Path(tempfile.gettempdir()) / f"stylegan_ops-{user}")
    except OSError:  # there is no folder for temporary files
        pass
    return paths


def _is_private(path: Path) -> bool:
    """Whether nobody else can put code there for us to load. Only folders among temporary files are
    checked; others belong to the user."""
    if not hasattr(os, "getuid") or not path.name.startswith("stylegan_ops-"):
        return True
    about = path.lstat()
    private = about.st_uid == os.getuid() and not about.st_mode & 0o022
    return private and stat.S_ISDIR(about.st_mode)


def _roots() -> list[Path]:
    return [PREBUILT, *(path for path in _folders() if _is_safe(path))]


def _is_safe(path: Path) -> bool:
    try:
        return path.is_dir() and _is_private(path)
    except OSError:
        return False


def find(device: str, same_torch: bool = True) -> Iterator[Built]:
    """Every extension that fits this machine, those in the package first.

    Args:
        same_torch: False gives those that were built for an older torch: the ABI is stable.
    """
    mine = {"native": identity(device)}
    if tools.has_x86_64_v3():
        mine["x86-64-v3"] = identity(device, "x86-64-v3")
    gpus = cuda_tools.gpus() if device == "cuda" else []
    for root in _roots():
        for path in sorted(root.glob(f"{device}-*/meta.json")):
            meta = read_meta(path)
            wanted = mine.get("x86-64-v3" if meta and meta.get("cpu") == "x86-64-v3" else "native")
            same = ("device", "source", "cuda", "python", "cpu")
            if not meta or not wanted or any(meta.get(k) != wanted[k] for k in same):
                continue
            newer = _version(meta["torch"]) > _version(wanted["torch"])
            if newer or same_torch != (meta["torch"] == wanted["torch"]):
                continue
            # A GPU that was there at the build and is no target is one that nvcc does not know.
            targets = meta["targets"].split()
            known = str(meta.get("gpus", "")).split()
            if all(cuda_tools.runs_on(targets, gpu) or gpu in known for gpu in gpus):
                yield Built(path.parent / meta["file"], meta)


def _version(text: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", text)))


def read_json(path: Path) -> dict[str, Any] | None:
    """A dictionary, or None if there is none or it is damaged."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def read_meta(path: Path) -> dict[str, Any] | None:
    """meta.json, or None if something in it is missing."""
    meta = read_json(path)
    keys = ("torch", "targets", "file", "sha256")
    return meta if meta and all(isinstance(meta.get(k), str) for k in keys) else None


def finished(path: Path) -> Built | None:
    """The extension in that folder, or None if there is none or it is damaged."""
    meta = read_meta(path / "meta.json")
    built = Built(path / meta["file"], meta) if meta else None
    return built if built and _is_whole(built) else None


def _is_whole(built: Built) -> bool:
    try:
        return hashlib.sha256(built.file.read_bytes()).hexdigest() == built.meta["sha256"]
    except OSError:
        return False


def import_extension(device: str, built: Built) -> ModuleType | None:
    """The module, or None if the file is not what was built or cannot be loaded here.

    The checksum comes first: loading a truncated file kills the process.
    """
    if not _is_whole(built):
        return None
    try:
        name = f"stylegan_{device}"
        loader = importlib.machinery.ExtensionFileLoader(name, str(built.file))
        spec = importlib.util.spec_from_file_location(name, str(built.file), loader=loader)
        assert spec is not None
        module = importlib.util.module_from_spec(spec)
        loader.exec_module(module)
        return module
    except (ImportError, OSError):
        return None


def write(path: Path, text: str) -> None:
    """Write if possible: a log must not be the reason of a failure."""
    try:
        path.write_text(text, "utf-8")
    except OSError:
        pass


def forget_failures() -> None:
    """Let the next load try builds that have failed before."""
    for root in _roots():
        for path in root.glob("*.failed"):
            with suppress(OSError):
                path.unlink()


def clean() -> tuple[Path, int]:
    """Empty the cache, except for what is being built. What was built into the package stays.

    Returns: (folder, freed bytes). Raises: Unwritable if there is no cache.
    """
    from filelock import FileLock, Timeout

    root, size = folder(), 0
    ours = [p for p in root.iterdir() if re.fullmatch(r"(cpu|cuda)-[0-9a-f]{16}(\..+)?", p.name)]
    for key in sorted({p.name.split(".")[0] for p in ours}):
        lock = FileLock(root / f"{key}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            continue
        try:
            for path in ours:  # not the lock: two processes could then hold one of that name each
                if path.name.split(".")[0] == key and path.suffix != ".lock":
                    files = [path, *path.rglob("*")] if path.is_dir() else [path]
                    size += sum(p.stat().st_size for p in files if p.is_file())
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
        finally:
            lock.release()
    return root, size
