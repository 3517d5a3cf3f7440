# SPDX-License-Identifier: Apache-2.0
"""Up-sample, leaky ReLU, down-sample: the nonlinearity of StyleGAN3, without aliasing."""

from __future__ import annotations

import math
import warnings
from dataclasses import fields
from typing import Any

import torch

from stylegan_ops.ops.bias_act import bias_act, bias_act_ref
from stylegan_ops.ops.bias_act import check_arguments as check_bias
from stylegan_ops.ops.upfirdn2d import (
    check_arguments,
    native_kernel,
    upfirdn2d,
    upfirdn2d_ref,
)
from stylegan_ops.runtime import dispatch
from stylegan_ops.runtime.autocast import without_autocast
from stylegan_ops.runtime.fir import FirPair
from stylegan_ops.runtime.images import Filter, Padding, Padding4, filter_size, memory_format
from stylegan_ops.runtime.numbers import as_float, as_int, maybe_float
from stylegan_ops.runtime.registration import differentiable, wants_gradient

OP = dispatch.declare("filtered_lrelu")
GAIN = math.sqrt(2)  # keeps the variance of a normal distribution, as in bias_act
FACTORS = (1, 2, 4)  # up and down of the kernels
MAX_TAPS = 32  # of their filters along an axis; kMaxTaps in csrc
MASK_SAMPLES = 16  # samples in a word of a mask; kMaskSamples in csrc


@without_autocast()
def filtered_lrelu(
    x: torch.Tensor,
    fu: Filter = None,
    fd: Filter = None,
    b: torch.Tensor | None = None,
    up: int = 1,
    down: int = 1,
    padding: Padding = 0,
    gain: float | None = GAIN,
    slope: float = 0.2,
    clamp: float | None = None,
    flip_filter: bool = False,
) -> torch.Tensor:
    """y = keep_every(down, fd * clamp(lrelu(fu * pad(zero_insert(x + b, up)) * up^2) * gain)).

    Args:
        x: [N, C, H, W], any floating dtype; contiguous or channels_last.
        fu, fd: up- and down-sampling filter, [kh, kw] or [k] for a separable one; float32, on the
            device of x; None is a single tap of 1. If one requires a gradient, the reference
            runs.
        b: [C] or None, added before everything else.
        up, down: factors, int.
        padding: zeros on the upsampled grid, int, [x, y] or [x0, x1, y0, y1]; negative crops.
        gain: factor on the activation; None is sqrt(2).
        slope: of the leaky ReLU below 0.
        clamp: largest magnitude after the gain, or None.
        flip_filter: False convolves, True correlates.
    Returns: [N, C, H', W'], H' = (H*up + y0 + y1 - (fu_h-1) - (fd_h-1) + (down-1)) // down; dtype
        and layout of x; differentiable in x and b any number of times.
    Raises: ValueError if a filter does not fit in its image or an argument has a wrong shape.
    Source: Karras et al. 2021 (arXiv:2106.12423), section 3.2 and appendix D.
    """
    up, down = _factor(up, "up"), _factor(down, "down")
    padding = _check(x, fu, fd, b, up, padding, clamp)
    gain = as_float(GAIN if gain is None else gain, f"{OP}: gain")
    slope, clamp = as_float(slope, f"{OP}: slope"), maybe_float(clamp, f"{OP}: clamp")
    found = native_kernel(OP, fu, x, b, fd)
    if fd is not None and fd.requires_grad and torch.is_grad_enabled():
        found = None
    run = found or filtered_lrelu_ref
    return run(x, fu, fd, b, up, down, padding, gain, slope, clamp, flip_filter)


def _factor(value: int, name: str) -> int:
    """A factor as an int; raises ValueError as promised."""
    try:
        factor = as_int(value, name)
    except ValueError:
        factor = 0
    if factor < 1:
        raise ValueError(f"{OP}: {name} must be an int >= 1, got {value!r}")
    return factor


def _check(
    x: torch.Tensor,
    fu: Filter,
    fd: Filter,
    b: torch.Tensor | None,
    up: int,
    padding: Padding,
    clamp: float | None,
) -> Padding4:
    """padding as a tuple of four; raises ValueError as promised."""
    _, _, padding = check_arguments(x, fu, up, 1, padding, OP)
    check_bias(x, b, 1, "lrelu", clamp, OP)
    height, width = mid_size(x, fu, up, padding)
    kw, kh = filter_size(fd)
    if fd is not None and (fd.ndim not in (1, 2) or fd.numel() == 0):
        raise ValueError(f"{OP}: fd must be [k] or [kh, kw], got {list(fd.shape)}")
    if height < kh or width < kw:
        raise ValueError(
            f"{OP}: the filter fd of {kw}x{kh} does not fit in the up-sampled image of "
            f"{width}x{height}"
        )
    return padding


def mid_size(x: torch.Tensor, fu: Filter, up: int, padding: Padding4) -> tuple[int, int]:
    """(H, W) of the image between the two filters, to which the activation applies."""
    (kw, kh), (x0, x1, y0, y1), (h, w) = filter_size(fu), padding, x.shape[2:]
    return h * up + y0 + y1 - kh + 1, w * up + x0 + x1 - kw + 1


def filtered_lrelu_ref(
    x: torch.Tensor,
    fu: Filter = None,
    fd: Filter = None,
    b: torch.Tensor | None = None,
    up: int = 1,
    down: int = 1,
    padding: Padding = 0,
    gain: float = GAIN,
    slope: float = 0.2,
    clamp: float | None = None,
    flip_filter: bool = False,
) -> torch.Tensor:
    """The definition of `filtered_lrelu` in plain PyTorch."""
    x = bias_act_ref(x, b)
    x = upfirdn2d_ref(x, fu, up, 1, padding, flip_filter, up**2)
    x = bias_act_ref(x, None, 1, "lrelu", slope, gain, clamp)
    return upfirdn2d_ref(x, fd, 1, down, 0, flip_filter)


def composed(
    x: torch.Tensor,
    fu: Filter,
    fd: Filter,
    b: torch.Tensor | None,
    up: int,
    down: int,
    padding: Padding,
    gain: float,
    slope: float,
    clamp: float | None,
    flip_filter: bool,
) -> torch.Tensor:
    """The same by the kernels of upfirdn2d and bias_act, with images of the up-sampled size between
    them."""
    x = x if b is None else bias_act(x, b)
    x = upfirdn2d(x, fu, up, 1, padding, flip_filter, up**2)
    x = bias_act(x, None, 1, "lrelu", slope, gain, clamp)
    return upfirdn2d(x, fd, 1, down, 0, flip_filter)


def supports(x: torch.Tensor, fu: Filter, fd: Filter, up: int, down: int) -> bool:
    """Whether the fused kernels take these."""
    sizes = (*filter_size(fu), *filter_size(fd))
    factors = up in FACTORS and down in FACTORS
    return x.dtype != torch.float64 and factors and max(sizes) <= MAX_TAPS


_warned: set[bool] = set()


def _warn_composed(x: torch.Tensor, fu: Filter, fd: Filter, up: int, down: int) -> None:
    """Warn that no fused kernel runs: once in a process for float64 and once for other reasons."""
    reason = x.dtype == torch.float64
    if torch.compiler.is_compiling() or reason in _warned:
        return
    _warned.add(reason)
    sizes = f"filters of {filter_size(fu)} and {filter_size(fd)} taps, up {up}, down {down}"
    warnings.warn(
        f"filtered_lrelu: no fused kernel for {x.dtype} with {sizes}, so upfirdn2d and bias_act "
        "run instead, several times slower (shown once)",
        RuntimeWarning,
        stacklevel=5,  # who called `filtered_lrelu`
    )


# The native op. With u = fir_up(x + b) and v = slope(u) u, y = fir_down(v). For given slopes that
# is linear, and its adjoint is the same op with the filters exchanged and transposed. So dx =
# op(dy; slopes by the mask of u), db = sum of dx, and the derivatives of that are the op again.


def filtered_lrelu_native(
    x: torch.Tensor,
    fu: Filter,
    fd: Filter,
    b: torch.Tensor | None,
    up: int,
    down: int,
    padding: Padding4,
    gain: float,
    slope: float,
    clamp: float | None,
    flip_filter: bool,
) -> torch.Tensor:
    """`filtered_lrelu` by the fused kernels in csrc if they take it."""
    if not supports(x, fu, fd, up, down):
        args = x, fu, fd, b, up, down, padding, gain, slope, clamp, flip_filter
        if x.device.type == "meta":
            return filtered_lrelu_ref(*args)
        _warn_composed(x, fu, fd, up, down)
        return composed(*args)
    mid = height, width = mid_size(x, fu, up, padding)
    kw, kh = filter_size(fd)
    size = [(height - kh) // down + 1, (width - kw) // down + 1]
    if size == [1, 1]:  # y and its gradient do not tell a layout: the mask must be in theirs
        x = x.contiguous()
    clamp = -1.0 if clamp is None else float(clamp)
    write = wants_gradient(x, b) and not (slope == 1 and clamp < 0)
    x0, _, y0, _ = padding
    return _op(
        *(x, fu, fd, b, None, up, down, (x0, y0), (0, 0), mid, size),
        *(flip_filter, flip_filter, float(up**2), 1.0),
        *(float(slope * gain), float(gain), clamp, write),
    )[0]


def _fake(x: Any, fu: Any, fd: Any, b: Any, mask: Any, *args: Any) -> Any:
    *filtering, negative, positive, clamp, write = args
    how = FirPair(*filtering)
    mid, size = how.mid, how.size
    n, c = x.shape[:2]
    layout = memory_format(x)
    y = torch.empty([n, c, *size], dtype=x.dtype, device=x.device, memory_format=layout)
    last = layout == torch.channels_last
    shape = (n, *mid, c) if last else (n, c, *mid)
    words = (shape[-1] + MASK_SAMPLES - 1) // MASK_SAMPLES
    return y, x.new_empty((*shape[:-1], words) if write else (0,), dtype=torch.int32)


def _setup(ctx: Any, inputs: Any, output: Any) -> None:
    x, fu, fd, b, mask, *filtering, negative, positive, clamp, write = inputs
    y, written = output
    ctx.mark_non_differentiable(written)
    ctx.how = FirPair(*filtering)
    ctx.negative, ctx.positive, ctx.clamp = negative, positive, clamp
    ctx.in_size, ctx.layout = x.shape[2:], memory_format(y)
    ctx.b_dtype = None if b is None else b.dtype
    # An exported graph may have been traced without a derivative: then the backward makes the mask.
    # With a mask given, the op was linear.
    ctx.linear = mask is None and negative == positive and clamp < 0
    ctx.again = mask is None and not write and not ctx.linear
    mask = written if write else mask
    ctx.save_for_backward(x if ctx.again else None, fu, fd, b if ctx.again else None, mask)


def _backward(ctx: Any, dy: torch.Tensor | None, _: Any) -> tuple[Any, ...]:
    none = (None,) * 19
    if dy is None:
        return none
    x, fu, fd, b, mask = ctx.saved_tensors
    how, slopes = ctx.how, (ctx.negative, ctx.positive, ctx.clamp)
    if ctx.again:
        with torch.no_grad():
            filtering = (getattr(how, field.name) for field in fields(how))
            _, mask = _op(x, fu, fd, b, None, *filtering, *slopes, True)
    # The adjoint, filters exchanged. Not as a record: that takes a tenth of the time of a call.
    dx, _ = _op(
        *(dy.contiguous(memory_format=ctx.layout), fd, fu, None, None if ctx.linear else mask),
        *(how.down, how.up),
        [k - 1 - o for k, o in zip(filter_size(fd), how.down_origin)],
        [k - 1 - o for k, o in zip(filter_size(fu), how.up_origin)],
        *(how.mid, ctx.in_size, not how.down_flip, not how.up_flip),
        *(how.down_gain, how.up_gain, *slopes, False),
    )
    db = None
    if ctx.b_dtype and ctx.needs_input_grad[3]:
        db = dx.sum(dim=[0, 2, 3], dtype=torch.float32).to(ctx.b_dtype)
    return dx if ctx.needs_input_grad[0] else None, None, None, db, *none[4:]


_op = differentiable(
    OP,
    "(Tensor x, Tensor? fu, Tensor? fd, Tensor? b, Tensor? mask, int up, int down,"
    " SymInt[] up_origin, SymInt[] down_origin, SymInt[] mid, SymInt[] size, bool up_flip,"
    " bool down_flip, float up_gain, float down_gain, float negative, float positive, float clamp,"
    " bool write) -> (Tensor, Tensor)",
    _fake,
    _setup,
    _backward,
)

for _device in ("cpu", "cuda"):
    dispatch.register(OP, _device, filtered_lrelu_native, in_extension=True)
# Without data too: what the fused op keeps for its backward is a fraction of the reference's.
dispatch.register(OP, "meta", filtered_lrelu_native)
