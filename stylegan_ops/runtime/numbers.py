# SPDX-License-Identifier: Apache-2.0
"""Numbers of any library as Python's: what callers give for factors, paddings and gains."""

from __future__ import annotations

import operator
from typing import Any

import torch


def as_int(value: Any, name: str) -> int:
    """`value` as an int if it is a whole number of any library: an int, an integer of NumPy or
    PyTorch, an array or tensor of one without dimensions.

    Raises: ValueError that begins with `name` for everything else, bool included.
    """
    if type(value) is int:
        return value
    if torch.compiler.is_compiling() or isinstance(value, torch.SymInt):
        return value
    if not _is_bool(value) and not _has_dimensions(value):
        try:
            return operator.index(value)
        except TypeError:
            pass
    raise ValueError(f"{name} must be an integer, got {_shown(value)}")


def as_float(value: Any, name: str) -> float:
    """`value` as a float if it is a real number of any library; it may be infinite.

    Raises: ValueError that begins with `name` for everything else: bool, text, NaN.
    """
    if type(value) is float and value == value:
        return value
    if type(value) is not int:
        if torch.compiler.is_compiling() or isinstance(value, torch.SymFloat):
            return value
        value = _real(value, name)
    try:
        number = float(value)
    except OverflowError:
        raise ValueError(f"{name} must be a number, got an integer too large for one") from None
    if number != number:
        raise ValueError(f"{name} must be a number, got {number}")
    return number


def maybe_float(value: Any, name: str) -> float | None:
    """The same; None stays None."""
    return None if value is None else as_float(value, name)


def _real(value: Any, name: str) -> Any:
    complex_ = isinstance(value, complex) or "complex" in str(getattr(value, "dtype", ""))
    tracked = isinstance(value, torch.Tensor) and value.requires_grad
    if tracked:
        raise ValueError(f"{name} must be a number; a tensor that requires a gradient is none")
    if complex_ or _is_bool(value) or _has_dimensions(value) or not hasattr(value, "__float__"):
        raise ValueError(f"{name} must be a number, got {_shown(value)}")
    return value


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool) or "bool" in str(getattr(value, "dtype", ""))


def _has_dimensions(value: Any) -> bool:
    return len(getattr(value, "shape", ())) > 0


def _shown(value: Any) -> str:
    return " ".join(repr(value).split())[:80]
