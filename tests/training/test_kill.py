# SPDX-License-Identifier: Apache-2.0
"""A small version of benchmarks/kill_resume.py."""

import sys

import pytest
from support.benchmarks import FOLDER, load_script

kill_and_compare = load_script(FOLDER / "kill_resume.py").kill_and_compare


@pytest.mark.thorough
@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
@pytest.mark.parametrize("workers", [0, 2])
def test_killed_at_random_it_goes_on_as_if_nothing_had_happened(tmp_path, workers):
    done = kill_and_compare(
        kills=2, kimg=0.25, workers=workers, seed=workers, max_seconds=6, folder=tmp_path
    )
    assert done["kills"] == 2 and done["lines compared"] >= 20
