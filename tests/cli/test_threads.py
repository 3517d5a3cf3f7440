# SPDX-License-Identifier: Apache-2.0
import os
import subprocess
import sys

import pytest

import stylegan
from stylegan import threads
from stylegan.threads import Threads, cpu_count, cpu_limit, settings

LINUX = sys.platform == "linux"
SPINS = {"GOMP_SPINCOUNT": "2000", "KMP_BLOCKTIME": "20us"} if LINUX else {}
MINE = {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "KMP_BLOCKTIME", "KMP_LIBRARY"} | {
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OMP_THREAD_LIMIT",
    "OMP_DISPLAY_ENV",
}


def files(root, contents):
    for name, text in contents.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Sets the CPUs, the cores behind them and the cgroup files of a machine."""

    def make(cpus, own="0::/\n", shared_cores=1, **cgroups):
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(cpus)), raising=False)
        files(tmp_path, {"own": own})
        (tmp_path / "fs").mkdir()
        files(tmp_path / "fs", {n.replace("__", "/"): t for n, t in cgroups.items()})
        files(tmp_path, {f"cpu{i}": f"core {i // shared_cores}" for i in range(cpus)})
        monkeypatch.setattr(threads, "OWN_CGROUPS", tmp_path / "own")
        monkeypatch.setattr(threads, "CGROUPS", tmp_path / "fs")
        monkeypatch.setattr(threads, "TOPOLOGY", str(tmp_path / "cpu{}"))
        return tmp_path / "fs"

    return make


def test_no_limit(machine):
    machine(64)
    assert cpu_limit() is None and cpu_count() == 64 and settings({}) == SPINS


@pytest.mark.parametrize(
    "quota, limit, count",
    [
        ("200000 100000", 2, 2),
        ("150000 100000", 1.5, 2),
        ("10000 100000", 0.1, 1),
        ("9900000 100000", 99, 64),
        ("max 100000", None, 64),
        ("", None, 64),
        ("two 100000", None, 64),
        ("200000 0", None, 64),
    ],
)
def test_the_limit_of_a_container_counts(machine, quota, limit, count):
    (machine(64) / "cpu.max").write_text(quota + "\n")
    assert cpu_limit() == limit and cpu_count() == count
    assert settings({}) == SPINS | ({"OMP_NUM_THREADS": str(count)} if count < 64 else {})


def test_the_smallest_limit_of_all_cgroups_around_counts(machine):
    root = machine(16, "0::/pod/container\n")
    files(root, {"pod/cpu.max": "300000 100000", "pod/container/cpu.max": "max 100000"})
    assert cpu_limit() == 3
    files(root, {"pod/container/cpu.max": "50000 100000"})
    assert cpu_limit() == 0.5 and cpu_count() == 1


@pytest.mark.parametrize("folder", ["cpu,cpuacct", "cpu", "cpu,cpuacct/docker/1", "cpu/docker/1"])
def test_cgroups_of_version_1(machine, folder):
    own = "5:memory:/docker/1\n4:cpu,cpuacct:/docker/1\n0::/\n"
    root = machine(16, own, **{"memory__cpu.cfs_quota_us": "100000"})
    quota = {f"{folder}/cpu.cfs_quota_us": "400000\n", f"{folder}/cpu.cfs_period_us": "100000\n"}
    files(root, quota)
    assert cpu_limit() == 4 and settings({})["OMP_NUM_THREADS"] == "4"
    files(root, {f"{folder}/cpu.cfs_quota_us": "-1\n"})
    assert cpu_limit() is None


def test_no_more_threads_than_cores(machine):
    (machine(8, shared_cores=2) / "cpu.max").write_text("600000 100000")
    assert cpu_count() == 6 and settings({})["OMP_NUM_THREADS"] == "4"


@pytest.mark.parametrize("text", [None, "", "nonsense\n"])
def test_a_system_without_cgroups(machine, monkeypatch, tmp_path, text):
    machine(3, text or "")
    if text is None:
        (tmp_path / "own").unlink()
    assert cpu_limit() is None and cpu_count() == 3


@pytest.mark.parametrize(
    "given, found",
    [
        ({"GOMP_SPINCOUNT": "7"}, {"OMP_NUM_THREADS": "2"}),
        ({"OMP_WAIT_POLICY": "active"}, {"OMP_NUM_THREADS": "2"}),
        ({"KMP_BLOCKTIME": "0"}, {"OMP_NUM_THREADS": "2"}),
        ({"OMP_NUM_THREADS": "8"}, SPINS),
        ({"MKL_NUM_THREADS": "8"}, SPINS),
        ({"OMP_NUM_THREADS": "8", "GOMP_SPINCOUNT": "0"}, {}),
    ],
)
def test_what_the_user_sets_stands(machine, given, found):
    (machine(64) / "cpu.max").write_text("200000 100000")
    assert settings(given) == found


def test_it_is_too_late_once_torch_is_loaded(monkeypatch):
    import torch  # noqa: F401

    for name in MINE:
        monkeypatch.delenv(name, raising=False)
    assert stylegan.tune_threads() == {} and "GOMP_SPINCOUNT" not in os.environ


def ran(code, **given):
    """What a new process prints, errors too."""
    env = {k: v for k, v in os.environ.items() if k not in MINE} | given
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=env, capture_output=True, text=True)


COMMAND = """
from stylegan.cli.main import program
program(["generate", "no such network"])
"""
LIBRARY = """
import os, stylegan
assert "GOMP_SPINCOUNT" not in os.environ  # an import sets nothing
assert stylegan.tune_threads()["GOMP_SPINCOUNT"] == os.environ["GOMP_SPINCOUNT"] == "2000"
import torch
"""


@pytest.mark.skipif(sys.platform != "linux", reason="PyTorch has libgomp on Linux alone")
@pytest.mark.parametrize(
    "code, given, spins",
    [(COMMAND, {}, "2000"), (COMMAND, {"GOMP_SPINCOUNT": "9"}, "9"), (LIBRARY, {}, "2000")],
)
def test_libgomp_reads_it_when_torch_is_loaded(code, given, spins):
    done = ran(code, OMP_DISPLAY_ENV="VERBOSE", **given)
    assert "Traceback" not in done.stderr
    if "GOMP_" not in done.stderr:
        pytest.skip("PyTorch has another OpenMP here")
    assert f"GOMP_SPINCOUNT = '{spins}'" in done.stderr


def test_what_doctor_says():
    good = Threads(2, 64, 2.0, "libgomp", {"OMP_NUM_THREADS": "2", "GOMP_SPINCOUNT": "9"})
    assert str(good) == (
        "2, for 64 CPUs, of which the container may use 2; libgomp; OMP_NUM_THREADS=2; "
        "GOMP_SPINCOUNT=9"
    )
    assert good.fix == ""
    assert "GOMP_SPINCOUNT=2000" in Threads(2, 2, None, "libgomp", {}).fix
    assert str(Threads(2, 2, None, None, {})) == "2, for 2 CPUs"
    assert "KMP_BLOCKTIME=20us" in Threads(2, 2, None, "libiomp5", {}).fix
    assert Threads(2, 2, None, None, {}).fix == ""
    both = Threads(2, 2, None, "libomp", {"GOMP_SPINCOUNT": "9", "KMP_BLOCKTIME": "1"})
    assert str(both) == "2, for 2 CPUs; libomp; KMP_BLOCKTIME=1" and both.fix == ""


def test_doctor_shows_them(run):
    import torch

    line = next(li for li in run("doctor")[1].splitlines() if li.startswith("threads "))
    assert line.startswith(f"threads      {torch.get_num_threads()}, for ")
