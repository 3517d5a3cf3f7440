# SPDX-License-Identifier: Apache-2.0
import os
import shlex
import shutil
from pathlib import Path

import pytest
from support.builds import CXX
from support.native import ROOT

from stylegan_ops.runtime import dispatch

# Compiles for real what it is first given, without optimisation, which takes a third of the time
# and comes to the same end; then the object is there. Waits while "hold" is there.
COMPILER = """#!/bin/sh
for word do
    case $before in -c) source=$word;; -o) object=$word;; esac
    case $word in -[DOfgm]*) flags="$flags $word";; esac
    before=$word
done
[ "$source" ] || exec {real} "$@"
while [ -e {folder}/hold ]; do sleep 0.1; done
kept={objects}/$(echo "${{source##*/}} $flags" | cksum | tr ' ' -).o
if [ ! -e "$kept" ]; then
    {real} "$@" -O0 && cp "$object" "$kept.$$" && mv "$kept.$$" "$kept"
else
    cp "$kept" "$object"
fi
"""


@pytest.fixture
def checkout(tmp_path):
    """A copy of the sources without anything built, in a folder with an awkward name."""
    folder = tmp_path / "Jörg's checkout"
    for name in ("stylegan_ops", "csrc"):
        ignore = shutil.ignore_patterns("_native", "__pycache__")
        shutil.copytree(ROOT / name, folder / name, ignore=ignore)
    return folder


@pytest.fixture(scope="module")
def one_compiler(tmp_path_factory):
    """A C++ compiler that compiles nothing twice, in this module or another, in this worker or
    another: building the library takes time only once."""
    base = tmp_path_factory.getbasetemp()
    objects = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "objects"
    objects.mkdir(exist_ok=True)
    script = tmp_path_factory.mktemp("compiler") / "c++"
    names = {"folder": script.parent, "objects": objects}
    quoted = {name: shlex.quote(str(path)) for name, path in names.items()}
    script.write_text(COMPILER.format(real=CXX, **quoted))
    script.chmod(0o755)
    return script


@pytest.fixture
def compiler(one_compiler):
    hold = one_compiler.parent / "hold"
    hold.unlink(missing_ok=True)
    yield one_compiler
    hold.unlink(missing_ok=True)


@pytest.fixture
def built(tmp_path):
    """A cache with the CPU library that this process has loaded."""
    library = Path(dispatch._extensions["cpu"].module.__file__)
    folder = tmp_path / "cache"
    shutil.copytree(library.parent, folder / library.parent.name)
    return folder
