# SPDX-License-Identifier: Apache-2.0
"""setup.py: what it leaves in the folder of the sources."""

import shutil
import subprocess
import sys

import pytest
from support.native import ROOT

pytest.importorskip("setuptools", "77")

# As `pip install .` calls the backend; `setup.py` is ours, and the package is a small one.
BACKEND = """
import sys
from setuptools import build_meta
hook, out = sys.argv[1:]
assert build_meta.get_requires_for_build_wheel() == []
print(getattr(build_meta, hook)(out))
"""


@pytest.fixture
def project(tmp_path):
    """A project with our setup.py, a package of one file and another one's leftovers."""
    folder = tmp_path / "project"
    (folder / "stylegan_ops").mkdir(parents=True)
    (folder / "stylegan_ops" / "__init__.py").write_text("x = 1\n")
    (folder / "csrc").mkdir()
    (folder / "csrc" / "a.cpp").write_text("int a;\n")
    (folder / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["setuptools>=77"]\n[project]\nname = "stylegan"\n'
        'version = "0.1.0"\n[tool.setuptools]\npackages = ["stylegan_ops"]\n'
    )
    shutil.copy(ROOT / "setup.py", folder)
    return folder


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def start(project, hook, out, monkeypatch):
    """A process that runs a hook of the backend."""
    out.mkdir()
    monkeypatch.setenv("STYLEGAN_OPS", "reference")  # no kernels: they take half a minute
    monkeypatch.setenv("TMPDIR", str(out.parent))
    command = [sys.executable, "-c", BACKEND, hook, str(out)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=project, text=True, stdout=pipe, stderr=subprocess.STDOUT)


@pytest.mark.parametrize("hook", ["build_wheel", "build_editable"])
def test_two_at_once_share_nothing(project, hook, tmp_path, monkeypatch):
    before = names(project)
    processes = [start(project, hook, tmp_path / str(i), monkeypatch) for i in range(2)]
    for process in processes:
        output = process.communicate(timeout=120)[0]
        assert process.returncode == 0, output
    assert names(project) == before  # no build, no stylegan.egg-info
    assert sorted(p.name for p in tmp_path.iterdir()) == ["0", "1", "project"]
    (first,), (second,) = (list((tmp_path / str(i)).glob("*.whl")) for i in range(2))
    assert first.name == second.name


def test_a_wheel_holds_nothing_of_an_earlier_build(project, tmp_path, monkeypatch):
    old = project / "build" / "lib" / "stylegan_ops"
    old.mkdir(parents=True)
    (old / "old.py").write_text("")
    process = start(project, "build_wheel", tmp_path / "out", monkeypatch)
    output = process.communicate(timeout=120)[0]
    assert process.returncode == 0, output
    (wheel,) = (tmp_path / "out").glob("*.whl")
    shutil.unpack_archive(wheel, tmp_path / "unpacked", "zip")
    assert names(tmp_path / "unpacked" / "stylegan_ops") == ["__init__.py", "csrc", "csrc/a.cpp"]
    assert [p.name for p in old.iterdir()] == ["old.py"]
