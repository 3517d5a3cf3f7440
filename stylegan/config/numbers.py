# SPDX-License-Identifier: Apache-2.0
"""Checks of values that a program or a file may give where numbers are expected."""

from __future__ import annotations

import numbers
from typing import Any

MAX_TAPS = 64
MAX_TAP = 1e30  # so that float32 holds the sum,
MIN_SUM = 1e-30  # by which every tap is divided


def is_number(value: Any) -> bool:
    """Whether `value` is an int, a float or of a type like these."""
    return isinstance(value, numbers.Real)


def reason_against_taps(taps: Any) -> str | None:
    """Why no filter can have these taps, as the end of "the taps ..."; None if one can."""
    if not isinstance(taps, (list, tuple)) or not 0 < len(taps) <= MAX_TAPS:
        return f"are not a list of 1 to {MAX_TAPS} numbers"
    if not all(is_number(tap) and abs(tap) <= MAX_TAP for tap in taps):  # refuses NaN too
        return "are not all finite numbers"
    if abs(sum(taps)) < MIN_SUM:
        return "add up to 0"
    return None
