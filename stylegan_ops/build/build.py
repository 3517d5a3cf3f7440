# SPDX-License-Identifier: Apache-2.0
"""Builds the native libraries, one for the CPU, one for CUDA, and loads them.

One recipe, two moments: `ahead_of_time` (from setup.py, into the package) and `load` (at first
use, into a cache). A build runs in a process of its own under a file lock, which the system
releases when its holder dies, in a temporary folder that is renamed at the end: whoever is killed
leaves nothing that others would wait for or load.
"""

import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from stylegan_ops.build import cache, tools
from stylegan_ops.build.recipe import (
    DEVICES,
    PACKAGE,
    cxx_flags,
    identity,
    info_header,
    library_names,
    name_of,
    nvcc_flags,
    sources,
)
from stylegan_ops.build.tools import Missing

WAIT_S = 900  # for another process that builds, and for the compilers
RETRY_S = 3600  # a failed build is not tried again with the same tools before
# Causes that may be gone the next time.
PASSING = ("disk is full", "Killed", "killed", "signal", "memory", "quota", "Input/output error")


class BuildFailed(Exception):
    """A build was begun and failed: one line, with the path of the log where there is one."""


def load(device):
    """Load the library of a device, building it first if need be.

    Returns: (module, reason): the module with `build_info()`, or None and one line why not.
    """
    try:
        return _load(device), ""
    except (Missing, BuildFailed, cache.Unwritable) as e:
        return None, str(e)
    except OSError as e:
        return None, f"{e.filename or 'the build'}: {e.strerror or e}"


def _load(device):
    bad = []
    for file, meta in cache.find(device):
        module = cache.import_library(device, file, meta)
        if module:
            return module
        bad.append((file, meta))
    try:
        toolset = preflight(device)
        if bad:
            say(f"{bad[0][0]} is damaged; building the {device} kernels again")
        file, meta = build(device, toolset, bad=bad)
    except (Missing, BuildFailed, cache.Unwritable) as problem:
        for file, meta in cache.find(device, same_torch=False):
            module = cache.import_library(device, file, meta)
            if module:
                built = f"the {device} kernels that were built for torch {meta['torch']}"
                say(f"taking {built}: {problem}")
                return module
        if bad:
            raise BuildFailed(f"{bad[0][0]} is damaged, and {problem}") from problem
        raise
    module = cache.import_library(device, file, meta)
    if module is None:
        raise BuildFailed(f"{file} was built but cannot be loaded; see {_log(file.parent)}")
    return module


def preflight(device):
    """The tools for a device, as a dictionary of strings and lists. Raises: Missing."""
    import torch

    compiler, about = tools.find_compiler()
    ninja, ninja_version = tools.find_ninja()
    toolset = {"compiler": compiler, "compiler_about": about, "ninja": ninja}
    toolset |= {"ninja_version": ninja_version, "headers": tools.check_python_headers()}
    if device == "cuda":
        home, version, ccbin = tools.check_cuda(torch.version.cuda)
        toolset |= {"cuda_home": str(home), "nvcc": version, "ccbin": ccbin}
        toolset["targets"] = list(tools.gpu_targets(home))
    return toolset


def build(device, toolset, root=None, cpu="native", bad=()):
    """Build the library of a device unless another process has just done so.

    Args:
        toolset: as from `preflight`.
        root: folder to build into; None is the cache.
        cpu: "native" or "x86-64-v3".
        bad: (library file, meta) of what is there but cannot be loaded.
    Returns: (library file, meta). Raises: BuildFailed.
    """
    from filelock import FileLock, Timeout

    root = root or cache.folder()
    ident = identity(device, cpu, toolset.get("targets", ()))
    name = name_of(ident)
    lock = FileLock(root / f"{name}.lock")
    try:
        lock.acquire(timeout=1)
    except Timeout:
        say(f"waiting for {_builder(root, name)} to build the {device} kernels")
        try:
            lock.acquire(timeout=WAIT_S)
        except Timeout:
            raise BuildFailed(
                f"{_builder(root, name)} holds {lock.lock_file} for {WAIT_S // 60} minutes; "
                "end it, or set STYLEGAN_OPS=reference"
            ) from None
    builder = root / f"{name}.builder"
    try:
        cache.write(builder, f"process {os.getpid()} on {platform.node()}")
        found = cache.finished(root / name)
        return (
            found if found and found not in bad else _build_locked(ident, name, root, toolset, cpu)
        )
    finally:
        with suppress(OSError):
            builder.unlink()
        lock.release()


def _builder(root, name):
    """Who holds the lock, for a message."""
    try:
        return (root / f"{name}.builder").read_text("utf-8") or "another process"
    except OSError:
        return "another process"


def _build_locked(ident, name, root, toolset, cpu):
    device, failed = ident["device"], root / f"{name}.failed"
    _check_failed_before(failed, toolset)
    for left in root.glob(f"{name}.tmp-*"):  # of builders that were killed
        shutil.rmtree(left, ignore_errors=True)
    say(f"building the {device} kernels, once, in {root} (about {_usual(device, toolset)} s) ...")
    start = time.monotonic()
    temporary = Path(tempfile.mkdtemp(prefix=f"{name}.tmp-", dir=root))
    log = root / f"{name}.log"
    try:
        recipe = {
            "name": f"stylegan_{device}",
            "sources": [str(s) for s in sources(device)],
            "cxx": cxx_flags(cpu),
            "nvcc": nvcc_flags(toolset.get("targets", ()), toolset.get("ccbin")),
            "folder": str(temporary),
            "cuda": device == "cuda",
        }
        (temporary / "build_info.h").write_text(info_header(recipe, toolset), "utf-8")
        code, said = _compile(recipe, toolset, temporary)
        cache.write(log, said)
        file = next((p for p in temporary.iterdir() if p.name in library_names(device)), None)
        if code or file is None:
            cause = explain(said) or f"the compiler failed with exit code {code}"
            if code > 0 and not any(word in cause for word in PASSING):
                cache.write(
                    failed, json.dumps({"tools": toolset, "cause": cause, "time": time.time()})
                )
            raise BuildFailed(f"{cause}; the whole log is {log}")
        for other in temporary.iterdir():
            if other != file:
                shutil.rmtree(other) if other.is_dir() else other.unlink()
        seconds = round(time.monotonic() - start, 1)
        meta = {**ident, "file": file.name, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
        meta |= {"compiler": toolset["compiler_about"], "flags": " ".join(recipe["cxx"])}
        meta |= {"nvcc": toolset.get("nvcc", ""), "nvcc_flags": " ".join(recipe["nvcc"])}
        meta |= {"seconds": seconds, "built": time.strftime("%Y-%m-%d %H:%M:%S")}
        meta |= {"gpus": " ".join(tools.gpus() if device == "cuda" else [])}
        (temporary / "meta.json").write_text(json.dumps(meta, indent=1), "utf-8")
        for path in (
            temporary,
            *temporary.iterdir(),
        ):  # others may load it where root is not private
            path.chmod(0o755)
        shutil.rmtree(root / name, ignore_errors=True)  # one that was damaged
        temporary.rename(root / name)
    except OSError as e:
        raise BuildFailed(f"{e.filename or temporary}: {e.strerror or e}") from e
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    say(f"built the {device} kernels in {seconds:.0f} s")
    return root / name / file.name, meta


def _compile(recipe, toolset, folder):
    """(exit code, output) of `compile_here` in a process of its own."""
    env = tools.environment()
    env |= {"TMPDIR": str(folder), "TORCH_EXTENSIONS_DIR": str(folder)}
    env["CXX"] = _one_word(toolset["compiler"], folder)
    env.pop("CC", None)  # torch's builder would hand it to nvcc
    if recipe["cuda"]:
        env |= {"CUDA_HOME": toolset["cuda_home"], "TORCH_CUDA_ARCH_LIST": ""}
    code = "import sys, json; given = json.loads(sys.argv[1]); sys.path[:] = given['path']; "
    code += "from stylegan_ops.build.recipe import compile_here; compile_here(given['recipe'])"
    given = {"path": _absolute_path(), "recipe": recipe}
    try:
        process = subprocess.Popen(
            [sys.executable, "-I", "-c", code, json.dumps(given)],
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=os.name != "nt",
        )
        try:
            said, _ = process.communicate(timeout=WAIT_S)
        except BaseException:  # Ctrl-C, or the time is over: end the compilers too
            _end(process)
            raise
    except subprocess.TimeoutExpired:
        raise BuildFailed(f"the compilers did not end within {WAIT_S // 60} minutes") from None
    return process.returncode, said.decode("utf-8", "replace")


def _one_word(compiler, folder):
    """A command for "ccache g++": torch's builder takes CXX for the name of a file."""
    if os.name == "nt" or len(compiler.split()) == 1:
        return compiler
    script = folder / "c++"
    script.write_text(f'#!/bin/sh\nexec {compiler} "$@"\n')
    script.chmod(0o755)
    return str(script)


def _end(process):
    import signal

    if os.name == "nt":
        process.kill()
    else:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _absolute_path():
    root = str(PACKAGE.parent)
    path = [os.path.abspath(p) for p in sys.path]
    return path if root in path else [root, *path]


def _usual(device, toolset):
    return 25 if device == "cpu" else 25 + 25 * len(toolset["targets"])


def _log(folder):
    return folder.parent / f"{folder.name}.log"


def _check_failed_before(path, toolset):
    before = cache.read_json(path)
    if before and before.get("tools") == toolset and time.time() - before["time"] < RETRY_S:
        raise BuildFailed(
            f"{before['cause']}; it failed like that before (`stylegan doctor` tries again), the "
            f"whole log is {path.with_suffix('.log')}"
        )


def explain(said):
    """The cause in a compiler's output, in one line; "" if none is known."""
    lines = [line.strip() for line in said.splitlines()]
    if any("No space left on device" in line for line in lines):
        return "the disk is full"
    for line in lines:
        if "fatal error:" in line or ": error:" in line or line.startswith("nvcc fatal"):
            return line[:300]
    for line in lines:
        if (
            "Killed" in line
            or "due to signal" in line
            or re.search(r"^/bin/sh: .*: not found$", line)
        ):
            return line[:300]
    at = next((i for i, line in enumerate(lines) if line.startswith("FAILED:")), None)
    if at is not None and at + 2 < len(lines):
        return lines[at + 2][:300]  # after the command
    for line in reversed(lines):
        if "Error" in line and "Error building extension" not in line:
            return line[:300]
    return ""


def say(text):
    """One line of progress."""
    print(f"stylegan_ops: {text}", file=sys.stderr, flush=True)


def ahead_of_time(root, cpu="native"):
    """Build what can be built here into `root`; says what not and why. For setup.py."""
    for failed in Path(root).glob("*.failed"):
        failed.unlink()
    for device in DEVICES:
        try:
            toolset = preflight(device)
            Path(root).mkdir(parents=True, exist_ok=True)
            build(device, toolset, Path(root), cpu)
        except (Missing, BuildFailed, OSError) as problem:
            say(f"no {device} kernels ahead of time: {problem}")
