# SPDX-License-Identifier: Apache-2.0
"""Scale, noise, bias, activation and clamp in one op: what a modulated convolution begins and ends
with. Internal: `modulated_conv2d` calls it."""

import math

import torch

from stylegan_ops.ops.bias_act import (
    ACTIVATIONS,
    PIECEWISE,
    bias_act,
    bias_act_ref,
    check_arguments,
    mask_grad,
    mask_of,
    mask_planes,
    slopes_of,
)
from stylegan_ops.ops.upfirdn2d import memory_format
from stylegan_ops.runtime import dispatch
from stylegan_ops.runtime.registration import define, differentiable, wants_gradient

OP = dispatch.declare("scale_act")
FLOAT16_MAX = torch.finfo(torch.float16).max


def scale_act(x, scale=None, noise=None, b=None, act="linear", alpha=None, gain=None, clamp=None):
    """y = bias_act(x * scale[n, c] + noise, b).

    Args:
        x: [N, C, H, W], any floating dtype; contiguous or channels_last.
        scale: [N, C] or None.
        noise: anything that broadcasts to y; [N, 1, H, W] and [1, 1, H, W] are fused. Or None.
        b, act, alpha, gain, clamp: as `bias_act`.
    Returns: [N, C, H, W]; dtype and layout of x; differentiable in x, scale, noise and b any number
        of times. Where the op is fused, scale, noise and b keep the dtype of arithmetic; elsewhere,
        and in the reference, they are rounded to that of x, and so is each step.
    Raises: ValueError as `bias_act`.
    Source: Karras et al. 2020 (arXiv:1912.04958), section 2.2.
    """
    check_arguments(x, b, 1, act, clamp)
    run = dispatch.kernel(OP, x, scale, noise, b) or scale_act_ref
    return run(x, scale, noise, b, act, alpha, gain, clamp)


def scale_act_ref(
    x, scale=None, noise=None, b=None, act="linear", alpha=None, gain=None, clamp=None
):
    """The definition of `scale_act` in plain PyTorch."""
    return bias_act_ref(scaled(x, scale, noise), b, 1, act, alpha, gain, clamp)


def scaled(x, scale, noise=None):
    """x [N, C, H, W] * scale [N, C] + noise in the dtype of x; either may be None. Of scales, what
    that cannot hold becomes its largest: 0 times infinity would be no number."""
    if scale is not None:
        if x.dtype == torch.float16:
            scale = scale.clamp(-FLOAT16_MAX, FLOAT16_MAX)
        x = x * scale.to(x.dtype)[:, :, None, None]
    return x if noise is None else x + noise.to(x.dtype)


# The native op, for piecewise linear activations, which are a slope on either side of 0. With
# dv = dy * slope by the mask of signs, its gradient is one op,
#     grad(dy, x, scale) = dv * scale, sum of dv * x, sum of dv (over pixels), sum of dv (channels)
# and so is that of the first two results of grad, since dv is linear in dy: with cotangents ddx and
# ddscale, grad(ddx, -, scale) + grad(x, -, ddscale) by dy, and grad(dy, ddx, ddscale) by x and
# scale. So any order works.


def scale_act_native(
    x, scale=None, noise=None, b=None, act="linear", alpha=None, gain=None, clamp=None
):
    """`scale_act` by the kernels in csrc."""
    alpha, gain, clamp = numbers(act, alpha, gain, clamp)
    wanted = act in PIECEWISE and wants_gradient(x, scale, noise, b)
    planes = mask_planes(act, clamp) if wanted else 0
    if noise is not None and not is_plane(noise, x.shape):
        x, noise = scaled(x, scale, noise), None
        scale = None
    if act in PIECEWISE and (planes == 0 or has_mask(x, x.shape[2:])):
        return _op(x, scale, noise, b, *slopes_of(act, alpha, gain), clamp, planes)[0]
    if scale is not None or noise is not None:
        x = _op(x, scale, noise, None, 1.0, 1.0, -1, 0)[0]
    return bias_act(x, b, 1, act, alpha, gain, clamp if clamp >= 0 else None)


def scale_act_out(y, x, scale, noise, b, act, alpha, gain, clamp):
    """The same into y, which may be x; for piecewise linear activations, fused noise, dense tensors
    of one layout, and where no derivative is asked for. Returns y."""
    alpha, gain, clamp = numbers(act, alpha, gain, clamp)
    _out(x, scale, noise, b, *slopes_of(act, alpha, gain), clamp, y)
    return y


def fits_out(x, noise, act):
    """Whether `scale_act_out` serves."""
    return (
        act in PIECEWISE
        and (noise is None or is_plane(noise, x.shape))
        and (x.is_contiguous() or x.is_contiguous(memory_format=torch.channels_last))
    )


def numbers(act, alpha, gain, clamp):
    """alpha, gain and clamp as kernels take them: defaults filled in, clamp -1 for none."""
    spec = ACTIVATIONS[act]
    alpha = spec.alpha if alpha is None else alpha
    gain = spec.gain if gain is None else gain
    return alpha, gain, -1 if clamp is None or clamp == math.inf else clamp


def has_mask(x, size):
    """Whether the kernels can write the mask of y, [N, C, *size] in the layout of x: by whole
    blocks on the CPU, whole bytes on CUDA."""
    return _has_mask(x, size, memory_format(x) == torch.channels_last)


def _has_mask(x, size, channels_last):
    height, width = size
    run = x.shape[1] if channels_last else 1
    if x.device.type == "cpu":
        return height * width * run % 512 == 0
    return (run if run > 1 else width) % 8 == 0


def is_plane(noise, shape):
    """Whether noise is [N, 1, H, W] or [1, 1, H, W] for images of a shape."""
    return (
        noise.ndim == 4
        and noise.shape[0] in (1, shape[0])
        and noise.shape[1] == 1
        and tuple(noise.shape[2:]) == tuple(shape[2:])
    )


def accumulator(x):
    """The dtype of arithmetic with x: float64 for float64, else float32."""
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def _fake(x, scale, noise, b, negative, positive, clamp, planes):
    y = torch.empty_like(x, memory_format=memory_format(x))
    return y, x.new_empty(planes * ((y.numel() + 511) // 512) * 64, dtype=torch.uint8)


def _setup(ctx, inputs, output):
    x, scale, noise, b, *slopes, planes = inputs
    y, mask = output
    ctx.mark_non_differentiable(mask)
    ctx.slopes, ctx.stride, ctx.planes = slopes, y.stride(), planes
    ctx.scale_dtype, ctx.noise_dtype, ctx.b_dtype = (
        None if t is None else t.dtype for t in (scale, noise, b)
    )
    ctx.noise_samples = 0 if noise is None else noise.shape[0]
    # An exported graph may have been traced where no derivative was wanted: then the mask is made
    # when it is, from everything.
    ctx.again = (slopes[0] != slopes[1] or slopes[2] >= 0) and planes == 0
    everything = ctx.again or (scale is not None and ctx.needs_input_grad[1])
    ctx.save_for_backward(
        x if everything else None, scale, *((noise, b, None) if ctx.again else (None, None, mask))
    )


def _backward(ctx, dy, _):
    none = (None,) * 8
    if dy is None:
        return none
    x, scale, noise, b, mask = ctx.saved_tensors
    if ctx.again:
        with torch.no_grad():
            u = scaled(x, scale, noise).contiguous(memory_format=memory_format(x))  # as y
            mask = mask_of(u, b, 1, *ctx.slopes)
    needs_x, needs_scale, needs_noise, needs_b = ctx.needs_input_grad[:4]
    dx, dscale, dnoise, db = gradients(
        dy,
        mask,
        x if needs_scale else None,
        scale,
        ctx.stride,
        ctx.slopes,
        ctx.noise_samples if needs_noise else 0,
        needs_b,
    )
    return (
        dx if needs_x else None,
        dscale.to(ctx.scale_dtype) if needs_scale else None,
        dnoise.to(ctx.noise_dtype) if needs_noise else None,
        db.to(ctx.b_dtype) if needs_b else None,
        *none[4:],
    )


def gradients(dy, mask, x, scale, stride, slopes, noise_samples, needs_b):
    """(dx, dscale, dnoise, db) of `scale_act`, each None where it is not wanted.

    Args:
        mask, slopes: of `mask_of`, whose mask may have been made by any of the ops.
        x: None where dscale is not wanted.
        stride: of x.
        noise_samples: of the noise, 0 where dnoise is not wanted.
    """
    negative, positive, clamp = slopes
    rule = negative, positive, clamp >= 0
    if mask.numel() > 0 and not _has_mask(dy, dy.shape[2:], _is_last(dy, stride)):
        dy = mask_grad(dy, None, mask, stride, 1, *rule, False)[0]
        mask, rule = mask.new_empty(0), (1.0, 1.0, False)
    fused = noise_samples > 0 and _sums_channels(dy, stride)
    dx, products, sums, noise = _grad(dy, mask, x, scale, stride, *rule, fused, bool(needs_b))
    dnoise = None
    if noise_samples:
        if fused:
            dnoise = noise[0] if len(noise) == 1 else noise.sum(0)
        else:
            dv = _grad(dy, mask, None, None, stride, *rule, False, False)[0]
            dnoise = dv.sum(1, keepdim=True, dtype=accumulator(dv))
        if noise_samples == 1:
            dnoise = dnoise.sum(0, keepdim=True)
    return dx, None if x is None else products, dnoise, sums.sum(0) if needs_b else None


_op = differentiable(
    OP,
    "(Tensor x, Tensor? scale, Tensor? noise, Tensor? b, float negative, float positive,"
    " float clamp, int planes) -> (Tensor, Tensor)",
    _fake,
    _setup,
    _backward,
)

_out = define(
    "scale_act_out",
    "(Tensor x, Tensor? scale, Tensor? noise, Tensor? b, float negative, float positive,"
    " float clamp, Tensor(a!) y) -> ()",
    lambda *args: None,
)


def _is_last(dy, stride):
    """Whether the kernels call the shape of dy with dense strides channels_last: not where it is
    contiguous as well, as images of a pixel and empty batches are."""
    n, c, h, w = dy.shape
    return stride[1] == 1 and n > 0 and c > 1 and h * w > 1


def _sums_channels(dy, stride):
    """Whether the sum over channels is part of the kernel."""
    return dy.device.type == "cpu" or (_is_last(dy, stride) and dy.shape[1] % 8 == 0)


_PART = 256  # channels in a part of their sum, 32 groups of 8, on CUDA


def _noise_parts(dy):
    return 1 if dy.device.type == "cpu" else (dy.shape[1] + _PART - 1) // _PART


def _from_parts(parts, shape):
    """To each channel what belongs to the part [parts, N, 1, H, W] that it is in: the adjoint of
    their sums."""
    if len(parts) == 1:
        return parts[0].expand(shape)
    return parts.squeeze(2).movedim(0, 1).repeat_interleave(_PART, 1)[:, : shape[1]]


def _grad_fake(dy, mask, x, scale, stride, negative, positive, has_clamp, noise, sum):
    n, c, h, w = dy.shape
    type = {"dtype": accumulator(dy)}
    return (
        dy.new_empty_strided(dy.shape, stride),
        dy.new_empty(n if x is not None else 0, c, **type),
        dy.new_empty(n if sum else 0, c, **type),
        dy.new_empty(_noise_parts(dy) if noise else 0, n, 1, h, w, **type),
    )


def _grad_setup(ctx, inputs, output):
    dy, mask, x, scale, ctx.stride, *ctx.rule, ctx.noise, ctx.sum = inputs
    ctx.shape, ctx.dtype = dy.shape, dy.dtype
    ctx.x_dtype, ctx.scale_dtype = (None if t is None else t.dtype for t in (x, scale))
    others = ctx.needs_input_grad[2] or ctx.needs_input_grad[3]
    ctx.save_for_backward(dy if others else None, mask, x, scale)


def _grad_backward(ctx, ddx, dproducts, dsums, dnoise):
    dy, mask, x, scale = ctx.saved_tensors
    needs_dy, _, needs_x, needs_scale = ctx.needs_input_grad[:4]

    def grad(dy, x, scale):
        return _grad(dy, mask, x, scale, ctx.stride, *ctx.rule, False, False)

    d_dy = d_x = d_scale = None
    if needs_dy:
        terms = []
        if ddx is not None:
            terms.append(grad(ddx, None, scale)[0])
        if dproducts is not None and x is not None:
            terms.append(grad(x, None, dproducts)[0])
        if dsums is not None and ctx.sum:
            terms.append(
                grad(dsums[:, :, None, None].to(ctx.dtype).expand(ctx.shape), None, None)[0]
            )
        if dnoise is not None and ctx.noise:
            terms.append(grad(_from_parts(dnoise.to(ctx.dtype), ctx.shape), None, None)[0])
        d_dy = sum(terms[1:], terms[0]) if terms else None
    needs_x = needs_x and dproducts is not None
    needs_scale = needs_scale and ddx is not None
    if needs_x or needs_scale:
        d_x, d_scale, _, _ = grad(dy, ddx if needs_scale else None, dproducts)
        d_x = d_x if needs_x else None
        d_scale = d_scale.to(ctx.scale_dtype) if needs_scale else None
    return (d_dy, None, d_x, d_scale, *(None,) * 6)


_grad = differentiable(
    "scale_act_grad",
    "(Tensor dy, Tensor mask, Tensor? x, Tensor? scale, SymInt[] stride, float negative,"
    " float positive, bool has_clamp, bool noise, bool sum) -> (Tensor, Tensor, Tensor, Tensor)",
    _grad_fake,
    _grad_setup,
    _grad_backward,
)

for _device in ("cpu", "cuda"):
    dispatch.register(OP, _device, scale_act_native, library=True)
