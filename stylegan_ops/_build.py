# SPDX-License-Identifier: Apache-2.0
"""Finds, builds and loads the native libraries: one for the CPU, one for CUDA.

One recipe, two moments: `ahead_of_time` (from setup.py, into the package) and `load` (at first
use, into a cache). A build runs in a process of its own under a file lock, which the system
releases when its holder dies, in a temporary folder that is renamed at the end: whoever is killed
leaves nothing that others would wait for or load.

    <root>/<device>-<key>/         library, meta.json (what it was built from and for, its checksum)
    <root>/<device>-<key>.lock     held while building; .builder says by whom
    <root>/<device>-<key>.log      what the compilers said
    <root>/<device>-<key>.failed   do not try that again with the same tools
"""

import hashlib
import importlib.machinery
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

from stylegan_ops import _toolchain
from stylegan_ops._toolchain import Missing

DEVICES = ("cpu", "cuda")
TORCH_ABI = "0x020a000000000000"  # the stable ABI of torch 2.10, which later versions keep
PACKAGE = Path(__file__).parent
PREBUILT = PACKAGE / "_native"
CACHE_VARIABLE = "STYLEGAN_OPS_CACHE"
WAIT_S = 900  # for another process that builds, and for the compilers
RETRY_S = 24 * 3600  # a failed build is not tried again with the same tools before


class BuildFailed(Exception):
    """A build was begun and failed: one line, with the path of the log where there is one."""


# ---- recipe


def csrc():
    """Folder of the C++ and CUDA sources: in the package (wheel) or beside it (checkout)."""
    inside = PACKAGE / "csrc"
    return inside if inside.exists() else PACKAGE.parent / "csrc"


def sources(device):
    """The files that are compiled for a device."""
    suffix = {"cpu": "*.cpp", "cuda": "*.cu"}[device]
    kernels = sorted((csrc() / device).glob(suffix))
    return [csrc() / "module.cpp", csrc() / f"register_{device}.cpp", *kernels]


def cxx_flags(cpu):
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


def nvcc_flags(targets, ccbin):
    """For CUDA files."""
    flags = ["-O3", *_toolchain.gencode_flags(targets), "--threads=2"]
    return flags + ([f"-ccbin={ccbin}"] if ccbin else [])


def _is_x86():
    return _toolchain.platform.machine().lower() in ("x86_64", "amd64")


def identity(device, cpu="native", targets=()):
    """All that decides whether a library fits: a dictionary of strings."""
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
        "cpu": cpu if cpu != "native" else _toolchain.cpu_identity(),
    }


def _name(ident):
    text = json.dumps(ident, sort_keys=True)
    return f"{ident['device']}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


# ---- where


def cache_folder():
    """The user's cache, or where that cannot be written, a private folder beside other temporary
    files. Created. Raises: BuildFailed where neither works."""
    given = os.environ.get(CACHE_VARIABLE)
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    user = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")
    private = Path(tempfile.gettempdir()) / f"stylegan_ops-{user}"
    for folder in (Path(given) if given else Path(base) / "stylegan_ops", private):
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Others must not be able to put code there for us to load.
            if hasattr(os, "getuid") and folder == private and folder.stat().st_uid != user:
                continue
            with tempfile.TemporaryFile(dir=folder):
                return folder
        except OSError:
            continue
    raise BuildFailed(f"neither {given or base} nor {private.parent} can be written")


def _roots():
    try:
        return [PREBUILT, cache_folder()]
    except BuildFailed:
        return [PREBUILT]


def find(device, same_torch=True):
    """(library file, meta) of a library that fits this machine, or None.

    Args:
        same_torch: False accepts one that was built for an older torch: the ABI is stable.
    """
    import torch

    mine = {"native": identity(device)}
    if _toolchain.has_x86_64_v3():
        mine["x86-64-v3"] = identity(device, "x86-64-v3")
    gpus = []
    if device == "cuda" and torch.cuda.is_available():
        gpus = [torch.cuda.get_device_capability(i) for i in range(torch.cuda.device_count())]
    for root in _roots():
        for path in sorted(root.glob(f"{device}-*/meta.json")):
            meta = _read_json(path)
            wanted = mine.get("x86-64-v3" if meta and meta.get("cpu") == "x86-64-v3" else "native")
            same = ("device", "source", "cuda", "python", "cpu")
            if not meta or not wanted or any(meta.get(k) != wanted[k] for k in same):
                continue
            newer = _version(meta["torch"]) > _version(wanted["torch"])
            if newer or (same_torch and meta["torch"] != wanted["torch"]):
                continue
            targets = meta["targets"].split()
            if all(_toolchain.runs_on(targets, "{}.{}".format(*gpu)) for gpu in gpus):
                return path.parent / meta["file"], meta
    return None


def _version(text):
    return tuple(int(part) for part in text.split("."))


def _read_json(path):
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None


# ---- loading


def load(device):
    """Load the library of a device, building it first if need be.

    Returns: (module, reason): the module with `build_info()`, or None and one line why not.
    """
    try:
        return _load(device), ""
    except (Missing, BuildFailed) as e:
        return None, str(e)
    except OSError as e:
        return None, f"{e.filename or 'the build'}: {e.strerror or e}"


def _load(device):
    found = find(device)
    if found:
        module = _import(device, *found)
        if module:
            return module
        say(f"{found[0]} is damaged; building the {device} kernels again")
        shutil.rmtree(found[0].parent, ignore_errors=True)
    try:
        tools = preflight(device)
        file, meta = build(device, tools)
    except (Missing, BuildFailed) as problem:
        older = find(device, same_torch=False)
        module = _import(device, *older) if older else None
        if module is None:
            raise
        say(f"taking the {device} kernels that were built for torch {older[1]['torch']}: {problem}")
        return module
    module = _import(device, file, meta)
    if module is None:
        raise BuildFailed(f"{file} was built but cannot be loaded; see {_log(file.parent)}")
    return module


def _import(device, file, meta):
    """The module in `file`, or None if the file is not what was built or cannot be loaded.

    The checksum comes first: loading a truncated library kills the process.
    """
    try:
        if hashlib.sha256(file.read_bytes()).hexdigest() != meta["sha256"]:
            return None
        name = f"stylegan_{device}"
        loader = importlib.machinery.ExtensionFileLoader(name, str(file))
        spec = importlib.util.spec_from_file_location(name, str(file), loader=loader)
        module = importlib.util.module_from_spec(spec)
        loader.exec_module(module)
        return module
    except (ImportError, OSError):
        return None


# ---- building


def preflight(device):
    """The tools for a device, as a dictionary of strings and lists. Raises: Missing."""
    import torch

    compiler, about = _toolchain.find_compiler()
    ninja, ninja_version = _toolchain.find_ninja()
    tools = {"compiler": compiler, "compiler_about": about, "ninja": ninja}
    tools |= {"ninja_version": ninja_version, "headers": _toolchain.check_python_headers()}
    if device == "cuda":
        home, version, ccbin = _toolchain.check_cuda(torch.version.cuda)
        tools |= {"cuda_home": str(home), "nvcc": version, "ccbin": ccbin}
        tools["targets"] = list(_toolchain.gpu_targets(home))
    return tools


def build(device, tools, root=None, cpu="native"):
    """Build the library of a device unless another process has just done so.

    Args:
        tools: as from `preflight`.
        root: folder to build into; None is the cache.
        cpu: "native" or "x86-64-v3".
    Returns: (library file, meta). Raises: BuildFailed.
    """
    from filelock import FileLock, Timeout

    root = root or cache_folder()
    ident = identity(device, cpu, tools.get("targets", ()))
    name = _name(ident)
    lock = FileLock(root / f"{name}.lock")
    try:
        lock.acquire(timeout=1)
    except Timeout:
        say(f"waiting for {_builder(root, name)} to build the {device} kernels")
        try:
            lock.acquire(timeout=WAIT_S)
        except Timeout:
            raise BuildFailed(
                f"{_builder(root, name)} holds {lock.lock_file} for {WAIT_S // 60} minutes; end it, "
                "or set STYLEGAN_OPS=reference"
            ) from None
    builder = root / f"{name}.builder"
    try:
        _write(builder, f"process {os.getpid()} on {_toolchain.platform.node()}")
        return _finished(root / name) or _build_locked(ident, name, root, tools, cpu)
    finally:
        builder.unlink(missing_ok=True)
        lock.release()


def _builder(root, name):
    """Who holds the lock, for a message."""
    try:
        return (root / f"{name}.builder").read_text("utf-8") or "another process"
    except OSError:
        return "another process"


def _finished(folder):
    meta = _read_json(folder / "meta.json")
    file = folder / meta["file"] if meta else None
    if file is None or not file.exists():
        return None
    good = hashlib.sha256(file.read_bytes()).hexdigest() == meta["sha256"]
    return (file, meta) if good else None


def _build_locked(ident, name, root, tools, cpu):
    device, failed = ident["device"], root / f"{name}.failed"
    _check_failed_before(failed, tools)
    for left in root.glob(f"{name}.tmp-*"):  # of builders that were killed
        shutil.rmtree(left, ignore_errors=True)
    say(f"building the {device} kernels, once, in {root} (about {_usual(device, tools)} s) ...")
    start = time.monotonic()
    temporary = Path(tempfile.mkdtemp(prefix=f"{name}.tmp-", dir=root))
    log = root / f"{name}.log"
    try:
        recipe = {
            "name": f"stylegan_{device}",
            "sources": [str(s) for s in sources(device)],
            "cxx": cxx_flags(cpu),
            "nvcc": nvcc_flags(tools.get("targets", ()), tools.get("ccbin")),
            "folder": str(temporary),
            "cuda": device == "cuda",
        }
        (temporary / "build_info.h").write_text(_info_header(recipe, tools), "utf-8")
        code, said = _compile(recipe, tools, temporary)
        _write(log, said)
        file = next((p for p in temporary.iterdir() if p.name in _library_names(device)), None)
        if code or file is None:
            cause = explain(said) or f"the compiler failed with exit code {code}"
            if "disk is full" not in cause and code > 0:
                _write(failed, json.dumps({"tools": tools, "cause": cause, "time": time.time()}))
            raise BuildFailed(f"{cause}; the whole log is {log}")
        for other in temporary.iterdir():
            if other != file:
                shutil.rmtree(other) if other.is_dir() else other.unlink()
        seconds = round(time.monotonic() - start, 1)
        meta = {**ident, "file": file.name, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
        meta |= {"compiler": tools["compiler_about"], "flags": " ".join(recipe["cxx"])}
        meta |= {"nvcc": tools.get("nvcc", ""), "nvcc_flags": " ".join(recipe["nvcc"])}
        meta |= {"seconds": seconds, "built": time.strftime("%Y-%m-%d %H:%M:%S")}
        (temporary / "meta.json").write_text(json.dumps(meta, indent=1), "utf-8")
        shutil.rmtree(root / name, ignore_errors=True)  # one that was damaged
        temporary.rename(root / name)
    except OSError as e:
        raise BuildFailed(f"{e.filename or temporary}: {e.strerror or e}") from e
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    say(f"built the {device} kernels in {seconds:.0f} s")
    return root / name / file.name, meta


def _info_header(recipe, tools):
    """What the library answers in build_info(), besides what the compiler itself knows."""
    info = {"flags": " ".join(recipe["cxx"])}
    if recipe["cuda"]:
        info |= {"cuda": tools["nvcc"], "targets": " ".join(tools["targets"])}
        info |= {"cuda_flags": " ".join(recipe["nvcc"])}
    entries = " ".join(f"X({json.dumps(k)}, {json.dumps(v)})" for k, v in info.items())
    return f"#define STYLEGAN_BUILD_INFO(X) {entries}\n"


def _compile(recipe, tools, folder):
    """(exit code, output) of `_compile_here` in a process of its own."""
    env = _toolchain.environment()
    env |= {"TMPDIR": str(folder), "TORCH_EXTENSIONS_DIR": str(folder), "CXX": tools["compiler"]}
    env.pop("CC", None)  # torch's builder would hand it to nvcc
    if recipe["cuda"]:
        env |= {"CUDA_HOME": tools["cuda_home"], "TORCH_CUDA_ARCH_LIST": ""}
    code = "import sys, json; given = json.loads(sys.argv[1]); sys.path[:] = given['path']; "
    code += "from stylegan_ops._build import _compile_here; _compile_here(given['recipe'])"
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


def _compile_here(recipe):
    """Compile and link by torch's own builder, and load the result as a test; run by `_compile`."""
    from torch.utils import cpp_extension

    cpp_extension.load(
        recipe["name"],
        recipe["sources"],
        extra_cflags=recipe["cxx"] + (["-DUSE_CUDA"] if recipe["cuda"] else []),
        extra_cuda_cflags=recipe["nvcc"],
        extra_include_paths=[recipe["folder"], *_pybind11()],
        build_directory=recipe["folder"],
        with_cuda=recipe["cuda"],
        verbose=True,
    )


def _pybind11():
    try:
        import pybind11

        return [pybind11.get_include()]
    except ImportError:  # torch brings a copy
        return []


def _library_names(device):
    return {f"stylegan_{device}{suffix}" for suffix in (".so", ".pyd", ".dylib")}


def _usual(device, tools):
    return 10 if device == "cpu" else 15 + 10 * len(tools["targets"])


def _log(folder):
    return folder.parent / f"{folder.name}.log"


def _write(path, text):
    try:
        path.write_text(text, "utf-8")
    except OSError:
        pass  # a log must not be the reason of a failure


def _check_failed_before(path, tools):
    before = _read_json(path)
    if before and before.get("tools") == tools and time.time() - before["time"] < RETRY_S:
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
    for line in reversed(lines):
        if "Error" in line or "error" in line or "Killed" in line:
            return line[:300]
    return ""


def say(text):
    """One line of progress."""
    print(f"stylegan_ops: {text}", file=sys.stderr, flush=True)


# ---- other moments


def ahead_of_time(root, cpu="native"):
    """Build what can be built here into `root`; says what not and why. For setup.py."""
    for device in DEVICES:
        try:
            tools = preflight(device)
            Path(root).mkdir(parents=True, exist_ok=True)
            build(device, tools, Path(root), cpu)
        except (Missing, BuildFailed, OSError) as problem:
            say(f"no {device} kernels ahead of time: {problem}")


def forget_failures():
    """Let the next load try builds that have failed before."""
    for root in _roots():
        for path in root.glob("*.failed"):
            path.unlink(missing_ok=True)


def clean():
    """Empty the cache (what was built into the package stays).

    Returns: (folder, bytes that were freed). Raises: BuildFailed if there is no cache.
    """
    folder, size = cache_folder(), 0
    for path in folder.iterdir():
        if not re.fullmatch(r"(cpu|cuda)-[0-9a-f]{16}(\..+)?", path.name):
            continue  # not ours
        files = [path, *path.rglob("*")] if path.is_dir() else [path]
        size += sum(p.stat().st_size for p in files if p.is_file())
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return folder, size
