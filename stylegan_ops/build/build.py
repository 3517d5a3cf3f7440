# SPDX-License-Identifier: Apache-2.0
"""Builds the extensions, one for the CPU, one for CUDA, and loads them.

One recipe, two moments: `ahead_of_time` (from setup.py, into the package) and `load` (at first
use, into a cache). A build runs in a process of its own under a file lock, which the system
releases when its holder dies, in a temporary folder that is renamed at the end. A build that is
killed leaves nothing that others would wait for or load.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any

from stylegan_ops.build import cache, cuda_tools, tools
from stylegan_ops.build.cache import Built
from stylegan_ops.build.compile import MAX_WAIT_S, BuildFailed, compile_apart, explain
from stylegan_ops.build.recipe import (
    Tools,
    cxx_flags,
    identity,
    info_header,
    library_names,
    name_of,
    nvcc_flags,
    sources,
)
from stylegan_ops.build.tools import Problem
from stylegan_ops.runtime.extension import DEVICES, Extension

RETRY_S = 3600  # a failed build is not tried again with the same tools before
# Causes that may be gone the next time.
PASSING_CAUSES = (
    *("disk is full", "Killed", "killed", "signal", "memory", "quota", "Input/output error"),
)


def load(device: str) -> Extension:
    """Load the extension of a device, building it first if need be."""
    try:
        return Extension(_load(device))
    except Problem as e:
        return Extension(None, e.what, e.fix)
    except OSError as e:
        return Extension(None, f"{e.filename or 'the build'}: {e.strerror or e}")


def _load(device: str) -> ModuleType:
    damaged = []
    for built in cache.find(device):
        module = cache.import_extension(device, built)
        if module:
            return module
        damaged.append(built)
    try:
        found = preflight(device)
        if damaged:
            print_progress(f"{damaged[0].file} is damaged; building the {device} kernels again")
        built = build(device, found, damaged=damaged)
    except Problem as problem:
        module = _load_older(device, problem)
        if module:
            return module
        if damaged:
            what = f"{damaged[0].file} is damaged, and {problem.what}"
            raise BuildFailed(what, problem.fix) from problem
        raise
    module = cache.import_extension(device, built)
    if module is None:
        log = built.file.parent.with_name(f"{built.file.parent.name}.log")
        raise BuildFailed(f"{built.file} was built but cannot be loaded; see {log}")
    return module


def _load_older(device: str, problem: Problem) -> ModuleType | None:
    """An extension that was built for an older torch, since there is none for this one."""
    for built in cache.find(device, same_torch=False):
        module = cache.import_extension(device, built)
        if module:
            print_progress(
                f"there are no {device} kernels for this version of torch: {problem}. "
                f"Using those of torch {built.meta['torch']}"
            )
            return module
    return None


def preflight(device: str) -> Tools:
    """The tools for a device. Raises: Missing."""
    import torch

    compiler, about = tools.find_compiler()
    ninja, ninja_version = tools.find_ninja()
    headers = tools.check_python_headers()
    if device != "cuda":
        return Tools(compiler, about, ninja, ninja_version, headers)
    cuda = cuda_tools.check_cuda(torch.version.cuda)
    targets = cuda_tools.gpu_targets(cuda.home)
    return Tools(
        *(compiler, about, ninja, ninja_version, headers),
        *(str(cuda.home), cuda.nvcc, cuda.host_compiler, targets),
    )


def build(
    device: str,
    found: Tools,
    root: Path | None = None,
    cpu: str = "native",
    damaged: Sequence[Built] = (),
) -> Built:
    """Build the extension of a device unless another process has just done so.

    Args:
        found: as from `preflight`.
        root: folder to build into; None is the cache.
        cpu: "native" or "x86-64-v3".
        damaged: what is in the folder but cannot be loaded.
    Raises: BuildFailed.
    """
    root = root or cache.folder()
    ident = identity(device, cpu, found.targets)
    name = name_of(ident)
    lock = _acquire(root, name, device)
    builder = root / f"{name}.builder"
    try:
        cache.write(builder, f"process {os.getpid()} on {platform.node()}")
        built = cache.finished(root / name)
        if built and built not in damaged:
            return built
        _check_failed_before(root / f"{name}.failed", found)
        return _build_locked(ident, name, root, found, cpu)
    finally:
        with suppress(OSError):
            builder.unlink()
        lock.release()


def _acquire(root: Path, name: str, device: str) -> Any:
    """The lock of a build, for the caller to release."""
    from filelock import FileLock, Timeout

    lock = FileLock(root / f"{name}.lock")
    try:
        lock.acquire(timeout=1)
    except Timeout:
        print_progress(f"waiting for {_builder(root, name)} to build the {device} kernels")
        try:
            lock.acquire(timeout=MAX_WAIT_S)
        except Timeout:
            raise BuildFailed(
                f"{_builder(root, name)} has held {lock.lock_file} for {MAX_WAIT_S // 60} minutes; "
                "end it, or set STYLEGAN_OPS=reference"
            ) from None
    return lock


def _builder(root: Path, name: str) -> str:
    """Who holds the lock, for a message."""
    try:
        return (root / f"{name}.builder").read_text("utf-8") or "another process"
    except OSError:
        return "another process"


def _build_locked(ident: dict[str, str], name: str, root: Path, found: Tools, cpu: str) -> Built:
    device = ident["device"]
    for left in root.glob(f"{name}.tmp-*"):  # of builders that were killed
        shutil.rmtree(left, ignore_errors=True)
    seconds = 25 if device == "cpu" else 25 + 25 * len(found.targets)
    print_progress(f"building the {device} kernels, once, in {root} (about {seconds} s) ...")
    start = time.monotonic()
    temporary = Path(tempfile.mkdtemp(prefix=f"{name}.tmp-", dir=root))
    recipe = {
        "name": f"stylegan_{device}",
        "sources": [str(s) for s in sources(device)],
        "cxx": cxx_flags(cpu),
        "nvcc": nvcc_flags(found.targets, found.ccbin),
        "folder": str(temporary),
        "cuda": device == "cuda",
    }
    try:
        (temporary / "build_info.h").write_text(info_header(recipe, found), "utf-8")
        file = _compile(recipe, found, temporary, root / name)
        took = round(time.monotonic() - start, 1)
        meta = _meta(ident, recipe, found, file, took)
        _publish(temporary, file, meta, root / name)
    except OSError as e:
        raise BuildFailed(f"{e.filename or temporary}: {e.strerror or e}") from e
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    print_progress(f"built the {device} kernels in {took:.0f} s")
    return Built(root / name / file.name, meta)


def _compile(recipe: dict[str, Any], found: Tools, temporary: Path, target: Path) -> Path:
    """The file of the extension, compiled in a temporary folder. Raises: BuildFailed."""
    outcome = compile_apart(recipe, found, temporary)
    log = target.with_name(f"{target.name}.log")
    cache.write(log, outcome.output)
    names = library_names("cuda" if recipe["cuda"] else "cpu")
    file = next((p for p in temporary.iterdir() if p.name in names), None)
    if file is not None and not outcome.code:
        return file
    cause = explain(outcome.output) or f"the compiler failed with exit code {outcome.code}"
    if outcome.code > 0 and not any(word in cause for word in PASSING_CAUSES):
        failure = {"tools": asdict(found), "cause": cause, "time": time.time()}
        cache.write(target.with_name(f"{target.name}.failed"), json.dumps(failure))
    raise BuildFailed(f"{cause}; the whole log is {log}")


def _meta(
    ident: dict[str, str], recipe: dict[str, Any], found: Tools, file: Path, seconds: float
) -> dict[str, Any]:
    """What meta.json keeps about an extension."""
    gpus = cuda_tools.gpus() if recipe["cuda"] else []
    return {
        **ident,
        "file": file.name,
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "compiler": found.compiler_about,
        "flags": " ".join(recipe["cxx"]),
        "nvcc": found.nvcc,
        "nvcc_flags": " ".join(recipe["nvcc"]),
        "seconds": seconds,
        "built": time.strftime("%Y-%m-%d %H:%M:%S"),
        "gpus": " ".join(gpus),
    }


def _publish(temporary: Path, file: Path, meta: dict[str, Any], target: Path) -> None:
    """Rename the temporary folder, with nothing but the extension and its meta.json, to target."""
    for other in temporary.iterdir():
        if other != file:
            shutil.rmtree(other) if other.is_dir() else other.unlink()
    (temporary / "meta.json").write_text(json.dumps(meta, indent=1), "utf-8")
    for path in (temporary, *temporary.iterdir()):  # others may load it if root is not private
        path.chmod(0o755)
    shutil.rmtree(target, ignore_errors=True)  # one that was damaged
    temporary.rename(target)


def _check_failed_before(path: Path, found: Tools) -> None:
    before = cache.read_json(path)
    same = before and before.get("tools") == json.loads(json.dumps(asdict(found)))
    if before and same and time.time() - before["time"] < RETRY_S:
        raise BuildFailed(
            f"{before['cause']}; it failed like that before (`stylegan doctor` tries again), the "
            f"whole log is {path.with_suffix('.log')}"
        )


def print_progress(text: str) -> None:
    """One line on stderr."""
    print(f"stylegan_ops: {text}", file=sys.stderr, flush=True)


def ahead_of_time(root: str | Path, cpu: str = "native") -> None:
    """Build what can be built here into `root`, and print what cannot and why. For setup.py."""
    for failed in Path(root).glob("*.failed"):
        failed.unlink()
    for device in DEVICES:
        try:
            found = preflight(device)
            Path(root).mkdir(parents=True, exist_ok=True)
            build(device, found, Path(root), cpu)
        except (Problem, OSError) as problem:
            print_progress(f"no {device} kernels ahead of time: {problem}")
