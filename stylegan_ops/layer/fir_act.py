# SPDX-License-Identifier: Apache-2.0
"""FIR filter and everything that follows it in a layer, in one op: what an up-sampling convolution
ends with. Internal: `modulated_conv2d` calls it."""

import torch

from stylegan_ops.layer.scale_act import gradients, has_mask, is_plane, numbers, scaled
from stylegan_ops.ops.bias_act import (
    PIECEWISE,
    bias_act,
    bias_act_ref,
    check_arguments,
    mask_of,
    mask_planes,
    slopes_of,
)
from stylegan_ops.ops.upfirdn2d import check_arguments as upfirdn2d_arguments
from stylegan_ops.ops.upfirdn2d import (
    fir,
    fir_adjoint,
    memory_format,
    native_kernel,
    out_size,
    upfirdn2d,
    upfirdn2d_ref,
)
from stylegan_ops.runtime import dispatch
from stylegan_ops.runtime.registration import define, differentiable, wants_gradient

OP = dispatch.declare("fir_act")


def fir_act(
    x,
    f,
    padding=0,
    flip_filter=False,
    fir_gain=1.0,
    scale=None,
    noise=None,
    b=None,
    act="linear",
    alpha=None,
    gain=None,
    clamp=None,
):
    """y = bias_act(upfirdn2d(x, f, padding) * fir_gain * scale[n, c] + noise, b).

    Args:
        x: [N, C, H, W], any floating dtype; contiguous or channels_last.
        f, padding, flip_filter, fir_gain: as `upfirdn2d` without resampling (there called gain).
        scale: [N, C] or None.
        noise: anything that broadcasts to y; [N, 1, H', W'] and [1, 1, H', W'] are fused. Or None.
        b, act, alpha, gain, clamp: as `bias_act`.
    Returns: [N, C, H', W']; dtype and layout of x; differentiable in x, scale, noise and b any
        number of times. Where the op is fused, scale, noise and b keep the dtype of arithmetic;
        elsewhere, and in the reference, they are rounded to that of x, and so is each step.
    Raises: ValueError as `upfirdn2d` and `bias_act`.
    Source: Karras et al. 2020 (arXiv:1912.04958), section 2.2 and appendix B.
    """
    _, _, padding = upfirdn2d_arguments(x, f, 1, 1, padding)
    check_arguments(x, b, 1, act, clamp)
    run = native_kernel(OP, f, x, scale, noise, b) or fir_act_ref
    return run(x, f, padding, flip_filter, fir_gain, scale, noise, b, act, alpha, gain, clamp)


def fir_act_ref(
    x,
    f,
    padding=0,
    flip_filter=False,
    fir_gain=1.0,
    scale=None,
    noise=None,
    b=None,
    act="linear",
    alpha=None,
    gain=None,
    clamp=None,
):
    """The definition of `fir_act` in plain PyTorch."""
    y = upfirdn2d_ref(x, f, 1, 1, padding, flip_filter, fir_gain)
    return bias_act_ref(scaled(y, scale, noise), b, 1, act, alpha, gain, clamp)


# The native op, for piecewise linear activations, which are a slope on either side of 0. Its
# derivative is made of ops that have theirs: with du = dy * slope by the mask of signs and
# t = FIR'(du), dx = t * scale, dscale = sum of t * x, and dnoise, db are sums of du.


def fir_act_native(x, f, padding, flip_filter, fir_gain, scale, noise, b, act, alpha, gain, clamp):
    """`fir_act` by the kernels in csrc, one pass where they can."""
    size = out_size(x, f, (1, 1), (1, 1), padding)
    alpha, gain, clamp = numbers(act, alpha, gain, clamp)
    wanted = act in PIECEWISE and wants_gradient(x, scale, noise, b)
    planes = mask_planes(act, clamp) if wanted else 0
    fused = act in PIECEWISE and (planes == 0 or has_mask(x, size))
    fused = fused and (noise is None or is_plane(noise, [*x.shape[:2], *size]))
    if not fused:
        y = scaled(upfirdn2d(x, f, 1, 1, padding, flip_filter, fir_gain), scale, noise)
        return bias_act(y, b, 1, act, alpha, gain, clamp if clamp >= 0 else None)
    where = (padding[0], padding[2]), size, flip_filter, fir_gain
    slopes = slopes_of(act, alpha, gain)
    return _op(x, f, *where, scale, noise, b, *slopes, clamp, planes)[0]


def fir_act_out(y, x, f, padding, fir_gain, scale, noise, b, act, alpha, gain, clamp):
    """The same into y [N, C, H', W'], without flip_filter; where `fits_out` says so of y and no
    derivative is asked for. Returns y."""
    alpha, gain, clamp = numbers(act, alpha, gain, clamp)
    slopes = slopes_of(act, alpha, gain)
    _out(x, f, (padding[0], padding[2]), False, fir_gain, scale, noise, b, *slopes, clamp, y)
    return y


def _fake(x, f, origin, size, flip, fir_gain, scale, noise, b, negative, positive, clamp, planes):
    shape = [*x.shape[:2], *size]
    y = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=memory_format(x))
    return y, x.new_empty(planes * ((y.numel() + 511) // 512) * 64, dtype=torch.uint8)


def _setup(ctx, inputs, output):
    x, f, origin, size, flip, fir_gain, scale, noise, b, *slopes, planes = inputs
    y, mask = output
    ctx.mark_non_differentiable(mask)
    ctx.fir = x.shape[2:], (1, 1), (1, 1), origin, size, flip, fir_gain
    ctx.slopes, ctx.stride, ctx.planes = slopes, y.stride(), planes
    ctx.scale_dtype, ctx.noise_dtype, ctx.b_dtype = (
        None if t is None else t.dtype for t in (scale, noise, b)
    )
    ctx.noise_samples = 0 if noise is None else noise.shape[0]
    # An exported graph may have been traced where no derivative was wanted: then the mask is made
    # when it is, from everything.
    needs_mask = slopes[0] != slopes[1] or slopes[2] >= 0
    ctx.again = needs_mask and planes == 0
    everything = ctx.again or (scale is not None and ctx.needs_input_grad[6])
    ctx.save_for_backward(
        x if everything else None,
        f,
        scale,
        *((noise, b, None) if ctx.again else (None, None, mask)),
    )


def _mask_again(ctx, x, f, scale, noise, b):
    with torch.no_grad():
        if has_mask(x, ctx.fir[4]):
            planes = 2 if ctx.slopes[2] >= 0 else 1
            return _op(x, f, *ctx.fir[3:], scale, noise, b, *ctx.slopes, planes)[1]
        return mask_of(scaled(fir(x, f, *ctx.fir[1:]), scale, noise), b, 1, *ctx.slopes)


def _backward(ctx, dy, _):
    none = (None,) * 13
    if dy is None:
        return none
    x, f, scale, noise, b, mask = ctx.saved_tensors
    if ctx.again:
        mask = _mask_again(ctx, x, f, scale, noise, b)
    needs_x, needs_scale, needs_noise, needs_b = (ctx.needs_input_grad[i] for i in (0, 6, 7, 8))
    samples = ctx.noise_samples if needs_noise else 0
    du, _, dnoise, db = gradients(dy, mask, None, None, ctx.stride, ctx.slopes, samples, needs_b)
    dx = dscale = None
    if needs_x or needs_scale:
        dx = fir_adjoint(du, f, *ctx.fir)
    if scale is not None and dx is not None:
        no_mask, linear = mask.new_empty(0), (1.0, 1.0, -1)
        ours = dx, no_mask, x if needs_scale else None, scale, dx.stride(), linear, 0, False
        dx, dscale, _, _ = gradients(*ours)
        dscale = dscale.to(ctx.scale_dtype) if needs_scale else None
    dnoise = dnoise.to(ctx.noise_dtype) if needs_noise else None
    db = db.to(ctx.b_dtype) if needs_b else None
    return dx if needs_x else None, *none[1:6], dscale, dnoise, db, *none[9:]


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
    dispatch.register(OP, _device, fir_act_native, library=True)
