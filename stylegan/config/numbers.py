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


def group_size(samples: int, group: int | None) -> int:
    """Samples per group in which the minibatch standard deviation divides a batch.

    The largest divisor of `samples` up to `group`, or if that is 1, the smallest above it: a group
    of one sample has no deviation.

    Args:
        samples: in the batch.
        group: the setting; None: the batch.
    """
    group = samples if group is None else min(group, samples)
    if group == 1:
        return 1
    divisors = [g for g in range(2, samples + 1) if samples % g == 0]
    return max((g for g in divisors if g <= group), default=divisors[0])


def whole_groups(samples: int, group: int | None) -> int:
    """The largest batch up to `samples` that whole groups fill, but 2 samples at least."""
    if group and samples > group:
        return samples - samples % group
    return max(samples, 2)


def reason_against_taps(taps: Any) -> str | None:
    """Why no filter can have these taps, as the end of "the taps ..."; None if one can."""
    if not isinstance(taps, (list, tuple)) or not 0 < len(taps) <= MAX_TAPS:
        return f"are not a list of 1 to {MAX_TAPS} numbers"
    if not all(is_number(tap) and abs(tap) <= MAX_TAP for tap in taps):  # refuses NaN too
        return "are not all finite numbers"
    if abs(sum(taps)) < MIN_SUM:
        return "add up to 0"
    return None
