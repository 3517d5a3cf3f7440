# SPDX-License-Identifier: Apache-2.0
"""Where built libraries lie, which of them fits, and loading it.

    <root>/<device>-<key>/         library, meta.json (what it was built from and for, its checksum)
    <root>/<device>-<key>.lock     held while building; .builder says by whom
    <root>/<device>-<key>.log      what the compilers said
    <root>/<device>-<key>.failed   do not try that again with the same tools

with the package's own folder and the user's cache as roots.
"""

import hashlib
import importlib.machinery
import importlib.util
import json
import os
import re
import shutil
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from stylegan_ops.build import tools
from stylegan_ops.build.recipe import PACKAGE, identity

PREBUILT = PACKAGE / "_native"
VARIABLE = "STYLEGAN_OPS_CACHE"


class Unwritable(Exception):
    """There is no folder for a cache."""


def folder():
    """The user's cache, or where that cannot be written, a private folder beside other temporary
    files. Created. Raises: Unwritable where neither works."""
    places = _places()
    for place in places:
        try:
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
            if _is_ours(place):
                with tempfile.TemporaryFile(dir=place):
                    return place
        except OSError:
            continue
    raise Unwritable(f"no folder for a cache can be written: {', '.join(map(str, places))}")


def _places():
    """Folders that may be the cache, the preferred first."""
    given = os.environ.get(VARIABLE)
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    place = os.path.abspath(os.path.expanduser(given)) if given else f"{base}/stylegan_ops"
    # Without HOME and a name, "~" stays what it is.
    places = [Path(place)] if os.path.isabs(place) else []
    user = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")
    try:
        places.append(Path(tempfile.gettempdir()) / f"stylegan_ops-{user}")
    except OSError:  # there is nowhere to put temporary files
        pass
    return places


def _is_ours(place):
    """Whether nobody else can put code there for us to load; what is not in a folder for temporary
    files is as the user has made it."""
    if not hasattr(os, "getuid") or not place.name.startswith("stylegan_ops-"):
        return True
    about = place.lstat()
    private = about.st_uid == os.getuid() and not about.st_mode & 0o022
    return private and stat.S_ISDIR(about.st_mode)


def _roots():
    return [PREBUILT, *(place for place in _places() if _is_safe(place))]


def _is_safe(place):
    try:
        return place.is_dir() and _is_ours(place)
    except OSError:
        return False


def find(device, same_torch=True):
    """(library file, meta) of every library that fits this machine, the package's own first.

    Args:
        same_torch: False gives those that were built for an older torch: the ABI is stable.
    """
    mine = {"native": identity(device)}
    if tools.has_x86_64_v3():
        mine["x86-64-v3"] = identity(device, "x86-64-v3")
    gpus = tools.gpus() if device == "cuda" else []
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
            # A GPU that was there at the build and is not served is one that nvcc cannot serve.
            served = meta["targets"].split()
            known = str(meta.get("gpus", "")).split()
            if all(tools.runs_on(served, gpu) or gpu in known for gpu in gpus):
                yield path.parent / meta["file"], meta


def _version(text):
    return tuple(map(int, re.findall(r"\d+", text)))


def read_json(path):
    """A dictionary, or None if there is none or it is damaged."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def read_meta(path):
    """meta.json, or None if something in it is missing."""
    meta = read_json(path)
    keys = ("torch", "targets", "file", "sha256")
    return meta if meta and all(isinstance(meta.get(k), str) for k in keys) else None


def finished(place):
    """(library file, meta) of a build in that folder, or None if there is none or it is damaged."""
    meta = read_meta(place / "meta.json")
    return (place / meta["file"], meta) if meta and _is_whole(place / meta["file"], meta) else None


def _is_whole(file, meta):
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest() == meta["sha256"]
    except OSError:
        return False


def import_library(device, file, meta):
    """The module in `file`, or None if the file is not what was built or cannot be loaded here.

    The checksum comes first: loading a truncated library kills the process.
    """
    if not _is_whole(file, meta):
        return None
    try:
        name = f"stylegan_{device}"
        loader = importlib.machinery.ExtensionFileLoader(name, str(file))
        spec = importlib.util.spec_from_file_location(name, str(file), loader=loader)
        module = importlib.util.module_from_spec(spec)
        loader.exec_module(module)
        return module
    except (ImportError, OSError):
        return None


def write(path, text):
    """Write if possible: a log must not be the reason of a failure."""
    try:
        path.write_text(text, "utf-8")
    except OSError:
        pass


def forget_failures():
    """Let the next load try builds that have failed before."""
    for root in _roots():
        for path in root.glob("*.failed"):
            with suppress(OSError):
                path.unlink()


def clean():
    """Empty the cache, but for what is just being built (what was built into the package stays).

    Returns: (folder, bytes that were freed). Raises: Unwritable if there is no cache.
    """
    from filelock import FileLock, Timeout

    place, size = folder(), 0
    ours = [p for p in place.iterdir() if re.fullmatch(r"(cpu|cuda)-[0-9a-f]{16}(\..+)?", p.name)]
    for key in sorted({p.name.split(".")[0] for p in ours}):
        lock = FileLock(place / f"{key}.lock")
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
    return place, size
