# SPDX-License-Identifier: Apache-2.0
"""Ops under torch.autocast: the casts that PyTorch makes for its own, and none inside."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import torch

Op = TypeVar("Op", bound=Callable[..., Any])


def autocasts(x: torch.Tensor) -> bool:
    """Whether autocast is on for the device of x."""
    if x.is_cpu:  # a third of the time of the name of its device
        return torch.is_autocast_enabled("cpu")
    device = x.device.type
    if device == "cuda":  # half the time of asking
        return torch.is_autocast_enabled(device)
    return torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)


def without_autocast(*lowered: str) -> Callable[[Op], Op]:
    """A decorator for ops: what an op is made of runs in the dtypes that the op chooses, as a
    kernel does, on every backend.

    Args: lowered: leading arguments that are cast to the dtype of autocast before, as PyTorch
        casts those of a convolution. float64 is never cast.
    """

    def decorate(op: Op) -> Op:
        @functools.wraps(op)
        def run(x: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
            if not isinstance(x, torch.Tensor) or not autocasts(x):
                return op(x, *args, **kwargs)
            device = x.device.type
            if lowered:
                dtype = torch.get_autocast_dtype(device)
                x = _lowered(x, dtype)
                at = len(lowered) - 1
                args = tuple(_lowered(a, dtype) if i < at else a for i, a in enumerate(args))
                kwargs = {k: _lowered(v, dtype) if k in lowered else v for k, v in kwargs.items()}
            with torch.autocast(device, enabled=False):
                return op(x, *args, **kwargs)

        return run  # type: ignore[return-value]

    return decorate


def exact_backward(backward: Callable[..., Any]) -> Callable[..., Any]:
    """`backward(ctx, *gradients)`, without autocast: a derivative is in the dtypes of its function,
    even if autocast is on when it is asked for."""

    @functools.wraps(backward)
    def run(ctx: Any, *gradients: Any) -> Any:
        for g in gradients:
            if g is not None:
                if autocasts(g):
                    with torch.autocast(g.device.type, enabled=False):
                        return backward(ctx, *gradients)
                break
        return backward(ctx, *gradients)

    return run


def _lowered(value: Any, dtype: torch.dtype) -> Any:
    if not isinstance(value, torch.Tensor) or not value.is_floating_point():
        return value
    return value if value.dtype == torch.float64 else value.to(dtype)
