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

from stylegan_ops.build import cuda_tools, tools

HERE = Path(__file__).parent
CSRC = HERE.parents[1] / "csrc"
CACHE = HERE.parents[1] / ".pytest_cache" / "cuda_on_host"
FLAGS = [
    *("-std=c++17", "-O1", "-fPIC", "-fvisibility=hidden"),  # -g would take 40 % longer
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
    sources = [*SHIM, *map(Path, sources)]
    library = CACHE / f"{sources[-1].stem}-{_key(sources, include)}.so"
    if not library.is_file():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            built = _build(sources, include, Path(folder))
            os.replace(built, library)  # at once: another test run may build or load the same
    return ctypes.CDLL(str(library))


def _key(sources, include):
    headers = [f for d in (HERE, CSRC) for f in sorted(d.rglob("*.*h"))]
    version = subprocess.run([_compiler(), "--version"], capture_output=True, text=True).stdout
    digest = hashlib.sha256(repr([version, str(include), FLAGS, KERNEL_FLAGS]).encode())
    for file in [*sources, *headers]:
        digest.update(f"{file.name} {file.stat().st_size}\n".encode() + file.read_bytes())
    return digest.hexdigest()[:16]


def _build(sources, include, folder):
    def compile(source):
        target = folder / f"{source.name}.o"
        shared = CACHE / f"{source.stem}-{_key([source], include)}.o"  # by all libraries
        if source in SHIM and shared.is_file():
            return str(shared)
        kernel = KERNEL_FLAGS if source.suffix == ".cu" else []
        folders = [f"-I{HERE}", f"-I{CSRC}", "-isystem", str(include)]
        _run([*FLAGS, *folders, *kernel, "-c", str(source)], target)
        if source in SHIM:
            os.replace(target, shared)
            return str(shared)
        return str(target)

    with ThreadPoolExecutor() as pool:
        objects = list(pool.map(compile, sources))
    library = folder / "library.so"
    _run(["-shared", *objects, "-ldl"], library)
    return library


def _run(arguments, target):
    command = [_compiler(), *arguments, "-o", str(target)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}\n{done.stderr[-4000:]}")
