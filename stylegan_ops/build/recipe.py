# SPDX-License-Identifier: Apache-2.0
"""How the extensions are built: sources, flags, and what decides whether a built one fits."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
import sysconfig
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stylegan_ops.build.cuda_tools import gencode_flags
from stylegan_ops.build.tools import cpu_identity

TORCH_ABI = "0x020a000000000000"  # the stable ABI of torch 2.10, which later versions keep
PACKAGE = Path(__file__).parents[1]


@dataclass(frozen=True)
class Tools:
    """The tools that a build uses."""

    compiler: str  # command
    compiler_about: str  # its first line about itself
    ninja: str  # path
    ninja_version: str
    headers: str  # folder of Python.h
    cuda_home: str = ""
    nvcc: str = ""  # version
    ccbin: str | None = None  # host compiler of nvcc, or None for its own choice
    targets: tuple[str, ...] = ()  # compute capabilities, "9.0" or "9.0+PTX"


def csrc() -> Path:
    """Folder of the C++ and CUDA sources: in the package (wheel) or beside it (checkout)."""
    inside = PACKAGE / "csrc"
    return inside if inside.exists() else PACKAGE.parent / "csrc"


def sources(device: str) -> list[Path]:
    """The files that are compiled for a device."""
    patterns = {"cpu": "*/cpu/*.cpp", "cuda": "*/cuda/*.cu"}  # lib and the folders of the ops
    kernels = sorted(csrc().glob(patterns[device]))
    return [csrc() / "module.cpp", csrc() / f"{device}_library.cpp", *kernels]


def cxx_flags(cpu: str) -> list[str]:
    """For C++ files; cpu: "native" or "x86-64-v3"."""
    define = f"-DTORCH_TARGET_VERSION={TORCH_ABI}"
    if os.name == "nt":
        return [define, "/O2", *(["/arch:AVX2"] if _is_x86() else [])]
    # No fast-math: NaN must stay NaN. These two only say that nobody looks at errno and traps.
    flags = [define, "-O3", "-g0", "-fvisibility=hidden", "-fno-math-errno", "-fno-trapping-math"]
    if _is_x86():
        # With vectors of 512 bits the blocks take 1.2 to 2.5 times as long (Zen 5, gcc 12).
        flags += [f"-march={cpu}", "-mprefer-vector-width=256"]
    elif cpu == "native":
        flags.append("-mcpu=native")
    return flags


def nvcc_flags(targets: Iterable[str], ccbin: str | None) -> list[str]:
    """For CUDA files."""
    flags = ["-O3", *gencode_flags(targets), "--threads=2"]
    return flags + ([f"-ccbin={ccbin}"] if ccbin else [])


def _is_x86() -> bool:
    return platform.machine().lower() in ("x86_64", "amd64")


def identity(device: str, cpu: str = "native", targets: Iterable[str] = ()) -> dict[str, str]:
    """Everything that decides whether an extension fits."""
    import torch

    digest = hashlib.sha256()
    for path in sorted(csrc().rglob("*")):
        if path.suffix in (".cpp", ".h", ".cu", ".cuh"):
            digest.update(path.relative_to(csrc()).as_posix().encode())
            digest.update(path.read_bytes())
    digest.update(" ".join(cxx_flags(cpu) + nvcc_flags((), None)).encode())
    return {
        "device": device,
        "source": digest.hexdigest()[:16],
        "torch": ".".join(torch.__version__.split(".")[:2]),
        "cuda": (torch.version.cuda or "") if device == "cuda" else "",
        "targets": " ".join(targets),
        "python": sysconfig.get_config_var("SOABI") or sys.implementation.cache_tag,
        "cpu": cpu if cpu != "native" else cpu_identity(),
    }


def name_of(ident: dict[str, str]) -> str:
    """The folder of an extension with that `identity`: device and key."""
    text = json.dumps(ident, sort_keys=True)
    return f"{ident['device']}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def info_header(recipe: dict[str, Any], tools: Tools) -> str:
    """What build_info() of the extension returns, besides what the compiler itself knows."""
    info = {"flags": " ".join(recipe["cxx"])}
    if recipe["cuda"]:
        info |= {"cuda": tools.nvcc, "targets": " ".join(tools.targets)}
        info |= {"cuda_flags": " ".join(recipe["nvcc"])}
    entries = " ".join(f"X({json.dumps(k)}, {json.dumps(v)})" for k, v in info.items())
    return f"#define STYLEGAN_BUILD_INFO(X) {entries}\n"


def library_names(device: str) -> set[str]:
    """What the built file may be called, by platform."""
    return {f"stylegan_{device}{suffix}" for suffix in (".so", ".pyd", ".dylib")}


def compile_here(recipe: dict[str, Any]) -> None:
    """Compile and link by torch's own builder, and load the result as a test. Runs in a process of
    its own."""
    from torch.utils import cpp_extension

    cpp_extension.load(
        recipe["name"],
        recipe["sources"],
        extra_cflags=recipe["cxx"] + (["-DUSE_CUDA"] if recipe["cuda"] else []),
        extra_cuda_cflags=recipe["nvcc"],
        extra_include_paths=[recipe["folder"], str(csrc()), *_pybind11()],
        build_directory=recipe["folder"],
        with_cuda=recipe["cuda"],
        verbose=True,
    )


def _pybind11() -> list[str]:
    try:
        import pybind11

        return [pybind11.get_include()]
    except ImportError:  # torch brings a copy
        return []
