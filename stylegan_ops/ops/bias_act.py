# SPDX-License-Identifier: Apache-2.0
"""Bias, activation, gain and clamp in one op."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F

from stylegan_ops.runtime import dispatch
from stylegan_ops.runtime.registration import define, differentiable

OP = dispatch.declare("bias_act")


class Activation(NamedTuple):
    """An activation and its defaults: `function(x, alpha)`, the alpha, and the gain that keeps the
    variance of a standard normal input near 1."""

    function: Callable
    alpha: float
    gain: float


DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
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
        b: [x.shape[dim]] or None; any floating dtype.
        dim: the dimension of x that b runs along; negative counts from the end.
        act: linear, relu, lrelu, tanh, sigmoid, elu, selu, softplus or swish.
        alpha: slope of lrelu for x < 0; None is the activation's own (lrelu 0.2). The others ignore
            it.
        gain: factor after the activation; None is the activation's own (sqrt(2) for relu, lrelu,
            swish; 1 otherwise).
        clamp: largest magnitude of the result, >= 0, or None.
    Returns: tensor of the shape, dtype and layout of x; twice differentiable in x and b. The second
        derivative of linear, relu and lrelu is 0; with kernels the graph says so by not depending
        on x there (`torch.autograd.grad` then wants allow_unused or materialize_grads).
    Raises: ValueError for an unknown activation, a bias that does not fit, a negative clamp or a
        dtype that is not floating.
    Source: Karras et al. 2020 (arXiv:1912.04958), section 4; gains from He et al.
        (arXiv:1502.01852).
    """
    check_arguments(x, b, dim, act, clamp)
    run = dispatch.kernel(OP, x, b) or bias_act_ref
    return run(x, b, dim, act, alpha, gain, clamp)


def check_arguments(x, b, dim, act, clamp):
    """Raises ValueError as `bias_act` promises."""
    if act not in ACTIVATIONS:
        raise ValueError(f"bias_act: act must be one of {', '.join(ACTIVATIONS)}; got {act!r}")
    if x.dtype not in DTYPES:
        raise ValueError(f"bias_act: x must be floating (16, 32 or 64 bits), got {x.dtype}")
    if b is not None:
        if not -x.ndim <= dim < x.ndim:
            raise ValueError(f"bias_act: dim {dim} is out of range for x of {x.ndim} dimensions")
        if b.ndim != 1 or b.shape[0] != x.shape[dim]:
            raise ValueError(f"bias_act: b must have shape [{x.shape[dim]}], got {list(b.shape)}")
    if clamp is not None and not clamp >= 0:
        raise ValueError(f"bias_act: clamp must be >= 0 or None, got {clamp}")


def bias_act_ref(x, b=None, dim=1, act="linear", alpha=None, gain=None, clamp=None):
    """The definition of `bias_act` in plain PyTorch."""
    spec = ACTIVATIONS[act]
    gain = spec.gain if gain is None else gain
    if b is not None:
        x = x + _along(b, x, dim)
    y = spec.function(x, spec.alpha if alpha is None else alpha)
    if gain != 1:
        y = y * gain
    if clamp is not None:
        y = y.clamp(-clamp, clamp)
    return y


def _along(b, x, dim):
    """b in the dtype of x, broadcast along dimension dim of x."""
    shape = [1] * x.ndim
    shape[dim] = -1
    return b.to(x.dtype).reshape(shape)


# The native op. u = x + b, and act' stands for the derivative of y by u, gain and clamp included.
#
# Piecewise linear activations keep a mask of signs, two bits a sample, from which follows
#     grad(dy, e) = (dy + e) * act'(u) and its sum by channel,
# with e a vector per channel (None in the first derivative). It is linear in (dy, e) and its own
# derivative: with cotangents (ddx, ddb), both gradients are grad(ddx, ddb). So any order works.
#
# The smooth ones keep x and b, and have act'' in a third op; its derivatives, if ever asked for,
# are those of the reference.

PIECEWISE = ("linear", "relu", "lrelu")
_INDEX = {act: i for i, act in enumerate(ACTIVATIONS)}  # as in csrc/common/activation.h
_BLOCK = 512  # elements; mask_plane_bytes() in csrc/common/bias_act.h


def bias_act_native(x, b=None, dim=1, act="linear", alpha=None, gain=None, clamp=None):
    """`bias_act` by the kernels in csrc."""
    spec = ACTIVATIONS[act]
    alpha = spec.alpha if alpha is None else alpha
    gain = spec.gain if gain is None else gain
    clamp = -1 if clamp is None or clamp == math.inf else clamp
    if act == "linear" and gain == 1 and clamp < 0:  # x + b: nothing to fuse, dx is dy itself
        return bias_act_ref(x, b, dim)
    save = act in PIECEWISE and torch.is_grad_enabled()
    save = save and (x.requires_grad or (b is not None and b.requires_grad))
    return _forward(x, b, dim, _INDEX[act], alpha, gain, clamp, save)[0]


def mask_planes(act, clamp):
    """Bits that the derivatives of a piecewise linear activation need; clamp < 0 is none."""
    return 0 if act == "linear" and clamp < 0 else 1 if clamp < 0 else 2


def slopes_of(act, alpha, gain):
    """The slope of a piecewise linear activation for negative and for positive inputs."""
    return gain * {"linear": 1, "relu": 0, "lrelu": alpha}[act], gain


def _forward_fake(x, b, dim, act, alpha, gain, clamp, save):
    planes = mask_planes(PIECEWISE[act], clamp) if save else 0
    blocks = (x.numel() + _BLOCK - 1) // _BLOCK
    return torch.empty_like(x), x.new_empty(planes * blocks * _BLOCK // 8, dtype=torch.uint8)


def _forward_setup(ctx, inputs, output):
    x, b, dim, act, alpha, gain, clamp, save = inputs
    y, mask = output
    ctx.mark_non_differentiable(mask)
    ctx.dim, ctx.act, ctx.alpha, ctx.gain, ctx.clamp = dim, act, alpha, gain, clamp
    ctx.b_dtype = None if b is None else b.dtype
    ctx.piecewise = act < len(PIECEWISE)
    ctx.stride = y.stride()
    # An exported graph may have been traced where no derivative was wanted: then the mask is made
    # when it is.
    ctx.masked = save or (act == _INDEX["linear"] and clamp < 0)
    ctx.save_for_backward(*((mask,) if ctx.piecewise and ctx.masked else (x, b)))


def _mask_again(ctx):
    x, b = (t if t is None else t.detach() for t in ctx.saved_tensors)
    return _forward(x, b, ctx.dim, ctx.act, ctx.alpha, ctx.gain, ctx.clamp, True)[1]


def _forward_backward(ctx, dy, _):
    none = (None,) * 8
    if dy is None:
        return none
    sum = ctx.b_dtype is not None and ctx.needs_input_grad[1]
    if ctx.piecewise:
        slopes = slopes_of(PIECEWISE[ctx.act], ctx.alpha, ctx.gain)
        mask = ctx.saved_tensors[0] if ctx.masked else _mask_again(ctx)
        dx, db = mask_grad(dy, None, mask, ctx.stride, ctx.dim, *slopes, ctx.clamp >= 0, sum)
    else:
        x, b = ctx.saved_tensors
        dx, db = _grad(dy, x, b, ctx.dim, ctx.act, ctx.gain, ctx.clamp, sum)
    db = db.to(ctx.b_dtype) if sum else None
    return (dx if ctx.needs_input_grad[0] else None, db, *none[2:])


_forward = differentiable(
    OP,
    "(Tensor x, Tensor? b, int dim, int act, float alpha, float gain, float clamp, bool save)"
    " -> (Tensor, Tensor)",
    _forward_fake,
    _forward_setup,
    _forward_backward,
)


def mask_of(u, b, dim, negative, positive, clamp):
    """The mask for `mask_grad` of (u + b) * slope, clamped; clamp < 0 is none."""
    alpha = negative / positive if positive else 0.0
    return _forward(u, b, dim, _INDEX["lrelu"], alpha, positive, clamp, True)[1]


def _sums(x, dim, sum):
    dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
    return x.new_empty(x.shape[dim] if sum else 0, dtype=dtype)


def _mask_grad_fake(dy, e, mask, stride, dim, negative, positive, has_clamp, sum):
    return dy.new_empty_strided(dy.shape, stride), _sums(dy, dim, sum)


def _mask_grad_setup(ctx, inputs, output):
    dy, e, mask, ctx.stride, ctx.dim, ctx.negative, ctx.positive, ctx.has_clamp, ctx.sum = inputs
    ctx.has_e = e is not None
    ctx.shape, ctx.dtype = dy.shape, dy.dtype
    ctx.save_for_backward(mask)


def _mask_grad_backward(ctx, ddx, ddb):
    (mask,) = ctx.saved_tensors
    if ddx is None:
        ddx = mask.new_zeros((), dtype=ctx.dtype).expand(ctx.shape)
    slopes = ctx.negative, ctx.positive, ctx.has_clamp
    ddb = ddb if ctx.sum else None
    d_dy, d_e = mask_grad(ddx, ddb, mask, ctx.stride, ctx.dim, *slopes, ctx.has_e)
    return (d_dy, d_e if ctx.has_e else None, *(None,) * 7)


mask_grad = differentiable(
    "bias_act_mask_grad",
    "(Tensor dy, Tensor? e, Tensor mask, SymInt[] stride, int dim, float negative, float positive,"
    " bool has_clamp, bool sum) -> (Tensor, Tensor)",
    _mask_grad_fake,
    _mask_grad_setup,
    _mask_grad_backward,
)


def _grad_fake(dy, x, b, dim, act, gain, clamp, sum):
    return torch.empty_like(x), _sums(x, dim, sum)


def _grad_setup(ctx, inputs, output):
    dy, x, b, ctx.dim, ctx.act, ctx.gain, ctx.clamp, ctx.sum = inputs
    ctx.save_for_backward(dy, x, b)


def _grad_backward(ctx, ddx, ddb):
    dy, x, b = ctx.saved_tensors
    ddx = torch.zeros_like(x) if ddx is None else ddx
    ddb = ddb if ctx.sum else None
    args = ddx, ddb, dy, x, b, ctx.dim, ctx.act, ctx.gain, ctx.clamp
    sum = b is not None and ctx.needs_input_grad[2]
    if torch.is_grad_enabled():
        d_dy, d_x, d_b = _grad_grad_ref(*args, sum)
    else:
        d_dy, d_x, d_b = _grad_grad(*args, sum)
    return (d_dy, d_x, d_b.to(b.dtype) if sum else None, *(None,) * 5)


def _grad_grad_fake(ddx, ddb, dy, x, b, dim, act, gain, clamp, sum):
    return torch.empty_like(x), torch.empty_like(x), _sums(x, dim, sum)


_grad_grad = define(
    "bias_act_grad_grad",
    "(Tensor ddx, Tensor? ddb, Tensor dy, Tensor x, Tensor? b, int dim, int act, float gain,"
    " float clamp, bool sum) -> (Tensor, Tensor, Tensor)",
    _grad_grad_fake,
)


def _grad_grad_ref(ddx, ddb, dy, x, b, dim, act, gain, clamp, sum):
    """The same, differentiable once more: the double backward of the reference."""
    name, clamp = list(ACTIVATIONS)[act], None if clamp < 0 else clamp
    dy, x = (t if t.requires_grad else t.detach().requires_grad_() for t in (dy, x))
    u = x if b is None else x + _along(b, x, dim)
    v = ddx if ddb is None else ddx + _along(ddb, x, dim)
    y = bias_act_ref(u, act=name, gain=gain, clamp=clamp)
    (d_u,) = torch.autograd.grad(y, u, dy, create_graph=True)
    d_dy, d_x = torch.autograd.grad(d_u, (dy, u), v, create_graph=True)
    d_b = d_x.movedim(dim, 0).reshape(x.shape[dim], -1).sum(1) if sum else None
    return d_dy, d_x, d_b


_grad = differentiable(
    "bias_act_grad",
    "(Tensor dy, Tensor x, Tensor? b, int dim, int act, float gain, float clamp, bool sum)"
    " -> (Tensor, Tensor)",
    _grad_fake,
    _grad_setup,
    _grad_backward,
)

for _device in ("cpu", "cuda"):
    dispatch.register(OP, _device, bias_act_native, library=True)
