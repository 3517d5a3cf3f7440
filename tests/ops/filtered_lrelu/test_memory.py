# SPDX-License-Identifier: Apache-2.0
"""filtered_lrelu on a CPU: what it touches, and which instructions it takes."""

import os

import pytest
import torch
from ops.filtered_lrelu.cases import check_near, derivatives, random_geometry
from support.cases import mostly_thorough
from support.native import ROOT, needs_native, run_in_new_process
from support.sanitized import check_under_the_sanitizer

PATH = (ROOT, ROOT / "tests", ROOT / "tests" / "ops")


@pytest.mark.thorough
def test_under_the_sanitizer():
    """All dtypes, instruction sets and orders of tasks, on memory of exactly their sizes."""
    check_under_the_sanitizer("filtered_lrelu")


@needs_native
@mostly_thorough("capability", ["avx2", "default"], ["default"])
def test_other_instructions_give_the_same(capability, tmp_path):
    """To rounding. Inputs go by a file: other instructions make other random numbers."""
    geometries = [random_geometry(seed) for seed in range(40)]
    cases = [(*g.inputs(), g.kwargs) for g in geometries]
    torch.save(cases, tmp_path / "cases")
    run_in_new_process(
        f"""
        import torch
        from ops.filtered_lrelu.cases import derivatives

        cases = torch.load({str(tmp_path / "cases")!r})
        found = [derivatives(x, b, "native", **kwargs) for x, b, kwargs in cases]
        torch.save([[t.detach() for t in case] for case in found], {str(tmp_path / "found")!r})
        """,
        env={**os.environ, "ATEN_CPU_CAPABILITY": capability},
        path=PATH,
    )
    found = torch.load(tmp_path / "found")
    for g, (x, b, kwargs), theirs in zip(geometries, cases, found, strict=True):
        check_near(theirs, derivatives(x, b, "native", **kwargs), str(g))
