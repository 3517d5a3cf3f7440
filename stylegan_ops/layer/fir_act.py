# SPDX-License-Identifier: Apache-2.0
"""FIR filter and everything that follows it in a layer, in one op: what an up-sampling convolution
ends with. Internal: `modulated_conv2d` calls it."""

from __future__ import annotations

from typing import Any

import torch

from stylegan_ops.layer.gradients import cast, gradients
from stylegan_ops.layer.records import Epilogue
from stylegan_ops.layer.scale_act import scaled
from stylegan_ops.ops.bias_act import bias_act, bias_act_ref, mask_of
from stylegan_ops.ops.upfirdn2d import check_arguments as check_upfirdn2d
from stylegan_ops.ops.upfirdn2d import fir, native_kernel, out_size, upfirdn2d, upfirdn2d_ref
from stylegan_ops.runtime import dispatch
from stylegan_ops.runtime.activation import (
    LINEAR,
    PIECEWISE,
    Slopes,
    check_arguments,
    mask_planes,
    slopes_of,
)
from stylegan_ops.runtime.fir import Fir
from stylegan_ops.runtime.images import (
    Filter,
    Padding,
    Padding4,
    empty_mask,
    has_mask,
    is_plane,
    memory_format,
)
from stylegan_ops.runtime.registration import define, differentiable, wants_gradient

OP = dispatch.declare("fir_act")


def fir_act(
    x: torch.Tensor,
    f: Filter,
    padding: Padding = 0,
    flip_filter: bool = False,
    fir_gain: float = 1.0,
    scale: torch.Tensor | None = None,
    noise: torch.Tensor | None = None,
    b: torch.Tensor | None = None,
    act: str = "linear",
    alpha: float | None = None,
    gain: float | None = None,
    clamp: float | None = None,
) -> torch.Tensor:
    """y = bias_act(upfirdn2d(x, f, padding) * fir_gain * scale[n, c] + noise, b).

    Args:
        x: [N, C, H, W], any floating dtype; contiguous or channels_last.
        f, padding, flip_filter, fir_gain: as `upfirdn2d` without resampling (there called gain).
        scale: [N, C] or None.
        noise: anything that broadcasts to y; [N, 1, H', W'] and [1, 1, H', W'] are fused. Or None.
        b, act, alpha, gain, clamp: as `bias_act`.
    Returns: [N, C, H', W']; dtype and layout of x; differentiable in x, scale, noise and b any
        number of times. If the op is fused, scale, noise and b keep the dtype of arithmetic.
        Otherwise, and in the reference, they are rounded to that of x, and so is each step.
    Raises: ValueError as `upfirdn2d` and `bias_act`.
    Source: Karras et al. 2020 (arXiv:1912.04958), section 2.2 and appendix B.
    """
    _, _, padding = check_upfirdn2d(x, f, 1, 1, padding)
    check_arguments(x, b, 1, act, clamp)
    run = native_kernel(OP, f, x, scale, noise, b) or fir_act_ref
    return run(x, f, padding, flip_filter, fir_gain, scale, noise, b, act, alpha, gain, clamp)


def fir_act_ref(
    x: torch.Tensor,
    f: Filter,
    padding: Padding = 0,
    flip_filter: bool = False,
    fir_gain: float = 1.0,
    scale: torch.Tensor | None = None,
    noise: torch.Tensor | None = None,
    b: torch.Tensor | None = None,
    act: str = "linear",
    alpha: float | None = None,
    gain: float | None = None,
    clamp: float | None = None,
) -> torch.Tensor:
    """The definition of `fir_act` in plain PyTorch."""
    y = upfirdn2d_ref(x, f, 1, 1, padding, flip_filter, fir_gain)
    return bias_act_ref(scaled(y, scale, noise), b, 1, act, alpha, gain, clamp)


# The native op is for piecewise linear activations. Its derivative is made of ops that have theirs:
# with du = dy * slope by the mask of signs and t = FIR'(du), dx = t * scale, dscale = sum of t * x,
# and dnoise, db are sums of du.


def fir_act_native(
    x: torch.Tensor,
    f: Filter,
    padding: Padding4,
    flip_filter: bool,
    fir_gain: float,
    scale: torch.Tensor | None,
    noise: torch.Tensor | None,
    b: torch.Tensor | None,
    act: str,
    alpha: float | None,
    gain: float | None,
    clamp: float | None,
) -> torch.Tensor:
    """`fir_act` by the kernels in csrc, one pass if they can."""
    size = out_size(x, f, (1, 1), (1, 1), padding)
    if act in PIECEWISE and (noise is None or is_plane(noise, [*x.shape[:2], *size])):
        slopes = slopes_of(act, alpha, gain, clamp)
        wanted = wants_gradient(x, scale, noise, b)
        planes = mask_planes(act, slopes.clamp) if wanted else 0
        if planes == 0 or has_mask(x, size):
            x0, _, y0, _ = padding
            how = Fir((1, 1), (1, 1), (x0, y0), size, flip_filter, fir_gain)
            return _run(x, f, how, scale, noise, b, slopes, planes)[0]
    y = scaled(upfirdn2d(x, f, 1, 1, padding, flip_filter, fir_gain), scale, noise)
    return bias_act(y, b, 1, act, alpha, gain, clamp)


def _run(
    x: torch.Tensor,
    f: Filter,
    how: Fir,
    scale: torch.Tensor | None,
    noise: torch.Tensor | None,
    b: torch.Tensor | None,
    slopes: Slopes,
    planes: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """(y, mask) of the native op, which does not resample; the mask has so many planes."""
    return _op(
        *(x, f, how.origin, how.size, how.flip, how.gain, scale, noise, b),
        *(slopes.negative, slopes.positive, slopes.clamp, planes),
    )


def fir_act_out(
    y: torch.Tensor,
    x: torch.Tensor,
    f: Filter,
    padding: Padding4,
    fir_gain: float,
    scale: torch.Tensor | None,
    noise: torch.Tensor | None,
    end: Epilogue,
) -> torch.Tensor:
    """The same into y [N, C, H', W'], without flip_filter and without a derivative; for a y that
    `supports_out` accepts.

    Returns: y.
    """
    slopes = slopes_of(end.act, end.alpha, end.gain, end.clamp)
    x0, _, y0, _ = padding
    _out(
        *(x, f, (x0, y0), False, fir_gain, scale, noise, end.bias),
        *(slopes.negative, slopes.positive, slopes.clamp, y),
    )
    return y


def _fake(
    x: Any,
    f: Any,
    origin: Any,
    size: Any,
    flip: Any,
    fir_gain: Any,
    scale: Any,
    noise: Any,
    b: Any,
    negative: Any,
    positive: Any,
    clamp: Any,
    planes: Any,
) -> Any:
    shape = [*x.shape[:2], *size]
    y = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=memory_format(x))
    return y, empty_mask(x, y.numel(), planes)


def _setup(ctx: Any, inputs: Any, output: Any) -> None:
    x, f, origin, size, flip, fir_gain, scale, noise, b, negative, positive, clamp, planes = inputs
    y, mask = output
    ctx.mark_non_differentiable(mask)
    ctx.how, ctx.in_size = Fir((1, 1), (1, 1), origin, size, flip, fir_gain), x.shape[2:]
    ctx.slopes, ctx.stride = Slopes(negative, positive, clamp), y.stride()
    ctx.scale_dtype, ctx.noise_dtype, ctx.b_dtype = (
        None if t is None else t.dtype for t in (scale, noise, b)
    )
    ctx.noise_samples = 0 if noise is None else noise.shape[0]
    # An exported graph may have been traced without a derivative: then the backward makes the mask,
    # from everything.
    ctx.again = (negative != positive or clamp >= 0) and planes == 0
    everything = ctx.again or (scale is not None and ctx.needs_input_grad[6])
    ctx.save_for_backward(
        x if everything else None,
        f,
        scale,
        *((noise, b, None) if ctx.again else (None, None, mask)),
    )


def _recompute_mask(ctx: Any) -> torch.Tensor:
    x, f, scale, noise, b, _ = ctx.saved_tensors
    with torch.no_grad():
        if has_mask(x, ctx.how.size):
            planes = 2 if ctx.slopes.clamp >= 0 else 1
            return _run(x, f, ctx.how, scale, noise, b, ctx.slopes, planes)[1]
        return mask_of(scaled(fir(x, f, ctx.how), scale, noise), b, 1, ctx.slopes)


def _backward(ctx: Any, dy: torch.Tensor | None, _: Any) -> tuple[Any, ...]:
    none = (None,) * 13
    if dy is None:
        return none
    x, f, scale, _, _, mask = ctx.saved_tensors
    if ctx.again:
        mask = _recompute_mask(ctx)
    needs_x, needs_scale, needs_noise, needs_b = (ctx.needs_input_grad[i] for i in (0, 6, 7, 8))
    samples = ctx.noise_samples if needs_noise else 0
    d = gradients(dy, mask, None, None, ctx.stride, ctx.slopes, samples, needs_b)
    dx = dscale = None
    if needs_x or needs_scale:
        dx = fir(d.dx, f, ctx.how.adjoint(f, ctx.in_size))
    if scale is not None and dx is not None:
        x, no_mask = x if needs_scale else None, mask.new_empty(0)
        scaled_d = gradients(dx, no_mask, x, scale, dx.stride(), LINEAR, 0, False)
        dx, dscale = scaled_d.dx, scaled_d.dscale
    return (
        dx if needs_x else None,
        *none[1:6],
        cast(dscale, ctx.scale_dtype),
        cast(d.dnoise, ctx.noise_dtype),
        cast(d.db, ctx.b_dtype),
        *none[9:],
    )


_op = differentiable(
    OP,
    "(Tensor x, Tensor? f, int[] origin, SymInt[] size, bool flip, float fir_gain, Tensor? scale,"
    " Tensor? noise, Tensor? b, float negative, float positive, float clamp, int planes)"
    " -> (Tensor, Tensor)",
    _fake,
    _setup,
    _backward,
)

_out = define(
    "fir_act_out",
    "(Tensor x, Tensor? f, int[] origin, bool flip, float fir_gain, Tensor? scale, Tensor? noise,"
    " Tensor? b, float negative, float positive, float clamp, Tensor(a!) y) -> ()",
    lambda *args: None,
)

for _device in ("cpu", "cuda"):
    dispatch.register(OP, _device, fir_act_native, in_extension=True)
