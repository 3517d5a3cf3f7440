# SPDX-License-Identifier: Apache-2.0
"""The faults that are planted to test the tests still fit the sources."""

import pytest
from planted.run import FAULTS, ROOT, planted, tomllib

LIST = tomllib.loads(FAULTS.read_text("utf-8"))["fault"]


@pytest.mark.parametrize("fault", LIST, ids=lambda fault: fault["file"])
def test_a_fault_fits_its_source(fault):
    assert planted(fault, (ROOT / fault["file"]).read_text("utf-8")) and set(fault) == {
        "file",
        "find",
        "replace",
        "tests",
    }
    assert fault["tests"] and all((ROOT / test).exists() for test in fault["tests"])
