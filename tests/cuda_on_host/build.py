# SPDX-License-Identifier: Apache-2.0
"""CUDA kernels of csrc as a library for the host, by g++ with CUDA's headers and this shim."""

import ctypes
import hashlib
import os
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

from filelock import FileLock

from stylegan_ops.build import cuda_tools, tools

HERE = Path(__file__).parent
CSRC = HERE.parents[1] / "csrc"
CACHE = HERE.parents[1] / ".pytest_cache" / "cuda_on_host"
FLAGS = [
    *("-std=c++17", "-O1", "-g1", "-fPIC", "-fvisibility=hidden"),
    "-fno-strict-aliasing",  # kernels read 16 bytes of any dtype at a time, as nvcc lets them
    *("-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas", "-Wno-unused-parameter"),
]
SHIM = [HERE / f"{name}.cpp" for name in ("fibers", "grid", "memory", "copies", "tensor_core")]
KERNEL_FLAGS = [
    "-fsanitize=alignment,null,bounds,shift",  # memory.cpp takes the findings
    *("-include", str(HERE / "cuda_runtime.h")),  # as nvcc does
    *("-x", "c++"),
]


def find_cuda_home():
    """The folder of the CUDA toolkit, or None."""
    try:
        return cuda_tools.find_cuda_home()[0]
    except tools.Missing:
        return None


def missing():
    """What keeps this machine from building, or None."""
    if _compiler() is None:
        return "no C++ compiler (g++, or $CXX)"
    if find_cuda_home() is None:
        return "no CUDA headers (CUDA_HOME, nvcc on PATH or /usr/local/cuda)"
    return None


def _compiler():
    return shutil.which(os.environ.get("CXX") or "g++")


def load(*sources):
    """The library of these sources and the shim, built unless the very same one was before.

    Args:
        sources: paths; *.cu are kernels, *.cpp entry points whose names ctypes looks up.
    Raises: RuntimeError with the compiler's messages.
    """
    library, error = _load_once(*sources)
    if error is not None:
        raise RuntimeError(error)
    return library


def counts(library):
    """{what: number} of what its kernels did since the last call; see Counts in harness.h."""
    names = "read_conflicts", "write_conflicts", "reads", "copies", "products"
    numbers = (ctypes.c_int64 * len(names))()
    library.cuda_on_host_counts(numbers)
    return dict(zip(names, numbers))


@cache
def _load_once(*sources):
    """The library, None or None, messages: hundreds of tests may ask for what does not compile."""
    try:
        return _load(*sources), None
    except RuntimeError as error:
        return None, str(error)


def _load(*sources):
    include = find_cuda_home() / "include"
    sources = list(map(Path, sources))

    def link(folder):
        shim = _built(
            "shim.o", SHIM, include, lambda folder: _compiled(SHIM, include, folder, "-r")
        )
        return _compiled(sources, include, folder, "-shared", shim, "-ldl")

    library = _built(f"{sources[-1].stem}.so", [*SHIM, *sources], include, link)
    return ctypes.CDLL(str(library))


def _built(name, sources, include, build):
    """The file that `build` makes in a folder, unless it was made of the same sources before."""
    stem, suffix = name.split(".")
    file = CACHE / f"{stem}-{_key(sources, include)}.{suffix}"
    if not file.is_file():
        CACHE.mkdir(parents=True, exist_ok=True)
        with FileLock(file.with_suffix(".lock")):  # other processes wait for what one builds
            if not file.is_file():
                with tempfile.TemporaryDirectory(dir=CACHE) as folder:
                    os.replace(build(Path(folder)), file)
    return file


def _key(sources, include):
    headers = [*sorted(HERE.rglob("*.*h")), *sorted(CSRC.rglob("*.*h"))]
    headers = [file for file in headers if file.parent.name != "cpu"]
    version = subprocess.run([_compiler(), "--version"], capture_output=True, text=True).stdout
    flags = [flag.replace(str(HERE), "") for flag in FLAGS + KERNEL_FLAGS]
    digest = hashlib.sha256(repr([version, str(include), flags]).encode())
    for file in [*sources, *headers]:
        digest.update(f"{file.name} {file.stat().st_size}\n".encode() + file.read_bytes())
    return digest.hexdigest()[:16]


def _compiled(sources, include, folder, *link):
    """All sources in one file, made by the compiler with the arguments `link`."""

    def compile(source):
        target = folder / f"{source.name}.o"
        kernel = KERNEL_FLAGS if source.suffix == ".cu" else []
        folders = [f"-I{HERE}", f"-I{CSRC}", "-isystem", str(include)]
        _run([*FLAGS, *folders, *kernel, "-c", str(source)], target)
        return str(target)

    with ThreadPoolExecutor() as pool:
        objects = list(pool.map(compile, sources))
    target = folder / "linked"
    _run([*objects, *map(str, link)], target)
    return target


def _run(arguments, target):
    command = [_compiler(), *arguments, "-o", str(target)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}\n{done.stderr[-4000:]}")
