# SPDX-License-Identifier: Apache-2.0
"""Programs of CPU kernels under the address and undefined behaviour sanitizers."""

import hashlib
import os
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from filelock import FileLock

ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".pytest_cache" / "sanitized"
CSRC = ROOT / "csrc"
FLAGS = ["-std=c++17", "-O1", "-g1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
# For code of 16 lanes and of plain vectors, which is long: it compiles in half the time with checks
# of memory as calls, and without checks of pointers that the same code has with other vectors.
FEWER_CHECKS = (
    "--param=asan-instrumentation-with-call-threshold=0",
    "-fno-sanitize=null,object-size,pointer-overflow",
)
ISAS = ["portable", "avx2", "avx512"]
COMPILER = shutil.which(os.environ.get("CXX") or "g++")


def check_under_the_sanitizer(op):
    """Run tests/ops/<op>/faults.cpp with csrc/<op>/cpu/*.cpp. The program prints the instruction
    set that it got for each one that it asked for. Skips without a compiler that has sanitizers."""
    if not _there_is_one():
        pytest.skip("no C++ compiler with -fsanitize=address")
    options = "malloc_fill_byte=255:max_malloc_fill_size=1073741824:detect_leaks=0"
    command = ["setarch", "-R", str(_built(op))]  # addresses at random do not suit every version
    if shutil.which("setarch") is None or subprocess.run(["setarch", "-R", "true"]).returncode:
        command = command[2:]
    env = {**os.environ, "ASAN_OPTIONS": options}
    run = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    if "ATEN_CPU_CAPABILITY" not in os.environ:
        best = {"AVX2": "1", "AVX512": "2"}.get(torch.backends.cpu.get_cpu_capability(), "0")
        assert run.stdout[-1] >= best  # PyTorch asks for more than we do
    assert run.stdout in ("000", "011", "012")


def _built(op):
    """The program, which stands between the driver and its kernels: these bear other names."""
    main = ROOT / "tests" / "ops" / op / "faults.cpp"
    kernels = CSRC / op / "cpu"
    sources = [*sorted(kernels.glob("*.cpp")), *sorted(CSRC.glob("lib/cpu/*.cpp"))]
    headers = sorted(CSRC.rglob("*.h"))
    key = hashlib.sha256(repr([COMPILER, FLAGS, FEWER_CHECKS]).encode())
    key.update(b"".join(p.read_bytes() for p in [main, *sources, *headers]))
    program = CACHE / f"{op}-{key.hexdigest()[:16]}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with FileLock(CACHE / f"{op}.lock"):  # other processes wait for what one builds
        if not program.exists():
            _build(op, program, main, kernels, sources)
    return program


def _build(op, program, main, kernels, sources):
    renamed = [(kernels / f"{op}_{i}.cpp", f"-D{i}_kernels=real_{i}") for i in ISAS]
    renamed[-1] += FEWER_CHECKS
    plain = ["-DSTYLEGAN_PLAIN_VECTORS=1", "-Dportable_kernels=plain_portable", *FEWER_CHECKS]
    others = [(s,) for s in [main, *sources] if s not in [job[0] for job in renamed]]
    jobs = [*renamed[::-1], (renamed[0][0], *plain), *others]  # the longest first
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:

        def compile(number):
            source, *flags = jobs[number]
            to = f"{folder}/{number}.o"
            _compiled("-c", str(source), "-o", to, f"-I{CSRC}", *flags)
            return to

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            objects = list(pool.map(compile, range(len(jobs))))
        for old in CACHE.glob(f"{op}-*"):
            old.unlink(missing_ok=True)
        _compiled(*objects, "-o", f"{folder}/program", "-pthread")
        Path(folder, "program").rename(program)


def _compiled(*args):
    run = subprocess.run([COMPILER, *FLAGS, *args], capture_output=True, text=True, timeout=500)
    assert run.returncode == 0, run.stderr


def _there_is_one():
    if COMPILER is None:
        return False
    check = [COMPILER, *FLAGS, "-x", "c++", "-", "-o", os.devnull]
    return subprocess.run(check, input=b"int main() {}", capture_output=True).returncode == 0
