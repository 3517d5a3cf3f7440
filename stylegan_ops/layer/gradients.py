# SPDX-License-Identifier: Apache-2.0
"""The gradients of what follows a convolution in a layer: scale, noise, bias and activation. The
ops `scale_act` and `fir_act` share them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from stylegan_ops.ops.bias_act import mask_grad
from stylegan_ops.runtime.activation import LINEAR_RULE, MaskRule, Slopes
from stylegan_ops.runtime.images import accumulator, has_mask_in
from stylegan_ops.runtime.registration import differentiable

# With dv = dy * slope by the mask of signs, the gradient of `scale_act` is one op,
#     grad(dy, x, scale) = dv * scale, sum of dv * x, sum of dv (over pixels), sum of dv (channels)
# and so is that of the first two results of grad, since dv is linear in dy: with cotangents ddx and
# ddscale, grad(ddx, -, scale) + grad(x, -, ddscale) w.r.t. dy, and grad(dy, ddx, ddscale) w.r.t. x
# and scale. So any order works.


@dataclass(frozen=True, slots=True)
class Gradients:
    """Of `scale_act`; each but dx is None if it is not wanted."""

    dx: torch.Tensor
    dscale: torch.Tensor | None
    dnoise: torch.Tensor | None
    db: torch.Tensor | None


def cast(gradient: torch.Tensor | None, dtype: torch.dtype) -> torch.Tensor | None:
    """The gradient in the dtype of what it belongs to."""
    return None if gradient is None else gradient.to(dtype)


def gradients(
    dy: torch.Tensor,
    mask: torch.Tensor,
    x: torch.Tensor | None,
    scale: torch.Tensor | None,
    stride: Sequence[int],
    slopes: Slopes,
    noise_samples: int,
    needs_b: bool,
) -> Gradients:
    """The gradients of `scale_act`.

    Args:
        mask, slopes: of `mask_of`, whose mask may have been made by any of the ops.
        x: None if dscale is not wanted.
        stride: of x.
        noise_samples: of the noise, 0 if dnoise is not wanted.
    """
    rule = MaskRule(slopes.negative, slopes.positive, slopes.clamp >= 0)
    if mask.numel() > 0 and not has_mask_in(dy, dy.shape[2:], _is_channels_last(dy, stride)):
        unmasked = rule.negative, rule.positive, rule.has_clamp
        dy = mask_grad(dy, None, mask, stride, 1, *unmasked, False)[0]
        mask, rule = mask.new_empty(0), LINEAR_RULE
    fused = noise_samples > 0 and _sums_channels(dy, stride)
    dx, products, sums, noise = _run_grad(
        dy, mask, x, scale, stride, rule, noise=fused, sum=bool(needs_b)
    )
    dnoise = None
    if noise_samples:
        if fused:
            dnoise = noise[0] if len(noise) == 1 else noise.sum(0)
        else:
            dv = _run_grad(dy, mask, None, None, stride, rule)[0]
            dnoise = dv.sum(1, keepdim=True, dtype=accumulator(dv))
        if noise_samples == 1:
            dnoise = dnoise.sum(0, keepdim=True)
    return Gradients(dx, None if x is None else products, dnoise, sums.sum(0) if needs_b else None)


def _run_grad(
    dy: torch.Tensor,
    mask: torch.Tensor,
    x: torch.Tensor | None,
    scale: torch.Tensor | None,
    stride: Sequence[int],
    rule: MaskRule,
    noise: bool = False,
    sum: bool = False,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """(dx, dscale, sums for db, parts of dnoise) of the native gradient; empty if not asked for."""
    slopes = rule.negative, rule.positive, rule.has_clamp
    return _grad(dy, mask, x, scale, stride, *slopes, noise, sum)


def _is_channels_last(dy: torch.Tensor, stride: Sequence[int]) -> bool:
    """Whether the kernels read the shape of dy with dense strides as channels_last. They do not if
    it is contiguous as well, as images of a pixel and empty batches are."""
    n, c, h, w = dy.shape
    return stride[1] == 1 and n > 0 and c > 1 and h * w > 1


def _sums_channels(dy: torch.Tensor, stride: Sequence[int]) -> bool:
    """Whether the sum over channels is part of the kernel."""
    return dy.device.type == "cpu" or (_is_channels_last(dy, stride) and dy.shape[1] % 8 == 0)


_PART = 256  # channels in a part of their sum, 32 groups of 8, on CUDA


def _noise_parts(dy: torch.Tensor) -> int:
    return 1 if dy.device.type == "cpu" else (dy.shape[1] + _PART - 1) // _PART


def _from_parts(parts: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """For each channel the value of its part [parts, N, 1, H, W]: the adjoint of their sums."""
    if len(parts) == 1:
        return parts[0].expand(shape)
    return parts.squeeze(2).movedim(0, 1).repeat_interleave(_PART, 1)[:, : shape[1]]


def _grad_fake(
    dy: Any,
    mask: Any,
    x: Any,
    scale: Any,
    stride: Any,
    negative: Any,
    positive: Any,
    has_clamp: Any,
    noise: Any,
    sum: Any,
) -> Any:
    n, c, h, w = dy.shape
    type = {"dtype": accumulator(dy)}
    return (
        dy.new_empty_strided(dy.shape, stride),
        dy.new_empty(n if x is not None else 0, c, **type),
        dy.new_empty(n if sum else 0, c, **type),
        dy.new_empty(_noise_parts(dy) if noise else 0, n, 1, h, w, **type),
    )


def _grad_setup(ctx: Any, inputs: Any, output: Any) -> None:
    dy, mask, x, scale, ctx.stride, negative, positive, has_clamp, ctx.noise, ctx.sum = inputs
    ctx.rule = MaskRule(negative, positive, has_clamp)
    ctx.shape, ctx.dtype = dy.shape, dy.dtype
    ctx.scale_dtype = None if scale is None else scale.dtype
    others = ctx.needs_input_grad[2] or ctx.needs_input_grad[3]
    ctx.save_for_backward(dy if others else None, mask, x, scale)


def _grad_backward(ctx: Any, ddx: Any, dproducts: Any, dsums: Any, dnoise: Any) -> tuple[Any, ...]:
    dy, mask, x, scale = ctx.saved_tensors
    needs_dy, _, needs_x, needs_scale = ctx.needs_input_grad[:4]
    d_dy = d_x = d_scale = None
    if needs_dy:
        terms = []
        if ddx is not None:
            terms.append(_run_grad(ddx, mask, None, scale, ctx.stride, ctx.rule)[0])
        if dproducts is not None and x is not None:
            terms.append(_run_grad(x, mask, None, dproducts, ctx.stride, ctx.rule)[0])
        if dsums is not None and ctx.sum:
            spread = dsums[:, :, None, None].to(ctx.dtype).expand(ctx.shape)
            terms.append(_run_grad(spread, mask, None, None, ctx.stride, ctx.rule)[0])
        if dnoise is not None and ctx.noise:
            spread = _from_parts(dnoise.to(ctx.dtype), ctx.shape)
            terms.append(_run_grad(spread, mask, None, None, ctx.stride, ctx.rule)[0])
        d_dy = sum(terms[1:], terms[0]) if terms else None
    needs_x = needs_x and dproducts is not None
    needs_scale = needs_scale and ddx is not None
    if needs_x or needs_scale:
        ddx = ddx if needs_scale else None
        d_x, d_scale, _, _ = _run_grad(dy, mask, ddx, dproducts, ctx.stride, ctx.rule)
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
