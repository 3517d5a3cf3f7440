# SPDX-License-Identifier: Apache-2.0
"""The CUDA toolkit that a build needs: nvcc, its host compiler, and what to compile for."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from stylegan_ops.build.tools import Missing, ask, environment, install_command

# On a machine without a GPU: Ampere, Hopper and Blackwell, and portable code for those between.
DEFAULT_TARGETS = ("8.0", "9.0", "12.0")
PORTABLE = "9.0"
HOST_COMPILERS = ("g++", *(f"g++-{v}" for v in range(15, 8, -1)), "clang++")


@dataclass(frozen=True, slots=True)
class CudaTools:
    """A CUDA toolkit that can compile here."""

    home: Path  # CUDA_HOME
    nvcc: str  # its version, "13.0"
    host_compiler: str | None  # None: nvcc's own choice


def cuda_home_of(nvcc: str | Path) -> Path | None:
    """The toolkit that an nvcc belongs to, which may be a script or a link elsewhere; or None."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "empty.cu"
        source.touch()
        output = ask(str(nvcc), "--dryrun", "-c", str(source), "-o", str(Path(folder) / "empty.o"))
    top = re.search(r"^#\$ TOP=(.+)$", output or "", re.MULTILINE)
    if not top:
        return None
    return Path(top[1].strip().strip('"')).resolve()


def find_cuda_home(torch_cuda: str | None = None) -> tuple[Path, str]:
    """(folder of the CUDA toolkit, version of its nvcc as "13.0"). Raises: Missing.

    In order: CUDA_HOME, CUDA_PATH, nvcc on PATH, the usual folders, the toolkit of pip packages.

    Args:
        torch_cuda: a toolkit of this major version is preferred, "13.0".
    """
    found, broken = _cuda_homes()
    same = [f for f in found if torch_cuda and f[1].split(".")[0] == torch_cuda.split(".")[0]]
    if found:
        return (same or found)[0]
    if broken:
        raise Missing(
            f"{broken[0]} does not run",
            "reinstall the CUDA toolkit, or set CUDA_HOME to a good one",
        )
    raise Missing(
        "there is no CUDA toolkit (nvcc)",
        "install the CUDA toolkit of torch's version, or set CUDA_HOME to where it is",
    )


@functools.lru_cache
def _cuda_homes() -> tuple[list[tuple[Path, str]], list[str]]:
    """([(folder, version)] of the toolkits that work, [nvcc] of those that do not)."""
    found, broken = [], []
    for nvcc in _candidates():
        if not Path(nvcc).exists():
            continue
        home, version = cuda_home_of(nvcc), nvcc_version(nvcc)
        if home and version and (home / "bin" / Path(nvcc).name).exists():
            found.append((home, version))
        else:
            broken.append(str(nvcc))
    return found, broken


def _candidates() -> Iterator[Path]:
    name = "nvcc.exe" if os.name == "nt" else "nvcc"
    for variable in ("CUDA_HOME", "CUDA_PATH"):
        if os.environ.get(variable):
            yield Path(os.environ[variable]) / "bin" / name
    found = shutil.which("nvcc")
    if found:
        yield Path(found)
    yield Path("/usr/local/cuda/bin") / name
    yield from sorted(Path("/usr/local").glob(f"cuda-*/bin/{name}"), reverse=True)
    for folder in sys.path:
        yield from sorted(Path(folder or ".").glob(f"nvidia/cu*/bin/{name}"))


def nvcc_version(nvcc: str | Path) -> str | None:
    """ "13.0", or None."""
    found = re.search(r"release (\d+\.\d+)", ask(str(nvcc), "--version") or "")
    return found[1] if found else None


def check_cuda(torch_cuda: str | None) -> CudaTools:
    """The CUDA toolkit for a version of torch.

    Args:
        torch_cuda: CUDA version of torch, "13.0"; None for a build without CUDA.
    Raises: Missing.
    """
    if torch_cuda is None:
        raise Missing(
            "this PyTorch is built without CUDA", "install a CUDA build: https://pytorch.org"
        )
    home, version = find_cuda_home(torch_cuda)
    if version.split(".")[0] != torch_cuda.split(".")[0]:
        raise Missing(
            f"nvcc in {home} is of CUDA {version}, torch of CUDA {torch_cuda}; the major versions "
            "must be the same",
            f"install the CUDA {torch_cuda} toolkit and set CUDA_HOME, or a torch for CUDA "
            f"{version.split('.')[0]}",
        )
    return CudaTools(home, version, _host_compiler(home))


def _host_compiler(home: Path) -> str | None:
    """The first host compiler that nvcc takes: its default (None), else another installed one."""
    given = os.environ.get("NVCC_CCBIN") or os.environ.get("CUDAHOSTCXX")
    problem = _nvcc_refuses(home, given)
    if problem is None:
        return given
    if "host compiler" not in problem:
        raise Missing(
            f"nvcc in {home} does not work: {problem}",
            "reinstall the CUDA toolkit with its headers, or set CUDA_HOME to a whole one",
        )
    for name in HOST_COMPILERS:
        if shutil.which(name) and _nvcc_refuses(home, name) is None:
            return name
    raise Missing(
        f"nvcc in {home} refuses the C++ compiler: {problem.removeprefix('host compiler: ')}",
        f"{install_command('g++-12', 'gcc-toolset-12', 'gxx=12')}, then set NVCC_CCBIN to it",
    )


def _nvcc_refuses(home: Path, ccbin: str | None) -> str | None:
    """Why nvcc cannot use a host compiler, in a few words, or None."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "try.cu"
        source.write_text("#include <cuda_fp16.h>\n#include <cuda_bf16.h>\n#include <string>\n")
        command = [str(home / "bin" / "nvcc"), "-E", str(source), "-o", str(Path(folder) / "out")]
        command += ["-ccbin", ccbin] if ccbin else []
        try:
            run = subprocess.run(
                command,
                env=environment(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=120,
            )
        except (OSError, subprocess.SubprocessError) as e:
            return str(e)
    output = run.stdout + run.stderr
    if run.returncode == 0:
        return None
    header = re.search(r"(\S+\.h\S*): No such file", output)
    if header:
        return f"its header {header[1]} is missing"
    line = next((li for li in output.splitlines() if "error" in li.lower()), output.strip()[-200:])
    refused = re.search(r"unsupported (GNU|clang|Microsoft)[^!]*!?.*", output)
    if refused or re.search(
        r"Failed to preprocess host compiler|unknown compiler|not found", output
    ):
        return "host compiler: " + (refused[0] if refused else line).strip()
    return line.strip()


def gpu_targets(home: Path) -> tuple[str, ...]:
    """Compute capabilities to build for, "9.0" or "9.0+PTX": TORCH_CUDA_ARCH_LIST; else this
    machine's GPUs; else `DEFAULT_TARGETS` with portable code. Raises: Missing if the list names
    nothing that this nvcc knows, or nothing that a GPU of this machine runs."""
    output = ask(str(home / "bin" / "nvcc"), "--list-gpu-code") or ""
    known = {f"{int(m) // 10}.{int(m) % 10}" for m in re.findall(r"sm_(\d+)\b", output)}
    given = os.environ.get("TORCH_CUDA_ARCH_LIST", "")
    if given.strip():
        listed = given.replace(";", " ").split()
        listed = [t for t in listed if t.removesuffix("+PTX").rstrip("af") in known]
        uncovered = [gpu for gpu in gpus() if gpu in known and not runs_on(listed, gpu)]
        if not listed or uncovered:
            what = f"this GPU, {uncovered[0]}" if uncovered else f"what nvcc in {home} knows"
            raise Missing(
                f"TORCH_CUDA_ARCH_LIST={given} names nothing for {what}", "unset it, or add that"
            )
        return tuple(listed)
    if not gpus():
        targets = [t for t in DEFAULT_TARGETS if t in known] or [max(known, key=_number)]
        portable = PORTABLE if PORTABLE in targets else targets[-1]
        return tuple(t + "+PTX" if t == portable else t for t in targets)
    capabilities = set(gpus())
    targets = sorted(capabilities & known, key=_number)
    newer = capabilities - known  # than this nvcc: portable code of the newest it knows
    if newer:
        older = [k for k in known if _number(k) < _number(min(newer, key=_number))]
        targets.append(max(older or known, key=_number) + "+PTX")
    return tuple(targets)


def gpus() -> list[str]:
    """Compute capabilities of this machine's GPUs, as "9.0"."""
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a driver that does not work; doctor has a row on it
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return ["{}.{}".format(*torch.cuda.get_device_capability(i)) for i in range(count)]


def gencode_flags(targets: Iterable[str]) -> list[str]:
    """nvcc's flags for targets as `gpu_targets` gives them."""
    flags = []
    for target in targets:
        number = target.removesuffix("+PTX").replace(".", "")
        flags.append(f"-gencode=arch=compute_{number},code=sm_{number}")
        if target.endswith("+PTX"):
            flags.append(f"-gencode=arch=compute_{number},code=compute_{number}")
    return flags


def runs_on(targets: Iterable[str], capability: str) -> bool:
    """Whether code for `targets` runs on a GPU of `capability`, "8.6": binary code within its major
    version, portable code on anything newer."""
    for target in targets:
        base = target.removesuffix("+PTX").rstrip("af")
        same_major = base.split(".")[0] == capability.split(".")[0]
        if _number(base) <= _number(capability) and (same_major or target.endswith("+PTX")):
            return True
    return False


def _number(capability: str) -> int:
    major, minor = capability.rstrip("af").split(".")
    return int(major) * 100 + int(minor)
