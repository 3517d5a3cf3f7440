# SPDX-License-Identifier: Apache-2.0
"""Memory for tests of very large tensors."""

import os

import pytest


def needs_free_memory(gb):
    """Skip the test where less memory is free, or where the system does not tell."""
    try:
        free_bytes = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError):  # Windows, macOS
        free_bytes = 0
    if free_bytes < gb * 1e9:
        pytest.skip(f"needs {gb} GB of free memory")
