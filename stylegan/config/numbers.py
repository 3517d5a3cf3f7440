# SPDX-License-Identifier: Apache-2.0
"""Checks of values that a program or a file may give where numbers are expected."""

from __future__ import annotations

import math
import numbers
import operator
from collections.abc import Sequence
from typing import Any

from stylegan.errors import UserError

MAX_TAPS = 64
MAX_TAP = 1e30  # so that float32 holds the sum,
MIN_SUM = 1e-30  # by which every tap is divided


def is_number(value: Any) -> bool:
    """Whether `value` is an int, a float or of a type like these."""
    return isinstance(value, numbers.Real)


def as_range(values: Sequence[float]) -> tuple[float, float]:
    """`values` as (low, high). Raises: UserError if these are not two finite numbers, low first."""
    pair = tuple(values) if isinstance(values, Sequence) else ()
    if len(pair) != 2 or not all(is_number(v) and math.isfinite(v) for v in pair):
        raise UserError("range", f"expected two numbers LOW,HIGH, got {values!r}")
    if not pair[0] < pair[1]:
        raise UserError("range", f"expected LOW below HIGH, got {pair[0]:g},{pair[1]:g}")
    low, high = (int(v) if v == int(v) else float(v) for v in pair)
    return low, high


def group_count(samples: int, group: int | None) -> int:
    """Groups into which the minibatch standard deviation divides a batch.

    Sizes differ by one at most: batches of 9 and 10 in groups of 4 become 5 + 4 and 4 + 3 + 3. A
    group of one sample has no deviation, so there is none, unless the setting or the batch is 1.

    Args:
        samples: in the batch.
        group: the setting, the size that groups come as close to as they can; None or 0: the batch.
    """
    if group == 1:
        return max(samples, 1)
    group = group or max(samples, 1)
    return max(min((samples + group // 2) // group, samples // 2), 1)


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


def as_int(value: Any) -> int:
    """`value` as an int if it is a whole number of any library: an int, an integer of NumPy or
    PyTorch, an array or tensor of one without dimensions. `stylegan_ops` has the same for its ops.

    Raises: TypeError for everything else, bool included.
    """
    if type(value) is int:
        return value
    if _is_bool(value) or _has_dimensions(value):
        raise TypeError(f"expected an integer, got {value!r}")
    return operator.index(value)


def plain_list(values: Any) -> Any:
    """The numbers of an array or tensor as a list of Python's, and those in a list too; anything
    else as it is."""
    if hasattr(values, "tolist"):
        return values.tolist()
    if isinstance(values, (list, tuple)):
        return [v.item() if hasattr(v, "item") else v for v in values]
    return values


def as_size(resolution: int | Sequence[int]) -> tuple[int, int]:
    """`resolution`, an int or (height, width) in px, as a tuple. Raises: UserError."""
    single = not hasattr(resolution, "__len__") or getattr(resolution, "shape", None) == ()
    try:
        height, width = (resolution, resolution) if single else resolution  # type: ignore[misc]
        size = as_int(height), as_int(width)
    except (TypeError, ValueError):
        size = 0, 0
    if min(size) < 1:
        raise UserError(
            "resolution", f"expected an int or (height, width) in px, got {resolution!r}"
        )
    return size


def as_float(value: Any) -> float:
    """`value` as a float if it is a finite real number of any library.

    Raises: TypeError or ValueError for everything else, bool included.
    """
    if _is_bool(value) or _has_dimensions(value) or isinstance(value, (str, bytes)):
        raise TypeError(f"expected a number, got {value!r}")
    if "complex" in str(getattr(value, "dtype", "")):
        raise TypeError(f"expected a real number, got {value!r}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"expected a finite number, got {value!r}")
    return number


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool) or "bool" in str(getattr(value, "dtype", ""))


def _has_dimensions(value: Any) -> bool:
    shape = getattr(value, "shape", None)
    return shape is not None and len(shape) > 0


def as_widths(value: Any) -> tuple[int, ...]:
    """Channels of every block as a tuple. Raises: UserError if they are none."""
    widths = plain_list(value)
    widths = tuple(widths) if isinstance(widths, Sequence) else ()
    if not widths or not all(type(n) is int and n > 0 for n in widths):
        raise UserError("widths", f"expected channels of every block, got {value}")
    return widths
