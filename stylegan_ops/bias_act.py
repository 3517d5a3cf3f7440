# SPDX-License-Identifier: Apache-2.0
"""Bias, activation, gain and clamp in one op."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F

from stylegan_ops import _dispatch

OP = _dispatch.declare("bias_act")


class Activation(NamedTuple):
    """An activation and its defaults: `function(x, alpha)`, the alpha, and the gain that keeps the
    variance of a standard normal input near 1."""

    function: Callable
    alpha: float
    gain: float


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


def bias_act(x, b=None, dim=1, act="linear", alpha=None, gain=None, clamp=None):
    """y = clamp(act(x + b; alpha) * gain, -clamp, clamp).

    Args:
        x: any shape, any floating dtype; contiguous or channels_last.
        b: [x.shape[dim]] or None; converted to the dtype of x.
        dim: the dimension of x that b runs along; negative counts from the end.
        act: linear, relu, lrelu, tanh, sigmoid, elu, selu, softplus or swish.
        alpha: slope of lrelu for x < 0; None is the activation's own (lrelu 0.2). The others ignore
            it.
        gain: factor after the activation; None is the activation's own (sqrt(2) for relu, lrelu,
            swish; 1 otherwise).
        clamp: largest magnitude of the result, >= 0, or None.
    Returns: tensor of the shape, dtype and layout of x; twice differentiable in x and b.
    Raises: ValueError for an unknown activation, a bias that does not fit, a negative clamp or a
        dtype that is not floating.
    Source: Karras et al. 2020 (arXiv:1912.04958), section 4; gains from He et al.
        (arXiv:1502.01852).
    """
    if act not in ACTIVATIONS:
        raise ValueError(f"bias_act: act must be one of {', '.join(ACTIVATIONS)}; got {act!r}")
    if not x.is_floating_point():
        raise ValueError(f"bias_act: x must be floating, got {x.dtype}")
    if b is not None:
        if not -x.ndim <= dim < x.ndim:
            raise ValueError(f"bias_act: dim {dim} is out of range for x of {x.ndim} dimensions")
        if b.ndim != 1 or b.shape[0] != x.shape[dim]:
            raise ValueError(f"bias_act: b must have shape [{x.shape[dim]}], got {list(b.shape)}")
    if clamp is not None and not clamp >= 0:
        raise ValueError(f"bias_act: clamp must be >= 0 or None, got {clamp}")
    run = _dispatch.kernel(OP, x) or bias_act_ref
    return run(x, b, dim, act, alpha, gain, clamp)


def bias_act_ref(x, b=None, dim=1, act="linear", alpha=None, gain=None, clamp=None):
    """The definition of `bias_act` in plain PyTorch."""
    spec = ACTIVATIONS[act]
    gain = spec.gain if gain is None else gain
    if b is not None:
        shape = [1] * x.ndim
        shape[dim] = -1
        x = x + b.to(x.dtype).reshape(shape)
    y = spec.function(x, spec.alpha if alpha is None else alpha)
    if gain != 1:
        y = y * gain
    if clamp is not None:
        y = y.clamp(-clamp, clamp)
    return y
