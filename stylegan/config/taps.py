# SPDX-License-Identifier: Apache-2.0
"""Which taps a filter of resampling can have."""

from __future__ import annotations

from numbers import Real

MAX_TAPS = 64
MAX_TAP = 1e30  # so that float32 holds the sum,
MIN_SUM = 1e-30  # by which every tap is divided


def reason_against_taps(taps: object) -> str | None:
    """Why no filter can have these taps, as the end of "the taps ..."; None if one can."""
    if not isinstance(taps, (list, tuple)) or not 0 < len(taps) <= MAX_TAPS:
        return f"are not a list of 1 to {MAX_TAPS} numbers"
    if not all(isinstance(tap, Real) and abs(tap) <= MAX_TAP for tap in taps):  # refuses NaN too
        return "are not all finite numbers"
    if abs(sum(taps)) < MIN_SUM:
        return "add up to 0"
    return None
