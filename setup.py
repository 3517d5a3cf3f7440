# SPDX-License-Identifier: Apache-2.0
"""Everything static is in pyproject.toml. Here: the kernels are built ahead of time by
stylegan_ops/build if the environment that installs already has PyTorch. If it has not, or if
something is missing, the installation goes on and the kernels are built at first use.

Wheels are built in a temporary folder, so that two installations from one checkout can run at once.
"""

import atexit
import contextlib
import functools
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.build import build
from setuptools.command.build_py import build_py
from setuptools.command.egg_info import egg_info

HERE = Path(__file__).parent
# What pip runs; only a source archive and older commands want their files beside the sources.
OF_PIP = {"egg_info", "dist_info", "bdist_wheel", "editable_wheel"}
# pip builds in isolation, but -I does not see its isolated folders: only the environment's own.
AHEAD = (
    "import sys; sys.path.insert(0, sys.argv[1])\n"
    "try:\n"
    "    from stylegan_ops.build import build\n"
    "except ImportError as e:\n"
    "    sys.exit(f'no kernels ahead of time, they are built at first use: {e}')\n"
    "build.ahead_of_time(*sys.argv[2:])"
)


def wanted():
    return os.environ.get("STYLEGAN_OPS", "auto") != "reference"


@functools.cache
def temporary_folder():
    """A folder of this process, which deletes it at the end."""
    folder = tempfile.mkdtemp(prefix="stylegan-build-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


class BuildElsewhere(build):
    """Without the folder `build`, unless an option names one."""

    def initialize_options(self):
        super().initialize_options()
        if OF_PIP.issuperset(self.distribution.commands):
            self.build_base = temporary_folder()


class EggInfoElsewhere(egg_info):
    """Without `stylegan.egg-info` beside the sources."""

    def initialize_options(self):
        super().initialize_options()
        if OF_PIP.issuperset(self.distribution.commands):
            self.egg_base = temporary_folder()


class BuildWithKernels(build_py):
    """An editable installation gets kernels for this very processor beside the sources; a wheel
    gets those of x86-64-v3 (Haswell and Zen or later), and the sources."""

    def run(self):
        super().run()
        if self.editable_mode:
            target, cpu = HERE / "stylegan_ops" / "_native", "native"
        else:
            package = Path(self.build_lib) / "stylegan_ops"
            for old in ("csrc", "_native"):  # of an earlier build in the same folder
                shutil.rmtree(package / old, ignore_errors=True)
            shutil.copytree(HERE / "csrc", package / "csrc")
            target, cpu = package / "_native", "x86-64-v3"
        if wanted():
            command = [sys.executable, "-I", "-c", AHEAD, str(HERE), str(target), cpu]
            subprocess.run(command, check=False)
            for path in target.glob("*.*"):
                if not self.editable_mode or not is_kept(path):
                    with contextlib.suppress(OSError):  # another installation was faster
                        path.unlink()


def is_kept(path):
    """Whether a file beside the kernels stays: a log that somebody may want to read, and what
    another installation may be using, its lock and its temporary folder."""
    return path.suffix == ".lock" or ".tmp-" in path.name or path.with_suffix(".failed").exists()


class WithKernels(Distribution):
    """A wheel with kernels is for one platform."""

    def has_ext_modules(self):
        torch = "import importlib.util as u, sys; sys.exit(u.find_spec('torch') is None)"
        return wanted() and subprocess.run([sys.executable, "-I", "-c", torch]).returncode == 0


setup(
    cmdclass={
        "build": BuildElsewhere,
        "build_py": BuildWithKernels,
        "egg_info": EggInfoElsewhere,
    },
    distclass=WithKernels,
)
