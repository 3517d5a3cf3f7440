# SPDX-License-Identifier: Apache-2.0
"""A kernel is one row: one folder in csrc, one file in stylegan_ops, one folder of tests, one
benchmark, all with the same name."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OPS = sorted(p.name for p in (ROOT / "csrc").iterdir() if p.is_dir() and p.name != "lib")


def test_there_are_ops():
    assert {"bias_act", "filtered_lrelu", "tensor_core_layer", "weight_grad"} <= set(OPS)


@pytest.mark.parametrize("op", OPS)
def test_an_op_is_one_row(op):
    assert (ROOT / "csrc" / op / "ops.h").is_file()
    files = [p for p in (ROOT / "stylegan_ops").rglob("*.py") if op in p.name]
    assert [p.name for p in files] == [f"{op}.py"]
    folders = [p for p in (ROOT / "tests").rglob(f"*{op}*") if p.is_dir()]
    assert folders == [ROOT / "tests" / "ops" / op] and list(folders[0].glob("test_*.py"))
    benchmarks = [p.name for p in (ROOT / "benchmarks").glob("*.py") if op in p.name]
    assert benchmarks == [f"bench_{op}.py"]


@pytest.mark.parametrize("op", OPS)
def test_an_op_has_one_name(op):
    """Under which csrc registers it, and Python defines and declares it."""
    registered = (ROOT / "csrc" / op / "ops.h").read_text("utf-8")
    assert re.search(rf'implement\w*<[^;]*>\(m, "{op}"\)', registered)
    (file,) = (ROOT / "stylegan_ops").rglob(f"{op}.py")
    assert f'declare("{op}")' in file.read_text("utf-8")
