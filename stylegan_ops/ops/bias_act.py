# SPDX-License-Identifier: Apache-2.0
"""Bias, activation, gain and clamp in one op."""

from __future__ import annotations

from typing import Any

import torch

from stylegan_ops.runtime import dispatch
from stylegan_ops.runtime.activation import (
    ACTIVATION_INDEX,
    ACTIVATIONS,
    PIECEWISE,
    Slopes,
    check_arguments,
    kernel_clamp,
    mask_planes,
    numbers,
    slopes_of,
)
from stylegan_ops.runtime.autocast import without_autocast
from stylegan_ops.runtime.images import accumulator, empty_mask
from stylegan_ops.runtime.numbers import as_int
from stylegan_ops.runtime.registration import define, differentiable

OP = dispatch.declare("bias_act")


@without_autocast()
def bias_act(
    x: torch.Tensor,
    b: torch.Tensor | None = None,
    dim: int = 1,
    act: str = "linear",
    alpha: float | None = None,
    gain: float | None = None,
    clamp: float | None = None,
) -> torch.Tensor:
    """y = clamp(act(x + b; alpha) * gain, -clamp, clamp).

    Args:
        x: any shape, any floating dtype; contiguous or channels_last.
        b: [x.shape[dim]] or None; any floating dtype.
        dim: the dimension of x that b runs along; negative counts from the end.
        act: linear, relu, lrelu, tanh, sigmoid, elu, selu, softplus or swish.
        alpha: slope of lrelu for x < 0; None is the default of the activation (lrelu 0.2). The
            others ignore it.
        gain: factor after the activation; None is the default of the activation (sqrt(2) for relu,
            lrelu, swish; 1 otherwise).
        clamp: largest magnitude of the result, >= 0, or None.
    Returns: tensor of the shape, dtype and layout of x; twice differentiable in x and b. The second
        derivative of linear, relu and lrelu is 0. With kernels the graph does not depend on x
        there, so `torch.autograd.grad` needs allow_unused or materialize_grads.
    Raises: ValueError for an unknown activation, a bias that does not fit, a negative clamp or a
        dtype that is not floating.
    Source: Karras et al. 2020 (arXiv:1912.04958), section 4; gains from He et al.
        (arXiv:1502.01852).
    """
    dim = dim if type(dim) is int else as_int(dim, f"{OP}: dim")
    check_arguments(x, b, dim, act, clamp)
    alpha, gain, clamp = numbers(alpha, gain, clamp)
    run = dispatch.kernel(OP, x, b) or bias_act_ref
    y = run(x, b, dim, act, alpha, gain, clamp)
    return y.clone() if y is x else y


def bias_act_ref(
    x: torch.Tensor,
    b: torch.Tensor | None = None,
    dim: int = 1,
    act: str = "linear",
    alpha: float | None = None,
    gain: float | None = None,
    clamp: float | None = None,
) -> torch.Tensor:
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


def _along(b: torch.Tensor, x: torch.Tensor, dim: int) -> torch.Tensor:
    """b in the dtype of x, broadcast along dimension dim of x."""
    shape = [1] * x.ndim
    shape[dim] = -1
    return b.to(x.dtype).reshape(shape)


# The native op. u = x + b, and act' stands for dy/du, gain and clamp included.
#
# Piecewise linear activations keep a mask of signs, two bits a sample, from which follows
#     grad(dy, e) = (dy + e) * act'(u) and its sum by channel,
# with e a vector per channel (None in the first derivative). It is linear in (dy, e) and its own
# derivative: with cotangents (ddx, ddb), both gradients are grad(ddx, ddb). So any order works.
#
# The smooth ones keep x and b, and have act'' in a third op; its derivatives, if ever asked for,
# are those of the reference.


def bias_act_native(
    x: torch.Tensor,
    b: torch.Tensor | None = None,
    dim: int = 1,
    act: str = "linear",
    alpha: float | None = None,
    gain: float | None = None,
    clamp: float | None = None,
) -> torch.Tensor:
    """`bias_act` by the kernels in csrc."""
    spec = ACTIVATIONS[act]
    alpha = spec.alpha if alpha is None else alpha
    gain = spec.gain if gain is None else gain
    clamp = kernel_clamp(clamp)
    if act == "linear" and gain == 1 and clamp < 0:  # x + b: nothing to fuse, dx is dy itself
        return bias_act_ref(x, b, dim)
    save = act in PIECEWISE and torch.is_grad_enabled()
    save = save and (x.requires_grad or (b is not None and b.requires_grad))
    return _forward(x, b, dim, ACTIVATION_INDEX[act], alpha, gain, clamp, save)[0]


def _forward_fake(
    x: Any, b: Any, dim: Any, act: Any, alpha: Any, gain: Any, clamp: Any, save: Any
) -> Any:
    planes = mask_planes(PIECEWISE[act], clamp) if save else 0
    return torch.empty_like(x), empty_mask(x, x.numel(), planes)


def _forward_setup(ctx: Any, inputs: Any, output: Any) -> None:
    x, b, dim, act, alpha, gain, clamp, save = inputs
    y, mask = output
    ctx.mark_non_differentiable(mask)
    ctx.dim, ctx.act, ctx.alpha, ctx.gain, ctx.clamp = dim, act, alpha, gain, clamp
    ctx.b_dtype = None if b is None else b.dtype
    ctx.piecewise = act < len(PIECEWISE)
    ctx.stride = y.stride()
    # An exported graph may have been traced without a derivative: then the backward makes the mask.
    ctx.masked = save or (act == ACTIVATION_INDEX["linear"] and clamp < 0)
    ctx.save_for_backward(*((mask,) if ctx.piecewise and ctx.masked else (x, b)))


def _recompute_mask(ctx: Any) -> torch.Tensor:
    x, b = (t if t is None else t.detach() for t in ctx.saved_tensors)
    return _forward(x, b, ctx.dim, ctx.act, ctx.alpha, ctx.gain, ctx.clamp, True)[1]


def _forward_backward(ctx: Any, dy: torch.Tensor | None, _: Any) -> tuple[Any, ...]:
    none = (None,) * 8
    if dy is None:
        return none
    sum = ctx.b_dtype is not None and ctx.needs_input_grad[1]
    if ctx.piecewise:
        s = slopes_of(PIECEWISE[ctx.act], ctx.alpha, ctx.gain)
        mask = ctx.saved_tensors[0] if ctx.masked else _recompute_mask(ctx)
        has_clamp = ctx.clamp >= 0
        dx, db = mask_grad(
            dy, None, mask, ctx.stride, ctx.dim, s.negative, s.positive, has_clamp, sum
        )
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


def mask_of(u: torch.Tensor, b: torch.Tensor | None, dim: int, slopes: Slopes) -> torch.Tensor:
    """The mask for `mask_grad` of (u + b) * slope, clamped."""
    alpha = slopes.negative / slopes.positive if slopes.positive else 0.0
    act = ACTIVATION_INDEX["lrelu"]
    return _forward(u, b, dim, act, alpha, slopes.positive, slopes.clamp, True)[1]


def _sums(x: torch.Tensor, dim: int, sum: bool) -> torch.Tensor:
    return x.new_empty(x.shape[dim] if sum else 0, dtype=accumulator(x))


def _mask_grad_fake(dy: Any, e: Any, mask: Any, stride: Any, dim: Any, *args: Any) -> Any:
    *_, sum = args
    return dy.new_empty_strided(dy.shape, stride), _sums(dy, dim, sum)


def _mask_grad_setup(ctx: Any, inputs: Any, output: Any) -> None:
    dy, e, mask, ctx.stride, ctx.dim, ctx.negative, ctx.positive, ctx.has_clamp, ctx.sum = inputs
    ctx.has_e = e is not None
    ctx.shape, ctx.dtype = dy.shape, dy.dtype
    ctx.save_for_backward(mask)


def _mask_grad_backward(ctx: Any, ddx: Any, ddb: Any) -> tuple[Any, ...]:
    (mask,) = ctx.saved_tensors
    if ddx is None:
        ddx = mask.new_zeros((), dtype=ctx.dtype).expand(ctx.shape)
    d_dy, d_e = mask_grad(
        *(ddx, ddb if ctx.sum else None, mask, ctx.stride, ctx.dim),
        *(ctx.negative, ctx.positive, ctx.has_clamp, ctx.has_e),
    )
    return (d_dy, d_e if ctx.has_e else None, *(None,) * 7)


mask_grad = differentiable(
    "bias_act_mask_grad",
    "(Tensor dy, Tensor? e, Tensor mask, SymInt[] stride, int dim, float negative, float positive,"
    " bool has_clamp, bool sum) -> (Tensor, Tensor)",
    _mask_grad_fake,
    _mask_grad_setup,
    _mask_grad_backward,
)


def _grad_fake(dy: Any, x: Any, b: Any, dim: Any, *args: Any) -> Any:
    *_, sum = args
    return torch.empty_like(x), _sums(x, dim, sum)


def _grad_setup(ctx: Any, inputs: Any, output: Any) -> None:
    dy, x, b, ctx.dim, ctx.act, ctx.gain, ctx.clamp, ctx.sum = inputs
    ctx.save_for_backward(dy, x, b)


def _grad_backward(ctx: Any, ddx: Any, ddb: Any) -> tuple[Any, ...]:
    dy, x, b = ctx.saved_tensors
    ddx = torch.zeros_like(x) if ddx is None else ddx
    ddb = ddb if ctx.sum else None
    sum = b is not None and ctx.needs_input_grad[2]
    run = _grad_grad_ref if torch.is_grad_enabled() else _grad_grad
    d_dy, d_x, d_b = run(ddx, ddb, dy, x, b, ctx.dim, ctx.act, ctx.gain, ctx.clamp, sum)
    return (d_dy, d_x, d_b.to(b.dtype) if sum else None, *(None,) * 5)


def _grad_grad_fake(ddx: Any, ddb: Any, dy: Any, x: Any, b: Any, dim: Any, *args: Any) -> Any:
    *_, sum = args
    return torch.empty_like(x), torch.empty_like(x), _sums(x, dim, sum)


_grad_grad = define(
    "bias_act_grad_grad",
    "(Tensor ddx, Tensor? ddb, Tensor dy, Tensor x, Tensor? b, int dim, int act, float gain,"
    " float clamp, bool sum) -> (Tensor, Tensor, Tensor)",
    _grad_grad_fake,
)


def _grad_grad_ref(
    ddx: Any, ddb: Any, dy: Any, x: Any, b: Any, dim: Any, act: Any, gain: Any, clamp: Any, sum: Any
) -> Any:
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
    dispatch.register(OP, _device, bias_act_native, in_extension=True)
