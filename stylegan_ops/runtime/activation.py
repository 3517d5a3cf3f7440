# SPDX-License-Identifier: Apache-2.0
"""The activations, and how kernels are given those that are a slope on either side of 0."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from stylegan_ops.runtime.images import DTYPES
from stylegan_ops.runtime.numbers import as_float


@dataclass(frozen=True, slots=True)
class Activation:
    """An activation and its defaults."""

    function: Callable[[torch.Tensor, float], torch.Tensor]  # of x and alpha
    alpha: float
    gain: float  # keeps the variance of a standard normal input near 1


ACTIVATIONS = {
    "linear": Activation(lambda x, alpha: x, 0.0, 1.0),
    "relu": Activation(lambda x, alpha: F.relu(x), 0.0, math.sqrt(2)),
    "lrelu": Activation(lambda x, alpha: F.leaky_relu(x, alpha), 0.2, math.sqrt(2)),
    "tanh": Activation(lambda x, alpha: torch.tanh(x), 0.0, 1.0),
    "sigmoid": Activation(lambda x, alpha: torch.sigmoid(x), 0.0, 1.0),
    "elu": Activation(lambda x, alpha: F.elu(x), 0.0, 1.0),
    "selu": Activation(lambda x, alpha: F.selu(x), 0.0, 1.0),
    "softplus": Activation(lambda x, alpha: F.softplus(x), 0.0, 1.0),
    "swish": Activation(lambda x, alpha: x * torch.sigmoid(x), 0.0, math.sqrt(2)),
}
ACTIVATION_INDEX = {act: i for i, act in enumerate(ACTIVATIONS)}  # as activation.h in csrc
PIECEWISE = ("linear", "relu", "lrelu")  # those that are a slope on either side of 0


@dataclass(frozen=True, slots=True)
class Slopes:
    """A piecewise linear activation as kernels take it, gain included."""

    negative: float  # slope below 0
    positive: float  # slope above 0
    clamp: float = -1.0  # largest magnitude of the result; < 0 is none


@dataclass(frozen=True, slots=True)
class MaskRule:
    """What a mask of signs stands for: the slopes, and whether it tells what was clamped."""

    negative: float
    positive: float
    has_clamp: bool


LINEAR = Slopes(1.0, 1.0)
LINEAR_RULE = MaskRule(1.0, 1.0, False)


def slopes_of(
    act: str, alpha: float | None = None, gain: float | None = None, clamp: float | None = None
) -> Slopes:
    """The `Slopes` of a piecewise linear activation; None is the default of the activation."""
    spec = ACTIVATIONS[act]
    gain = spec.gain if gain is None else gain
    if act == "linear":
        below: float = 1
    else:
        below = 0 if act == "relu" else spec.alpha if alpha is None else alpha
    return Slopes(gain * below, gain, kernel_clamp(clamp))


def kernel_clamp(clamp: float | None) -> float:
    """clamp as kernels take it: -1 for none."""
    return -1 if clamp is None or clamp == math.inf else clamp


def mask_planes(act: str, clamp: float) -> int:
    """Bits per element that the derivatives of a piecewise linear activation need; clamp < 0 is
    none."""
    return 0 if act == "linear" and clamp < 0 else 1 if clamp < 0 else 2


def numbers(
    alpha: float | None, gain: float | None, clamp: float | None, op: str = "bias_act"
) -> tuple[float | None, float | None, float | None]:
    """alpha, gain and clamp as Python's numbers; raises ValueError in the name of `op`."""
    if _plain(alpha) and _plain(gain) and _plain(clamp):
        return alpha, gain, clamp
    return (
        None if alpha is None else as_float(alpha, f"{op}: alpha"),
        None if gain is None else as_float(gain, f"{op}: gain"),
        None if clamp is None else as_float(clamp, f"{op}: clamp"),
    )


def _plain(value: float | None) -> bool:
    """Whether nothing has to be converted, which saves a microsecond of a call."""
    return value is None or (type(value) is float and value == value)


def check_arguments(
    x: torch.Tensor,
    b: torch.Tensor | None,
    dim: int,
    act: str,
    clamp: float | None,
    op: str = "bias_act",
) -> None:
    """Raises ValueError as `bias_act` does, in the name of `op`."""
    if act not in ACTIVATIONS:
        raise ValueError(f"{op}: act must be one of {', '.join(ACTIVATIONS)}; got {act!r}")
    if x.dtype not in DTYPES:
        raise ValueError(f"{op}: x must be floating (16, 32 or 64 bits), got {x.dtype}")
    if b is not None:
        if not -x.ndim <= dim < x.ndim:
            raise ValueError(f"{op}: dim {dim} is out of range for x of {x.ndim} dimensions")
        if b.ndim != 1 or b.shape[0] != x.shape[dim]:
            raise ValueError(f"{op}: b must have shape [{x.shape[dim]}], got {list(b.shape)}")
    if clamp is not None:
        value = clamp if type(clamp) is float else as_float(clamp, f"{op}: clamp")
        if not value >= 0:
            raise ValueError(f"{op}: clamp must be >= 0 or None, got {clamp}")
