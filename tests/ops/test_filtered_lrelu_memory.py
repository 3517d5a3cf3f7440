# SPDX-License-Identifier: Apache-2.0
"""filtered_lrelu on a CPU: what it touches, and which instructions it takes."""

import hashlib
import os
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from filtered_lrelu_cases import check_near, derivatives, random_geometry
from native import ROOT, needs_native, run_in_new_process

CACHE = ROOT / ".pytest_cache" / "filtered_lrelu"
CSRC = ROOT / "csrc"
FLAGS = ["-std=c++17", "-O1", "-g1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
ISAS = ["portable", "avx2", "avx512"]
COMPILER = shutil.which(os.environ.get("CXX") or "g++")
PATH = (ROOT, ROOT / "tests", ROOT / "tests" / "ops")


def compiled(*args):
    run = subprocess.run([COMPILER, *FLAGS, *args], capture_output=True, text=True, timeout=500)
    assert run.returncode == 0, run.stderr


def built():
    """The program of filtered_lrelu_faults.cpp, which stands between the driver and its kernels."""
    main = ROOT / "tests" / "ops" / "filtered_lrelu_faults.cpp"
    sources = [*sorted(CSRC.glob("cpu/filtered_lrelu*.cpp")), CSRC / "cpu" / "isa.cpp"]
    headers = [*sorted(CSRC.glob("cpu/*.h")), *sorted(CSRC.glob("common/*.h"))]
    key = hashlib.sha256(b"".join(p.read_bytes() for p in [main, *sources, *headers]))
    program = CACHE / f"{key.hexdigest()[:16]}.program"
    if program.exists():
        return program
    file, name = "filtered_lrelu_{}.cpp", "-Dfiltered_lrelu_{}=real_{}"
    renamed = [(CSRC / "cpu" / file.format(i), name.format(i, i)) for i in ISAS]
    plain = ["-DSTYLEGAN_PLAIN_VECTORS=1", "-Dfiltered_lrelu_portable=plain_portable"]
    others = [(s,) for s in [main, *sources] if s not in dict(renamed)]
    jobs = [*renamed[::-1], (renamed[0][0], *plain), *others]
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
    """All dtypes, instruction sets and orders of tasks, on memory of exactly their sizes."""
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
@pytest.mark.parametrize("capability", ["avx2", "default"])
def test_other_instructions_give_the_same(capability, tmp_path):
    """To rounding. Inputs go by a file: other instructions make other random numbers."""
    geometries = [random_geometry(seed) for seed in range(40)]
    cases = [(*g.inputs(), g.kwargs) for g in geometries]
    torch.save(cases, tmp_path / "cases")
    run_in_new_process(
        f"""
        import torch
        from filtered_lrelu_cases import derivatives

        cases = torch.load({str(tmp_path / "cases")!r})
        found = [derivatives(x, b, "native", **kwargs) for x, b, kwargs in cases]
        torch.save([[t.detach() for t in case] for case in found], {str(tmp_path / "found")!r})
        """,
        env={**os.environ, "ATEN_CPU_CAPABILITY": capability},
        path=PATH,
    )
    found = torch.load(tmp_path / "found")
    for g, (x, b, kwargs), theirs in zip(geometries, cases, found, strict=True):
        check_near(theirs, derivatives(x, b, "native", **kwargs), str(g))
