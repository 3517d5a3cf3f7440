# SPDX-License-Identifier: Apache-2.0
"""For tests of builds: an op that is used in a new process with a cache of its own."""

import json
import os
import shutil

from stylegan_ops.build import cache
from support.native import ROOT, run_in_new_process

CXX = shutil.which("c++") or shutil.which("g++")

# An op is called, and must be right; then what it ran on is printed.
USE = """
    import torch, stylegan_ops
    y = stylegan_ops.bias_act(torch.tensor([[-1.0, 2.0]]), act="lrelu", gain=1)
    assert torch.allclose(y, torch.tensor([[-0.2, 2.0]])), y
    print(stylegan_ops.info()["bias_act"]["cpu"]["backend"])
"""


def lines(stderr):
    return [line for line in stderr.splitlines() if line.startswith("stylegan_ops")]


def use(folder, expected, path=(ROOT,), before="", **env):
    """Run USE in a new process with a cache of its own; returns its lines on stderr."""
    env = {**os.environ, cache.VARIABLE: str(folder), **env}
    out, err = run_in_new_process(before + USE, env, path)
    assert out.split() == [expected], out + err
    assert "Traceback" not in err
    return lines(err)


def change_meta(folder, **values):
    (path,) = folder.glob("cpu-*/meta.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


NO_PREBUILT = "import stylegan_ops.build.cache as b; b.PREBUILT = b.Path('/nowhere')\n"
NO_COMPILER = NO_PREBUILT + (
    "import stylegan_ops.build.tools as t\n"
    "def missing(): raise t.Missing('there is no C++ compiler', 'install one')\n"
    "t.find_compiler = missing\n"
)


def indented(code):
    return "".join(f"    {line}\n" for line in code.splitlines())
