# SPDX-License-Identifier: Apache-2.0
import ctypes
import os
import platform
import subprocess
import sys
from types import SimpleNamespace

import pytest
from support.cases import by_tier
from support.native import ROOT

import stylegan_ops

NETWORK = ROOT / "tests/fixtures/sg2ada-64.pkl"  # without classes, so --class 0 is an error
MINE = ("STYLEGAN_KEEP_MEMORY", "GLIBC_TUNABLES", "LD_PRELOAD")

# Page faults of ten large tensors before and after something: "before after".
SCRIPT = """
import resource, sys, torch, stylegan_ops
def faults():
    for _ in range(12):  # glibc takes up to eight tries to find a freed block again
        torch.ones(16 << 20)
    start = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.ones(16 << 20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - start
def cli():
    from stylegan.cli.main import program
    try:
        program.main(["generate", "{network}", "--class", "0"])
    except SystemExit as e:
        assert e.code == 2
before = faults()
{action}
print(before, faults())
"""

glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")


def faults(action, **variables):
    env = {k: v for k, v in os.environ.items() if k not in MINE and not k.startswith("MALLOC_")}
    code = SCRIPT.replace("{action}", action).replace("{network}", str(NETWORK))
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=env | variables, capture_output=True, text=True, check=True)
    return map(int, done.stdout.split())


@glibc
@by_tier("action", quick=["cli()"], thorough=["assert stylegan_ops.tune_cpu_allocator()"])
def test_large_tensors_take_pages_that_are_there(action):
    before, after = faults(action)
    assert after < before / 4


@pytest.mark.thorough
@glibc
def test_the_command_line_leaves_the_allocator_alone_where_the_user_says_so():
    before, after = faults("cli()", STYLEGAN_KEEP_MEMORY="0")
    assert after > before / 2


class Libc(SimpleNamespace):
    """A C library that notes what mallopt is called with."""

    def __init__(self, refused=(), **functions):
        super().__init__(calls=[], refused=refused, **functions)

    def mallopt(self, name, value):
        self.calls.append(name)
        return int(name not in self.refused)


@pytest.fixture
def libc(monkeypatch):
    for name in MINE:
        monkeypatch.delenv(name, raising=False)
    for name in [name for name in os.environ if name.startswith("MALLOC_")]:
        monkeypatch.delenv(name)
    fake = Libc(gnu_get_libc_version=None)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: fake)
    return fake


def test_an_old_glibc_that_refuses_the_threshold(libc):
    assert stylegan_ops.tune_cpu_allocator() and libc.calls == [-3, -1]
    libc.refused = [-3]
    assert stylegan_ops.tune_cpu_allocator() and libc.calls[2:] == [-3, -4, -1]
    libc.refused = [-3, -4]
    assert not stylegan_ops.tune_cpu_allocator()


@pytest.mark.parametrize(
    "name, value",
    [
        ("STYLEGAN_KEEP_MEMORY", "0"),
        ("MALLOC_MMAP_THRESHOLD_", "65536"),
        ("MALLOC_TRIM_THRESHOLD_", "65536"),
        ("MALLOC_MMAP_MAX_", "0"),
        ("GLIBC_TUNABLES", "glibc.malloc.arena_max=2:glibc.malloc.mmap_threshold=65536"),
    ],
)
def test_what_the_user_has_set_stays(libc, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    assert stylegan_ops.tune_cpu_allocator() is False and libc.calls == []


def test_other_settings_of_the_user_do_not_matter(libc, monkeypatch):
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.arena_max=2")
    monkeypatch.setenv("STYLEGAN_KEEP_MEMORY", "1")
    assert stylegan_ops.tune_cpu_allocator() is True


@pytest.mark.parametrize("error", [TypeError, OSError, None])
def test_without_glibc_nothing_happens(libc, monkeypatch, error):
    other = Libc()

    def open_library(name):
        if error:
            raise error
        return other

    monkeypatch.setattr(ctypes, "CDLL", open_library)
    assert stylegan_ops.tune_cpu_allocator() is False and other.calls == []
