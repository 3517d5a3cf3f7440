# SPDX-License-Identifier: Apache-2.0
"""For tests of native kernels: what to skip where they cannot be built, and a new process."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import stylegan_ops

ROOT = Path(__file__).parents[2]
BACKENDS = ["native", "reference"]

_why_not = (
    "STYLEGAN_OPS=reference" if stylegan_ops.mode() == "reference" else stylegan_ops.load("cpu")
)
needs_native = pytest.mark.skipif(_why_not is not None, reason=f"no CPU kernels: {_why_not}")
if _why_not:
    BACKENDS = ["reference"]


def run_in_new_process(code, env=None, path=(ROOT,)):
    """Run Python code that asserts; returns (stdout, stderr)."""
    start = f"import sys; sys.path[:0] = {[str(p) for p in path]!r}\n"
    run = subprocess.run(
        [sys.executable, "-c", start + textwrap.dedent(code)],
        env=env,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout, run.stderr
