# SPDX-License-Identifier: Apache-2.0
"""Whatever a build lacks, ops work and one line tells what is missing."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.builds import NO_PREBUILT, indented, use
from support.native import ROOT, needs_native
from support.processes import usual_signals

from stylegan_ops.build import cache, compile


def test_no_compiler(tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    said = use(tmp_path, "reference", before=indented(NO_PREBUILT), PATH=str(empty), CXX="")
    assert len(said) == 1 and "there is no C++ compiler (fix: " in said[0]


@pytest.mark.thorough
def test_no_ninja(tmp_path):
    before = (
        NO_PREBUILT
        + "import stylegan_ops.build.tools as t; t.shutil.which = lambda *a, **k: None\n"
    )
    said = use(tmp_path, "reference", before=indented(before))
    assert len(said) == 1 and "ninja is not installed (fix: " in said[0]
    assert "-m pip install ninja" in said[0]


@pytest.mark.thorough
def test_no_python_headers(tmp_path):
    before = NO_PREBUILT + "import sysconfig as s; s.get_path = lambda name: '/nowhere'\n"
    said = use(tmp_path, "reference", before=indented(before))
    assert len(said) == 1 and "Python's headers are not in /nowhere (fix: " in said[0]


def test_a_compiler_that_fails(tmp_path):
    """The cause is in the line, the log in a file, and the next process does not try again."""
    broken = tmp_path / "c++"
    broken.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && echo c++ 99 && exit\n'
        "echo 'x.cpp:1:1: error: no luck today' >&2; exit 1\n"
    )
    broken.chmod(0o755)
    said = use(tmp_path, "reference", before=indented(NO_PREBUILT), CXX=str(broken))
    assert len(said) == 2 and "building the cpu kernels" in said[0]
    assert "error: no luck today; the whole log is " in said[1]
    log = Path(said[1].rsplit(" ", 1)[1])
    assert "no luck today" in log.read_text()
    start = time.monotonic()
    said = use(tmp_path, "reference", before=indented(NO_PREBUILT), CXX=str(broken))
    assert len(said) == 1 and "it failed like that before" in said[0]
    assert time.monotonic() - start < 30
    assert not list(tmp_path.glob("*.tmp-*"))


@pytest.mark.thorough
@needs_native
def test_a_compiler_with_arguments(tmp_path, compiler):
    """As in CXX="ccache g++"."""
    said = use(tmp_path, "native", before=indented(NO_PREBUILT), CXX=f"/usr/bin/env {compiler}")
    assert len(said) == 2
    (folder,) = tmp_path.glob("cpu-*/")
    assert folder.stat().st_mode & 0o777 == 0o755  # other users may load it


@needs_native
def test_an_interrupted_build_goes_on_the_next_time(tmp_path):
    code = f"import sys; sys.path[:0] = [{str(ROOT)!r}]\n" + NO_PREBUILT
    code += "import stylegan_ops; stylegan_ops.load('cpu')"
    env = {**os.environ, cache.VARIABLE: str(tmp_path)}
    builder = subprocess.Popen(
        [sys.executable, "-c", code], env=env, stderr=subprocess.PIPE, preexec_fn=usual_signals
    )
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("*.tmp-*/build.ninja")):
        assert time.monotonic() < deadline and builder.poll() is None
        time.sleep(0.05)
    builder.send_signal(signal.SIGINT)
    _, err = builder.communicate(timeout=30)
    assert b"KeyboardInterrupt" in err and not list(tmp_path.glob("*.tmp-*"))
    assert not list(tmp_path.glob("*.failed")) and not list(tmp_path.glob("*/meta.json"))


def test_causes_are_found_in_what_compilers_say():
    explain = compile.explain
    assert explain("x\nsh: No space left on device\n") == "the disk is full"
    said = "FAILED: [code=127] a.o\n/usr/bin/env g++ -c a\n/bin/sh: 1: env g++: not found\n"
    assert "not found" in explain(said + "RuntimeError: Error building extension 'x'")
    assert explain("FAILED: a.o\ncc -c a\ncc: odd\nRuntimeError: Error building extension") == (
        "cc: odd"
    )
    assert explain("a.cu(3): error: no\nnvcc fatal: also") == "a.cu(3): error: no"
