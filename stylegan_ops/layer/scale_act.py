# SPDX-License-Identifier: Apache-2.0
"""Scale, noise, bias, activation and clamp in one op: what a modulated convolution begins and ends
with. Internal: `modulated_conv2d` calls it."""

from __future__ import annotations

from typing import Any

import torch

from stylegan_ops.layer.gradients import cast, gradients
from stylegan_ops.layer.records import Epilogue
from stylegan_ops.ops.bias_act import bias_act, bias_act_ref, mask_of
from stylegan_ops.runtime import dispatch
from stylegan_ops.runtime.activation import (
    LINEAR,
    PIECEWISE,
    Slopes,
    check_arguments,
    mask_planes,
    slopes_of,
)
from stylegan_ops.runtime.images import (
    FLOAT16_MAX,
    empty_mask,
    has_mask,
    is_channels_last,
    is_plane,
    memory_format,
)
from stylegan_ops.runtime.registration import define, differentiable, wants_gradient

OP = dispatch.declare("scale_act")


def scale_act(
    x: torch.Tensor,
    scale: torch.Tensor | None = None,
    noise: torch.Tensor | None = None,
    b: torch.Tensor | None = None,
    act: str = "linear",
    alpha: float | None = None,
    gain: float | None = None,
    clamp: float | None = None,
) -> torch.Tensor:
    """y = bias_act(x * scale[n, c] + noise, b).

    Args:
        x: [N, C, H, W], any floating dtype; contiguous or channels_last.
        scale: [N, C] or None.
        noise: anything that broadcasts to y; [N, 1, H, W] and [1, 1, H, W] are fused. Or None.
        b, act, alpha, gain, clamp: as `bias_act`.
    Returns: [N, C, H, W]; dtype and layout of x; differentiable in x, scale, noise and b any number
        of times. If the op is fused, scale, noise and b keep the dtype of arithmetic. Otherwise,
        and in the reference, they are rounded to that of x, and so is each step.
    Raises: ValueError as `bias_act`.
    Source: Karras et al. 2020 (arXiv:1912.04958), section 2.2.
    """
    check_arguments(x, b, 1, act, clamp)
    run = dispatch.kernel(OP, x, scale, noise, b) or scale_act_ref
    return run(x, scale, noise, b, act, alpha, gain, clamp)


def scale_act_ref(
    x: torch.Tensor,
    scale: torch.Tensor | None = None,
    noise: torch.Tensor | None = None,
    b: torch.Tensor | None = None,
    act: str = "linear",
    alpha: float | None = None,
    gain: float | None = None,
    clamp: float | None = None,
) -> torch.Tensor:
    """The definition of `scale_act` in plain PyTorch."""
    return bias_act_ref(scaled(x, scale, noise), b, 1, act, alpha, gain, clamp)


def scaled(
    x: torch.Tensor, scale: torch.Tensor | None, noise: torch.Tensor | None = None
) -> torch.Tensor:
    """x [N, C, H, W] * scale [N, C] + noise in the dtype of x; either may be None. Scales that this
    dtype cannot hold become its largest value: 0 times infinity would be no number."""
    if scale is not None:
        if x.dtype == torch.float16:
            scale = scale.clamp(-FLOAT16_MAX, FLOAT16_MAX)
        x = x * scale.to(x.dtype)[:, :, None, None]
    return x if noise is None else x + noise.to(x.dtype)


# The native op is for piecewise linear activations. `gradients` has its derivatives.


def scale_act_native(
    x: torch.Tensor,
    scale: torch.Tensor | None = None,
    noise: torch.Tensor | None = None,
    b: torch.Tensor | None = None,
    act: str = "linear",
    alpha: float | None = None,
    gain: float | None = None,
    clamp: float | None = None,
) -> torch.Tensor:
    """`scale_act` by the kernels in csrc."""
    if noise is not None and not is_plane(noise, x.shape):
        x, scale, noise = scaled(x, scale, noise), None, None
    if act in PIECEWISE:
        slopes = slopes_of(act, alpha, gain, clamp)
        planes = mask_planes(act, slopes.clamp) if wants_gradient(x, scale, noise, b) else 0
        if planes == 0 or has_mask(x, x.shape[2:]):
            return _run(x, scale, noise, b, slopes, planes)[0]
    if scale is not None or noise is not None:
        x = _run(x, scale, noise, None, LINEAR, 0)[0]
    return bias_act(x, b, 1, act, alpha, gain, clamp)


def _run(
    x: torch.Tensor,
    scale: torch.Tensor | None,
    noise: torch.Tensor | None,
    b: torch.Tensor | None,
    slopes: Slopes,
    planes: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """(y, mask) of the native op; the mask has so many planes."""
    return _op(x, scale, noise, b, slopes.negative, slopes.positive, slopes.clamp, planes)


def scale_act_out(
    y: torch.Tensor,
    x: torch.Tensor,
    scale: torch.Tensor | None,
    noise: torch.Tensor | None,
    end: Epilogue,
) -> torch.Tensor:
    """The same into y, which may be x, without a derivative; for what `supports_out` accepts.

    Returns: y.
    """
    slopes = slopes_of(end.act, end.alpha, end.gain, end.clamp)
    _out(x, scale, noise, end.bias, slopes.negative, slopes.positive, slopes.clamp, y)
    return y


def supports_out(x: torch.Tensor, noise: torch.Tensor | None, act: str) -> bool:
    """Whether `scale_act_out` takes these: a piecewise linear activation, noise that is fused, and
    a dense x."""
    return (
        act in PIECEWISE
        and (noise is None or is_plane(noise, x.shape))
        and (x.is_contiguous() or is_channels_last(x))
    )


def _fake(
    x: Any, scale: Any, noise: Any, b: Any, negative: Any, positive: Any, clamp: Any, planes: Any
) -> Any:
    y = torch.empty_like(x, memory_format=memory_format(x))
    return y, empty_mask(x, y.numel(), planes)


def _setup(ctx: Any, inputs: Any, output: Any) -> None:
    x, scale, noise, b, negative, positive, clamp, planes = inputs
    y, mask = output
    ctx.mark_non_differentiable(mask)
    ctx.slopes, ctx.stride = Slopes(negative, positive, clamp), y.stride()
    ctx.scale_dtype, ctx.noise_dtype, ctx.b_dtype = (
        None if t is None else t.dtype for t in (scale, noise, b)
    )
    ctx.noise_samples = 0 if noise is None else noise.shape[0]
    # An exported graph may have been traced without a derivative: then the backward makes the mask,
    # from everything.
    ctx.again = (negative != positive or clamp >= 0) and planes == 0
    everything = ctx.again or (scale is not None and ctx.needs_input_grad[1])
    ctx.save_for_backward(
        x if everything else None, scale, *((noise, b, None) if ctx.again else (None, None, mask))
    )


def _backward(ctx: Any, dy: torch.Tensor | None, _: Any) -> tuple[Any, ...]:
    none = (None,) * 8
    if dy is None:
        return none
    x, scale, noise, b, mask = ctx.saved_tensors
    if ctx.again:
        with torch.no_grad():
            u = scaled(x, scale, noise).contiguous(memory_format=memory_format(x))  # as y
            mask = mask_of(u, b, 1, ctx.slopes)
    needs_x, needs_scale, needs_noise, needs_b = ctx.needs_input_grad[:4]
    x, samples = x if needs_scale else None, ctx.noise_samples if needs_noise else 0
    d = gradients(dy, mask, x, scale, ctx.stride, ctx.slopes, samples, needs_b)
    return (
        d.dx if needs_x else None,
        cast(d.dscale, ctx.scale_dtype),
        cast(d.dnoise, ctx.noise_dtype),
        cast(d.db, ctx.b_dtype),
        *none[4:],
    )


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


for _device in ("cpu", "cuda"):
    dispatch.register(OP, _device, scale_act_native, in_extension=True)
