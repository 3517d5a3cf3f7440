# SPDX-License-Identifier: Apache-2.0
"""A small version of benchmarks/kill_resume.py."""

import sys

import pytest
from support.benchmarks import FOLDER, load_script

kill_and_compare = load_script(FOLDER / "kill_resume.py").kill_and_compare


@pytest.mark.thorough
@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_killed_at_random_it_goes_on_as_if_nothing_had_happened(tmp_path):
    """Without and with loader processes: unbroken, killed, killed, killed, to the end."""
    workers = (0, 2, 0, 2)
    done = kill_and_compare(
        kills=3, kimg=0.25, workers=workers, seed=0, max_seconds=6, folder=tmp_path
    )
    assert done["kills"] == 3 and done["lines compared"] >= 20
