# SPDX-License-Identifier: Apache-2.0
"""What every build needs: compiler, ninja, Python's headers. `cuda_tools` has the CUDA toolkit.

`Missing` tells in one line what is missing, and the command that fixes it.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path


class Problem(Exception):
    """Why there is no extension, in one line; `fix` is a command or an advice, or empty."""

    def __init__(self, what: str, fix: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.what} (fix: {self.fix})" if self.fix else self.what


class Missing(Problem):
    """A tool is missing, so nothing can be built."""


def environment() -> dict[str, str]:
    """The environment for compilers: with the folder of this Python's scripts on PATH, where pip
    puts ninja, even if the virtual environment is not activated."""
    env = dict(os.environ)
    paths = [sysconfig.get_path("scripts"), str(Path(sys.executable).parent)]
    env["PATH"] = os.pathsep.join([env.get("PATH", os.defpath), *paths])
    env["LC_ALL"] = "C"  # messages are searched for known causes
    return env


def ask(*command: str, env: dict[str, str] | None = None) -> str | None:
    """What a command prints, or None if it cannot be run or fails."""
    try:
        run = subprocess.run(
            command,
            env=env or environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=60,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return run.stdout + run.stderr if run.returncode == 0 else None


def find_compiler() -> tuple[str, str]:
    """(command, its first line about itself). Raises: Missing."""
    chosen = os.environ.get("CXX")
    for name in [chosen] if chosen else ["c++", "g++", "clang++"]:
        about = ask(*name.split(), "--version")
        if about:
            return name, about.splitlines()[0]
    if chosen:
        raise Missing(f"CXX={chosen} does not work", "unset CXX, or name a C++ compiler")
    if os.name == "nt":  # torch's builder sets up the environment of cl.exe
        found = ask("where", "cl")
        if found:
            return "cl", found.splitlines()[0]
        fix = "install the Visual Studio Build Tools with C++ and start from their prompt"
    elif sys.platform == "darwin":
        fix = "xcode-select --install"
    else:
        fix = install_command("g++", "gcc-c++", "gxx")
    raise Missing("there is no C++ compiler", fix)


def find_ninja() -> tuple[str, str]:
    """(path, version). Raises: Missing."""
    path = shutil.which("ninja", path=environment()["PATH"])
    version = ask(path, "--version") if path else None
    if not path or not version:
        raise Missing("ninja is not installed", f"{sys.executable} -m pip install ninja")
    return path, version.strip()


def check_python_headers() -> str:
    """Folder of Python.h. Raises: Missing."""
    folder = sysconfig.get_path("include")
    if not (Path(folder) / "Python.h").exists():
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        raise Missing(
            f"Python's headers are not in {folder}",
            install_command(f"python{version}-dev", f"python{version}-devel", f"python={version}"),
        )
    return folder


def cpu_identity() -> str:
    """What code compiled with -march=native depends on: the processor's features."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    features = (li.partition(":")[2] for li in lines if re.match(r"flags|Features", li))
    return f"{platform.machine()} {' '.join(sorted(next(features, '').split()))}"


def has_x86_64_v3() -> bool:
    """Whether code for x86-64-v3 runs here."""
    return {"avx2", "fma", "bmi1", "bmi2", "f16c", "movbe"} <= set(cpu_identity().split())


def install_command(debian: str, fedora: str, conda: str) -> str:
    """The command that installs a package here."""
    if os.environ.get("CONDA_PREFIX"):
        return f"conda install -c conda-forge {conda}"
    if shutil.which("apt-get"):
        return f"sudo apt-get install {debian}"
    if shutil.which("dnf"):
        return f"sudo dnf install {fedora}"
    return f"install {debian} with the system's package manager"
