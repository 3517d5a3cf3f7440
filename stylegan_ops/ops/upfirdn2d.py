# SPDX-License-Identifier: Apache-2.0
"""Up-sample, filter, down-sample in one op."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F

from stylegan_ops.runtime import dispatch
from stylegan_ops.runtime.autocast import without_autocast
from stylegan_ops.runtime.fir import Fir
from stylegan_ops.runtime.images import (
    DTYPES,
    Padding,
    Padding4,
    Pair,
    filter_size,
    memory_format,
    pad4,
    pair,
)
from stylegan_ops.runtime.numbers import as_float
from stylegan_ops.runtime.registration import differentiable

OP = dispatch.declare("upfirdn2d")


@without_autocast()
def upfirdn2d(
    x: torch.Tensor,
    f: torch.Tensor | None,
    up: int | Sequence[int] = 1,
    down: int | Sequence[int] = 1,
    padding: Padding = 0,
    flip_filter: bool = False,
    gain: float = 1.0,
) -> torch.Tensor:
    """y = keep_every(down, f * pad(zero_insert(x, up))) * gain, in one pass over memory.

    Args:
        x: [N, C, H, W], any floating dtype; contiguous or channels_last.
        f: [kh, kw], or [k] for a separable filter, from `setup_filter`; on the device of x. None is
            a single tap of 1. If it requires a gradient, the reference runs.
        up, down: factor, int or [x, y].
        padding: zeros on the upsampled grid, int, [x, y] or [x0, x1, y0, y1]; negative crops.
        flip_filter: False convolves, True correlates.
        gain: factor on the result.
    Returns: [N, C, H', W'], H' = (H*up + y0 + y1 - kh) // down + 1; dtype and layout of x; twice
        differentiable in x.
    Raises: ValueError if the filter does not fit in the padded image or an argument has a wrong
        shape.
    Source: Karras et al. 2020 (arXiv:1912.04958), appendix B. The adjoint is the same op with up
        and down swapped.
    """
    up, down, padding = check_arguments(x, f, up, down, padding)
    run = native_kernel(OP, f, x) or upfirdn2d_ref
    return run(x, f, up, down, padding, bool(flip_filter), as_float(gain, f"{OP}: gain"))


def check_arguments(
    x: torch.Tensor,
    f: torch.Tensor | None,
    up: int | Sequence[int],
    down: int | Sequence[int],
    padding: Padding,
    op: str = "upfirdn2d",
) -> tuple[Pair, Pair, Padding4]:
    """up, down, padding as tuples; raises ValueError as `upfirdn2d` does, in the name of `op`."""
    if x.ndim != 4 or x.dtype not in DTYPES:
        raise ValueError(
            f"{op}: x must be floating [N, C, H, W] of 16, 32 or 64 bits, got {x.dtype} "
            f"{list(x.shape)}"
        )
    if f is not None and (f.ndim not in (1, 2) or f.numel() == 0):
        raise ValueError(f"{op}: f must be [k] or [kh, kw], got shape {list(f.shape)}")
    up, down, padding = pair(up, "up", op), pair(down, "down", op), pad4(padding, op)
    x0, x1, y0, y1 = padding
    kw, kh = filter_size(f)
    w, h = x.shape[3] * up[0] + x0 + x1, x.shape[2] * up[1] + y0 + y1
    if w < kw or h < kh:
        raise ValueError(
            f"{op}: the filter of {kw}x{kh} does not fit in the padded image of {w}x{h}"
        )
    return up, down, padding


def native_kernel(
    op: str, f: torch.Tensor | None, *tensors: torch.Tensor | None
) -> Callable[..., Any] | None:
    """`dispatch.kernel`, but the reference if a gradient of the filter is asked for, which kernels
    do not have. The first of the tensors is x."""
    x, *others = tensors
    assert x is not None
    found = dispatch.kernel(op, x, *others, f)
    return None if f is not None and f.requires_grad and torch.is_grad_enabled() else found


def upfirdn2d_ref(
    x: torch.Tensor,
    f: torch.Tensor | None,
    up: int | Sequence[int] = 1,
    down: int | Sequence[int] = 1,
    padding: Padding = 0,
    flip_filter: bool = False,
    gain: float = 1.0,
) -> torch.Tensor:
    """The definition of `upfirdn2d` in plain PyTorch: one depthwise convolution per 1-D or 2-D
    filter."""
    (ux, uy), (dx, dy) = pair(up, "up"), pair(down, "down")
    x0, x1, y0, y1 = pad4(padding)
    f = x.new_ones(1) if f is None else f.to(x.dtype)
    if f.ndim == 1:
        x = _fir_ref(x, f[None, :], (ux, 1), (dx, 1), (x0, x1, 0, 0), flip_filter)
        x = _fir_ref(x, f[:, None], (1, uy), (1, dy), (0, 0, y0, y1), flip_filter)
    else:
        x = _fir_ref(x, f, (ux, uy), (dx, dy), (x0, x1, y0, y1), flip_filter)
    return x if gain == 1 else x * gain


def _fir_ref(
    x: torch.Tensor, f: torch.Tensor, up: Pair, down: Pair, padding: Padding4, flip_filter: bool
) -> torch.Tensor:
    """One 2-D filter. With up > 1 zero insertion and filter are one transposed convolution, which
    never multiplies by the inserted zeros (70 times faster than inserting them, on a CPU)."""
    (ux, uy), (dx, dy), (x0, x1, y0, y1) = up, down, padding
    kh, kw = f.shape
    channels = x.shape[1]
    if ux == uy == 1:
        f = f if flip_filter else f.flip([0, 1])
        return F.conv2d(_pad(x, padding), _depthwise(f, channels), stride=(dy, dx), groups=channels)
    f = f.flip([0, 1]) if flip_filter else f
    x = F.conv_transpose2d(x, _depthwise(f, channels), stride=(uy, ux), groups=channels)
    # That is the full convolution, k-1 samples wider on each side than the valid one, less the up-1
    # zeros after the last sample.
    full = (x0 - (kw - 1), x1 - (kw - 1) + (ux - 1), y0 - (kh - 1), y1 - (kh - 1) + (uy - 1))
    y = _pad(x, full)
    return y if dx == dy == 1 else y[:, :, ::dy, ::dx].clone(memory_format=memory_format(x))


def _depthwise(f: torch.Tensor, channels: int) -> torch.Tensor:
    return f.expand(channels, 1, *f.shape).contiguous()


def _pad(x: torch.Tensor, padding: Sequence[int]) -> torch.Tensor:
    """Zeros added first, then what is negative cropped, which may be more than x has."""
    for part in ([max(p, 0) for p in padding], [min(p, 0) for p in padding]):
        x = F.pad(x, part) if any(part) else x
    return x


# The native op takes the position of the first sample and the size of the result in place of the
# padding on both sides. Along an axis y[o] = sum_k g[k] x[(o * down + k - origin) / up], hence
# dx[i] = sum_k g[k] dy[(i * up - k + origin) / down]: the same with up and down exchanged, the
# filter flipped and origin' = taps - 1 - origin. It is linear, so any order of derivative works.


def upfirdn2d_native(
    x: torch.Tensor,
    f: torch.Tensor | None,
    up: Pair,
    down: Pair,
    padding: Padding4,
    flip_filter: bool,
    gain: float,
) -> torch.Tensor:
    """`upfirdn2d` by the kernels in csrc."""
    x0, _, y0, _ = padding
    return _op(x, f, up, down, (x0, y0), out_size(x, f, up, down, padding), flip_filter, gain)


def fir(x: torch.Tensor, f: torch.Tensor | None, how: Fir) -> torch.Tensor:
    """The native op."""
    return _op(x, f, how.up, how.down, how.origin, how.size, how.flip, how.gain)


def out_size(
    x: torch.Tensor, f: torch.Tensor | None, up: Pair, down: Pair, padding: Padding4
) -> list[int]:
    """[H', W'] of `upfirdn2d`."""
    (ux, uy), (dx, dy), (x0, x1, y0, y1), (kw, kh) = up, down, padding, filter_size(f)
    h, w = x.shape[2:]
    return [(h * uy + y0 + y1 - kh) // dy + 1, (w * ux + x0 + x1 - kw) // dx + 1]


def _fake(x: Any, f: Any, up: Any, down: Any, origin: Any, size: Any, flip: Any, gain: Any) -> Any:
    shape = [*x.shape[:2], *size]
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=memory_format(x))


def _setup(ctx: Any, inputs: Any, output: Any) -> None:
    x, f, up, down, origin, size, flip, gain = inputs
    ctx.how, ctx.in_size = Fir(up, down, origin, size, flip, gain), x.shape[2:]
    ctx.save_for_backward(f)


def _backward(ctx: Any, dy: torch.Tensor | None) -> tuple[Any, ...]:
    (f,) = ctx.saved_tensors
    dx = None if dy is None else fir(dy, f, ctx.how.adjoint(f, ctx.in_size))
    return (dx, *(None,) * 7)


_op = differentiable(
    OP,
    "(Tensor x, Tensor? f, int[] up, int[] down, SymInt[] origin, SymInt[] size, bool flip,"
    " float gain) -> Tensor",
    _fake,
    _setup,
    _backward,
)

for _device in ("cpu", "cuda"):
    dispatch.register(OP, _device, upfirdn2d_native, in_extension=True)
