# SPDX-License-Identifier: Apache-2.0
"""Up-sample, filter, down-sample: one op, and the three that are special cases of it."""

import torch
import torch.nn.functional as F

from stylegan_ops.ops.bias_act import DTYPES
from stylegan_ops.runtime import dispatch
from stylegan_ops.runtime.registration import differentiable

OP = dispatch.declare("upfirdn2d")


def setup_filter(f, normalize=True, flip_filter=False, gain=1.0, separable=None):
    """A FIR filter as the other ops take it.

    Args:
        f: taps as a list, array or tensor, [k] or [kh, kw]; None or a number is one tap.
        normalize: divide by the sum of the taps.
        flip_filter: reverse the taps.
        gain: factor on the image that the filter will scale it by, in all.
        separable: keep a 1-D filter 1-D; None does so from 8 taps on, where two passes are cheaper.
    Returns: float32 [k] (separable) or [kh, kw]; on the CPU unless f is a tensor of another device.
    Raises: ValueError if f has no taps or more than 2 dimensions, or is 2-D and separable is True.
    Source: Karras et al. 2020 (arXiv:1912.04958), appendix B.
    """
    f = torch.as_tensor(1.0 if f is None else f, dtype=torch.float32)
    if f.ndim == 0:
        f = f[None]
    if f.ndim > 2 or f.numel() == 0:
        raise ValueError(f"setup_filter: f must be [k] or [kh, kw], got shape {list(f.shape)}")
    if separable and f.ndim == 2:
        raise ValueError("setup_filter: separable=True takes a 1-D filter, got a 2-D one")
    if separable is None:
        separable = f.ndim == 1 and f.numel() >= 8
    if f.ndim == 1 and not separable:
        f = torch.outer(f, f)
    if normalize:
        f = f / f.sum()
    if flip_filter:
        f = f.flip(list(range(f.ndim)))
    return f * gain ** (f.ndim / 2)


def upfirdn2d(x, f, up=1, down=1, padding=0, flip_filter=False, gain=1.0):
    """y = keep_every(down, f * pad(zero_insert(x, up))) * gain, in one pass over memory.

    Args:
        x: [N, C, H, W], any floating dtype; contiguous or channels_last.
        f: [kh, kw], or [k] for a separable filter, from `setup_filter`; on the device of x. None is
            a single tap of 1. Where it requires a gradient, the reference serves.
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
    return run(x, f, up, down, padding, flip_filter, gain)


def check_arguments(x, f, up, down, padding):
    """up, down, padding as tuples; raises ValueError as `upfirdn2d` promises."""
    if x.ndim != 4 or x.dtype not in DTYPES:
        raise ValueError(
            f"upfirdn2d: x must be floating [N, C, H, W] of 16, 32 or 64 bits, got {x.dtype} "
            f"{list(x.shape)}"
        )
    if f is not None and (f.ndim not in (1, 2) or f.numel() == 0):
        raise ValueError(f"upfirdn2d: f must be [k] or [kh, kw], got shape {list(f.shape)}")
    up, down, padding = pair(up, "up"), pair(down, "down"), pad4(padding)
    x0, x1, y0, y1 = padding
    kw, kh = filter_size(f)
    w, h = x.shape[3] * up[0] + x0 + x1, x.shape[2] * up[1] + y0 + y1
    if w < kw or h < kh:
        raise ValueError(
            f"upfirdn2d: the filter of {kw}x{kh} does not fit in the padded image of {w}x{h}"
        )
    return up, down, padding


def native_kernel(op, f, *tensors):
    """`dispatch.kernel`, but the reference where a gradient of the filter is asked for, which
    kernels do not have."""
    found = dispatch.kernel(op, *tensors, f)
    return None if f is not None and f.requires_grad and torch.is_grad_enabled() else found


def upfirdn2d_ref(x, f, up=1, down=1, padding=0, flip_filter=False, gain=1.0):
    """The definition of `upfirdn2d` in plain PyTorch: one depthwise convolution per 1-D or 2-D
    filter."""
    (ux, uy), (dx, dy) = pair(up, "up"), pair(down, "down")
    x0, x1, y0, y1 = pad4(padding)
    f = x.new_ones(1) if f is None else f.to(x.dtype)
    if f.ndim == 1:
        x = _fir(x, f[None, :], (ux, 1), (dx, 1), (x0, x1, 0, 0), flip_filter)
        x = _fir(x, f[:, None], (1, uy), (1, dy), (0, 0, y0, y1), flip_filter)
    else:
        x = _fir(x, f, (ux, uy), (dx, dy), (x0, x1, y0, y1), flip_filter)
    return x if gain == 1 else x * gain


def _fir(x, f, up, down, padding, flip_filter):
    """One 2-D filter. With up > 1 zero insertion and filter are one transposed convolution, which
    never multiplies by the zeros that it would insert (70 times faster than inserting them, on a
    CPU)."""
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


def _depthwise(f, channels):
    return f.expand(channels, 1, *f.shape).contiguous()


def _pad(x, padding):
    """Zeros added first, then what is negative cropped, which may be more than x has."""
    for part in ([max(p, 0) for p in padding], [min(p, 0) for p in padding]):
        x = F.pad(x, part) if any(part) else x
    return x


# The native op is given where the first sample lies and how large the result is, in place of the
# padding on both sides. Along an axis y[o] = sum_k g[k] x[(o * down + k - origin) / up], hence
# dx[i] = sum_k g[k] dy[(i * up - k + origin) / down]: the same with up and down exchanged, the
# filter flipped and origin' = taps - 1 - origin. It is linear, so any order of derivative works.


def upfirdn2d_native(x, f, up, down, padding, flip_filter, gain):
    """`upfirdn2d` by the kernels in csrc; up, down and padding are tuples."""
    size = out_size(x, f, up, down, padding)
    return fir(x, f, up, down, (padding[0], padding[2]), size, flip_filter, gain)


def out_size(x, f, up, down, padding):
    """[H', W'] of `upfirdn2d`, of arguments that are pairs and fours."""
    (ux, uy), (dx, dy), (x0, x1, y0, y1), (kw, kh) = up, down, padding, filter_size(f)
    h, w = x.shape[2:]
    return [(h * uy + y0 + y1 - kh) // dy + 1, (w * ux + x0 + x1 - kw) // dx + 1]


def _fake(x, f, up, down, origin, size, flip, gain):
    shape = [*x.shape[:2], *size]
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=memory_format(x))


def _setup(ctx, inputs, output):
    x, f, *ctx.args = inputs
    ctx.size = x.shape[2:]
    ctx.save_for_backward(f)


def _backward(ctx, dy):
    (f,) = ctx.saved_tensors
    return (None if dy is None else fir_adjoint(dy, f, ctx.size, *ctx.args), *(None,) * 7)


def fir_adjoint(dy, f, in_size, up, down, origin, size, flip, gain):
    """dx of `fir(x, f, up, ...)` for x of in_size [H, W]."""
    kw, kh = filter_size(f)
    origin = [kw - 1 - origin[0], kh - 1 - origin[1]]
    return fir(dy, f, down, up, origin, in_size, not flip, gain)


fir = differentiable(
    OP,
    "(Tensor x, Tensor? f, int[] up, int[] down, SymInt[] origin, SymInt[] size, bool flip,"
    " float gain) -> Tensor",
    _fake,
    _setup,
    _backward,
)

for _device in ("cpu", "cuda"):
    dispatch.register(OP, _device, upfirdn2d_native, library=True)


def filter2d(x, f, padding=0, flip_filter=False, gain=1.0):
    """y = f * x at the size of x: `upfirdn2d` without resampling, padded by the filter's width.

    Args: as `upfirdn2d`; padding is relative to the size of x, 0 keeps it.
    Returns: [N, C, H + y0 + y1, W + x0 + x1]; dtype and layout of x.
    Raises: ValueError as `upfirdn2d`.
    """
    (kw, kh), (x0, x1, y0, y1) = filter_size(f), pad4(padding)
    padding = (x0 + kw // 2, x1 + (kw - 1) // 2, y0 + kh // 2, y1 + (kh - 1) // 2)
    return upfirdn2d(x, f, padding=padding, flip_filter=flip_filter, gain=gain)


def upsample2d(x, f, up=2, padding=0, flip_filter=False, gain=1.0):
    """y = f * zero_insert(x, up) * up_x * up_y * gain: `up` times as large, of the same brightness.

    Args: as `upfirdn2d`; padding is relative to the enlarged image, 0 gives exactly `up` times the
        size.
    Returns: [N, C, H*up + y0 + y1, W*up + x0 + x1]; dtype and layout of x.
    Raises: ValueError as `upfirdn2d`.
    """
    ux, uy = up = pair(up, "up")
    padding = up_padding(padding, filter_size(f), up)
    return upfirdn2d(x, f, up=up, padding=padding, flip_filter=flip_filter, gain=gain * ux * uy)


def downsample2d(x, f, down=2, padding=0, flip_filter=False, gain=1.0):
    """y = keep_every(down, f * x) * gain: `down` times as small.

    Args: as `upfirdn2d`; padding is relative to x, 0 gives the size of x divided by `down`.
    Returns: [N, C, (H + y0 + y1) // down, (W + x0 + x1) // down]; dtype and layout of x.
    Raises: ValueError as `upfirdn2d`.
    """
    down = pair(down, "down")
    padding = down_padding(padding, filter_size(f), down)
    return upfirdn2d(x, f, down=down, padding=padding, flip_filter=flip_filter, gain=gain)


def up_padding(padding, size, up):
    """Padding for `upfirdn2d` that keeps the centre of an image enlarged by `up`, where `padding`
    is relative to the enlarged image; size (kw, kh) is the filter's, up is (x, y)."""
    (kw, kh), (ux, uy), (x0, x1, y0, y1) = size, up, pad4(padding)
    x0, x1 = x0 + (kw + ux - 1) // 2, x1 + (kw - ux) // 2
    return x0, x1, y0 + (kh + uy - 1) // 2, y1 + (kh - uy) // 2


def down_padding(padding, size, down):
    """Padding for `upfirdn2d` that keeps the centre of an image reduced by `down` (x, y)."""
    (kw, kh), (dx, dy), (x0, x1, y0, y1) = size, down, pad4(padding)
    x0, x1 = x0 + (kw - dx + 1) // 2, x1 + (kw - dx) // 2
    return x0, x1, y0 + (kh - dy + 1) // 2, y1 + (kh - dy) // 2


def memory_format(x):
    """channels_last if x [N, C, H, W] is that and not contiguous, else contiguous."""
    last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
    return torch.channels_last if last else torch.contiguous_format


def filter_size(f):
    """(kw, kh) of a filter; (1, 1) for None."""
    return (1, 1) if f is None else (f.shape[-1], f.shape[0])


def pair(value, name):
    """`value`, an int or [x, y] of factors >= 1, as a tuple (x, y)."""
    x, y = (value, value) if isinstance(value, int) else tuple(value)
    if x < 1 or y < 1:
        raise ValueError(f"upfirdn2d: {name} must be >= 1, got {value}")
    return int(x), int(y)


def pad4(padding):
    """`padding`, an int, [x, y] or [x0, x1, y0, y1], as a tuple of four."""
    if isinstance(padding, int):
        return (padding,) * 4
    values = tuple(int(p) for p in padding)
    if len(values) == 2:
        values = (values[0], values[0], values[1], values[1])
    if len(values) != 4:
        raise ValueError(
            f"upfirdn2d: padding must be int, [x, y] or [x0, x1, y0, y1], got {padding}"
        )
    return values
