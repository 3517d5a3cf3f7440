# SPDX-License-Identifier: Apache-2.0
"""What a build needs and whether it is there: compiler, ninja, Python's headers, CUDA toolkit.

All that is missing is a `Missing` with one line that says what, and the command that mends it.
"""

import functools
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

# Without a GPU to ask: Ampere, Hopper and Blackwell, and portable code for what lies between.
DEFAULT_TARGETS = ("8.0", "9.0", "12.0")
PORTABLE = "9.0"
HOST_COMPILERS = ("g++", *(f"g++-{v}" for v in range(15, 8, -1)), "clang++")


class Missing(Exception):
    """Why nothing can be built; `mend` is a command or an advice."""

    def __init__(self, what, mend):
        super().__init__(what)
        self.mend = mend

    def __str__(self):
        return f"{self.args[0]} (mend: {self.mend})"


def environment():
    """The environment for compilers: with the folder of this Python's scripts on PATH, where pip
    puts ninja, even if the virtual environment is not activated."""
    env = dict(os.environ)
    paths = [sysconfig.get_path("scripts"), str(Path(sys.executable).parent)]
    env["PATH"] = os.pathsep.join([env.get("PATH", os.defpath), *paths])
    env["LC_ALL"] = "C"  # messages are searched for known causes
    return env


def ask(*command, env=None):
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


def find_compiler():
    """(command, its first line about itself). Raises: Missing."""
    for name in filter(None, [os.environ.get("CXX"), "c++", "g++", "clang++"]):
        about = ask(*name.split(), "--version")
        if about:
            return name, about.splitlines()[0]
    if os.name == "nt":  # torch's builder sets up the environment of cl.exe
        found = ask("where", "cl")
        if found:
            return "cl", found.splitlines()[0]
        mend = "install the Visual Studio Build Tools with C++ and start from their prompt"
    elif sys.platform == "darwin":
        mend = "xcode-select --install"
    else:
        mend = _install("g++", "gcc-c++", "gxx")
    raise Missing("there is no C++ compiler", mend)


def find_ninja():
    """(path, version). Raises: Missing."""
    path = shutil.which("ninja", path=environment()["PATH"])
    version = ask(path, "--version") if path else None
    if not version:
        raise Missing("ninja is not installed", f"{sys.executable} -m pip install ninja")
    return path, version.strip()


def check_python_headers():
    """Folder of Python.h. Raises: Missing."""
    folder = sysconfig.get_path("include")
    if not (Path(folder) / "Python.h").exists():
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        raise Missing(
            f"Python's headers are not in {folder}",
            _install(f"python{version}-dev", f"python{version}-devel", f"python={version}"),
        )
    return folder


def cuda_home_of(nvcc):
    """The toolkit that an nvcc belongs to, which may be a script or a link elsewhere; or None."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "empty.cu"
        source.touch()
        said = ask(nvcc, "--dryrun", "-c", str(source), "-o", str(Path(folder) / "empty.o"))
    top = re.search(r"^#\$ TOP=(.+)$", said or "", re.MULTILINE)
    if not top:
        return None
    return Path(top[1].strip().strip('"')).resolve()


def find_cuda_home(torch_cuda=None):
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
def _cuda_homes():
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


def _candidates():
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


def nvcc_version(nvcc):
    """ "13.0", or None."""
    found = re.search(r"release (\d+\.\d+)", ask(str(nvcc), "--version") or "")
    return found[1] if found else None


def check_cuda(torch_cuda):
    """(CUDA_HOME, nvcc's version, host compiler or None for nvcc's own choice).

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
    return home, version, _host_compiler(home)


def _host_compiler(home):
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
        f"{_install('g++-12', 'gcc-toolset-12', 'gxx=12')}, then set NVCC_CCBIN to it",
    )


def _nvcc_refuses(home, ccbin):
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
    said = run.stdout + run.stderr
    if run.returncode == 0:
        return None
    header = re.search(r"(\S+\.h\S*): No such file", said)
    if header:
        return f"its header {header[1]} is missing"
    line = next((li for li in said.splitlines() if "error" in li.lower()), said.strip()[-200:])
    refused = re.search(r"unsupported (GNU|clang|Microsoft)[^!]*!?.*", said)
    if refused or re.search(r"Failed to preprocess host compiler|unknown compiler|not found", said):
        return "host compiler: " + (refused[0] if refused else line).strip()
    return line.strip()


def gpu_targets(home):
    """Compute capabilities to build for, "9.0" or "9.0+PTX": TORCH_CUDA_ARCH_LIST; else this
    machine's GPUs; else `DEFAULT_TARGETS` with portable code. Raises: Missing if the list names
    nothing that this nvcc knows, or nothing that a GPU of this machine runs."""
    said = ask(str(home / "bin" / "nvcc"), "--list-gpu-code") or ""
    known = {f"{int(m) // 10}.{int(m) % 10}" for m in re.findall(r"sm_(\d+)\b", said)}
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


def gpus():
    """Compute capabilities of this machine's GPUs, as "9.0"."""
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return ["{}.{}".format(*torch.cuda.get_device_capability(i)) for i in range(count)]


def gencode_flags(targets):
    """nvcc's flags for targets as `gpu_targets` gives them."""
    flags = []
    for target in targets:
        number = target.removesuffix("+PTX").replace(".", "")
        flags.append(f"-gencode=arch=compute_{number},code=sm_{number}")
        if target.endswith("+PTX"):
            flags.append(f"-gencode=arch=compute_{number},code=compute_{number}")
    return flags


def runs_on(targets, capability):
    """Whether code for `targets` runs on a GPU of `capability`, "8.6": binary code within its major
    version, portable code on anything newer."""
    for target in targets:
        base = target.removesuffix("+PTX").rstrip("af")
        same_major = base.split(".")[0] == capability.split(".")[0]
        if _number(base) <= _number(capability) and (same_major or target.endswith("+PTX")):
            return True
    return False


def _number(capability):
    major, minor = capability.rstrip("af").split(".")
    return int(major) * 100 + int(minor)


def cpu_identity():
    """What code compiled with -march=native depends on: the processor's features."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    features = (li.partition(":")[2] for li in lines if re.match(r"flags|Features", li))
    return f"{platform.machine()} {' '.join(sorted(next(features, '').split()))}"


def has_x86_64_v3():
    """Whether code for x86-64-v3 runs here."""
    return {"avx2", "fma", "bmi1", "bmi2", "f16c", "movbe"} <= set(cpu_identity().split())


def _install(debian, fedora, conda):
    """The command that installs a package here."""
    if os.environ.get("CONDA_PREFIX"):
        return f"conda install -c conda-forge {conda}"
    if shutil.which("apt-get"):
        return f"sudo apt-get install {debian}"
    if shutil.which("dnf"):
        return f"sudo dnf install {fedora}"
    return f"install {debian} with the system's package manager"
