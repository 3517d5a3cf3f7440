# SPDX-License-Identifier: Apache-2.0
"""Winograd convolutions: what they touch, what they leave behind, which instructions they take."""

import hashlib
import os
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from checks import rand
from native import ROOT, needs_native, run_in_new_process
from winograd_cases import convolve, images, threads

CACHE = ROOT / ".pytest_cache" / "winograd"
CSRC = ROOT / "csrc"
FLAGS = ["-std=c++17", "-O1", "-g1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
ISAS = ["portable", "avx2", "avx512"]
COMPILER = shutil.which(os.environ.get("CXX") or "g++")
PATH = (ROOT, ROOT / "tests", ROOT / "tests" / "ops")


def compiled(*args):
    run = subprocess.run([COMPILER, *FLAGS, *args], capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr


def built():
    """The program of winograd_faults.cpp, which stands between the driver and its kernels."""
    main = ROOT / "tests" / "ops" / "winograd_faults.cpp"
    sources = [*sorted(CSRC.glob("cpu/winograd*.cpp")), CSRC / "cpu" / "isa.cpp"]
    headers = [*sorted(CSRC.glob("cpu/*.h")), *sorted(CSRC.glob("common/*.h"))]
    key = hashlib.sha256(b"".join(p.read_bytes() for p in [main, *sources, *headers]))
    program = CACHE / f"{key.hexdigest()[:16]}.program"
    if program.exists():
        return program
    renamed = [(CSRC / "cpu" / f"winograd_{i}.cpp", f"-Dwinograd_{i}=real_{i}") for i in ISAS]
    plain = ["-DSTYLEGAN_PLAIN_VECTORS=1", "-Dwinograd_portable=plain_portable"]
    others = [(s,) for s in [main, *sources] if s not in dict(renamed)]
    jobs = [*renamed, (renamed[0][0], *plain), *others]
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:

        def compile(number):
            source, *flags = jobs[number]
            to = f"{folder}/{number}.o"
            compiled("-c", str(source), "-o", to, f"-I{CSRC}", *flags)
            return to

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            objects = list(pool.map(compile, range(len(jobs))))
        for old in CACHE.glob("*.program"):
            old.unlink(missing_ok=True)
        compiled(*objects, "-o", f"{folder}/program", "-pthread")
        return Path(folder, "program").rename(program)


def sanitizer():
    """Whether programs can be built with it."""
    if COMPILER is None:
        return False
    check = [COMPILER, *FLAGS, "-x", "c++", "-", "-o", os.devnull]
    return subprocess.run(check, input=b"int main() {}", capture_output=True).returncode == 0


def test_under_the_sanitizer():
    """All forms, instruction sets and orders of tasks, on memory of exactly their sizes."""
    if not sanitizer():
        pytest.skip("no C++ compiler with -fsanitize=address")
    options = "malloc_fill_byte=255:max_malloc_fill_size=1073741824:detect_leaks=0"
    command = ["setarch", "-R", str(built())]  # addresses at random do not suit every version
    if shutil.which("setarch") is None or subprocess.run(["setarch", "-R", "true"]).returncode:
        command = command[2:]
    env = {**os.environ, "ASAN_OPTIONS": options}
    run = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    if "ATEN_CPU_CAPABILITY" not in os.environ:
        best = {"AVX2": "1", "AVX512": "2"}.get(torch.backends.cpu.get_cpu_capability(), "0")
        assert run.stdout[-1] >= best  # PyTorch asks for more than we do
    assert run.stdout in ("000", "011", "012")


@needs_native
def test_beside_no_memory():
    """Inputs that begin or end where nothing may be read; in a process that may fall."""
    run_in_new_process(
        """
        import torch
        import stylegan_ops
        from cuda_on_host.buffers import _fenced
        from winograd_cases import FORMS, LAST, convolve, has_isa, images, plain, rand
        from stylegan_ops._winograd import weight_grad

        assert stylegan_ops.load("cpu") is None

        def fenced(side, *tensors):
            for t in tensors:
                size = t.numel() * 4
                memory = _fenced((size + 4095) // 4096 * 4096, side)
                memory = memory[-size:] if side == "after" else memory[:size]
                yield memory.view(torch.float32).as_strided(t.shape, t.stride()).copy_(t)

        def run(x, w, styles, scale, noise, b, *args):
            end = b, "lrelu", None, None, 1
            return convolve(x, w, *args, styles=styles, scale=scale, noise=noise, end=end)

        for isa in filter(has_isa, (0, 1, 2)):
            for form in FORMS:
                for i, size in enumerate([(1, 1), (5, 6), (17, 9)]):
                    flip = (i + isa) % 2 == 1
                    x, w = images(2, 32, *size), rand(48, 32, 3, 3).float()
                    w = w.contiguous(memory_format=LAST) if flip else w
                    args = form, (0, 0) if form == "up" else (1, 1), flip, isa
                    dy = images(*plain(x, w, *args[:2]).shape)
                    noise = torch.randn(2, 1, *dy.shape[2:])
                    given = x, w, torch.randn(2, 32), torch.randn(2, 48), noise, torch.randn(48)
                    for side in ("before", "after"):
                        y = run(*fenced(side, *given), *args)
                        assert torch.equal(y, run(*given, *args)), (args, size)
                        if form != "up":
                            weight_grad(*fenced(side, x, dy), form, (1, 1), isa)
        """,
        path=PATH,
    )


@needs_native
@pytest.mark.parametrize("capability, isa", [("avx2", 1), ("default", 0)])
def test_instructions_are_those_that_pytorch_takes(capability, isa):
    run_in_new_process(
        f"""
        import torch
        import stylegan_ops
        from winograd_cases import FORMS, check, convolve, images, plain, rand
        from stylegan_ops import _winograd

        assert stylegan_ops.load("cpu") is None
        assert _winograd.ISA == {isa}
        x, w = images(2, 48, 9, 10), rand(32, 48, 3, 3).float()
        for form in FORMS:
            check(convolve(x, w, form), plain(x.double(), w, form))
        """,
        env={**os.environ, "ATEN_CPU_CAPABILITY": capability},
        path=PATH,
    )


def resident():
    """Bytes of memory of this process."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@needs_native
@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="no /proc")
@pytest.mark.parametrize("channels, size", [(16, 128), (512, 24)])  # tiles of a task, shared ones
def test_nothing_is_left_behind(channels, size):
    """Each call makes 1 MiB and more."""
    x, w = images(1, channels, size, size), rand(16, channels, 3, 3).float()
    with threads(1):
        for call in range(220):
            if call == 20:
                before = resident()
            convolve(x, w, "tile4", (1, 1))
    assert resident() - before < 40 << 20
