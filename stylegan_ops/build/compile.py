# SPDX-License-Identifier: Apache-2.0
"""Runs the compilers in a process of their own, and finds the cause in the output of a failure."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stylegan_ops.build.recipe import PACKAGE, Tools
from stylegan_ops.build.tools import Problem, environment

MAX_WAIT_S = 900  # for another process that builds, and for the compilers


class BuildFailed(Problem):
    """A build began and failed: one line, with the path of the log if there is one."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the compilers ended."""

    code: int
    output: str


def compile_apart(recipe: dict[str, Any], tools: Tools, folder: Path) -> Outcome:
    """Run `compile_here` in a process of its own."""
    env = environment()
    env |= {"TMPDIR": str(folder), "TORCH_EXTENSIONS_DIR": str(folder)}
    env["CXX"] = _one_word(tools.compiler, folder)
    env.pop("CC", None)  # torch's builder would hand it to nvcc
    if recipe["cuda"]:
        env |= {"CUDA_HOME": tools.cuda_home, "TORCH_CUDA_ARCH_LIST": ""}
    code = "import sys, json; given = json.loads(sys.argv[1]); sys.path[:] = given['path']; "
    code += "from stylegan_ops.build.recipe import compile_here; compile_here(given['recipe'])"
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
            output, _ = process.communicate(timeout=MAX_WAIT_S)
        except BaseException:  # Ctrl-C or a timeout: end the compilers too
            _end(process)
            raise
    except subprocess.TimeoutExpired:
        raise BuildFailed(f"the compilers did not end within {MAX_WAIT_S // 60} minutes") from None
    return Outcome(process.returncode, output.decode("utf-8", "replace"))


def _one_word(compiler: str, folder: Path) -> str:
    """A command for "ccache g++": torch's builder takes CXX for the name of a file."""
    if os.name == "nt" or len(compiler.split()) == 1:
        return compiler
    script = folder / "c++"
    script.write_text(f'#!/bin/sh\nexec {compiler} "$@"\n')
    script.chmod(0o755)
    return str(script)


def _end(process: subprocess.Popen[bytes]) -> None:
    if os.name == "nt":
        process.kill()
    else:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _absolute_path() -> list[str]:
    root = str(PACKAGE.parent)
    path = [os.path.abspath(p) for p in sys.path]
    return path if root in path else [root, *path]


def explain(output: str) -> str:
    """The cause in a compiler's output, in one line; "" if none is known."""
    lines = [line.strip() for line in output.splitlines()]
    if any("No space left on device" in line for line in lines):
        return "the disk is full"
    for line in lines:
        if "fatal error:" in line or ": error:" in line or line.startswith("nvcc fatal"):
            return line[:300]
    for line in lines:
        if (
            "Killed" in line
            or "due to signal" in line
            or re.search(r"^/bin/sh: .*: not found$", line)
        ):
            return line[:300]
    at = next((i for i, line in enumerate(lines) if line.startswith("FAILED:")), None)
    if at is not None and at + 2 < len(lines):
        return lines[at + 2][:300]  # after the command
    for line in reversed(lines):
        if "Error" in line and "Error building extension" not in line:
            return line[:300]
    return ""
