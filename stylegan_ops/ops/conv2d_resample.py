# SPDX-License-Identifier: Apache-2.0
"""Convolution together with up- or down-sampling, in the order that costs least."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from stylegan_ops.layer.convolution import conv2d, conv_transpose2d
from stylegan_ops.ops.upfirdn2d import upfirdn2d, upfirdn2d_ref
from stylegan_ops.runtime import dispatch
from stylegan_ops.runtime.autocast import without_autocast
from stylegan_ops.runtime.images import Filter, Padding, Padding4, Pair, pad4, total_padding
from stylegan_ops.runtime.numbers import as_int

OP = dispatch.declare("conv2d_resample", parts=("upfirdn2d", "winograd", "weight_grad"))


@without_autocast("x", "weight")
def conv2d_resample(
    x: torch.Tensor,
    weight: torch.Tensor,
    f: Filter = None,
    up: int = 1,
    down: int = 1,
    padding: Padding = 0,
    groups: int = 1,
    flip_weight: bool = True,
    flip_filter: bool = False,
) -> torch.Tensor:
    """y = keep_every(down, f * (weight * (f * pad(zero_insert(x, up)) * up^2))).

    Args:
        x: [N, C, H, W], any floating dtype; contiguous or channels_last.
        weight: [O, C // groups, kh, kw], dtype of x.
        f: resampling filter from `setup_filter`, on the device of x; None is a single tap of 1.
        up, down: integer factors.
        padding: relative to the upsampled image, before the filter's own is added; int, [x, y] or
            [x0, x1, y0, y1].
        groups: as in F.conv2d.
        flip_weight: True correlates with weight, as F.conv2d does; False convolves.
        flip_filter: False convolves with f; True correlates.
    Returns: [N, O, H', W'], H' = (H*up + y0 + y1 - kh + 1) // down for a filter of even size; dtype
        and layout of x; twice differentiable in x and weight.
    Raises: ValueError if the shapes do not fit.
    Source: Karras et al. 2020 (arXiv:1912.04958), section 4.
    """
    groups = as_int(groups, f"{OP}: groups")
    if x.ndim != 4 or weight.ndim != 4 or x.shape[1] != weight.shape[1] * groups:
        raise ValueError(
            f"{OP}: weight must be [O, C / groups, kh, kw] for x [N, C, H, W]; got "
            f"{list(weight.shape)}, groups {groups} and x {list(x.shape)}"
        )
    if weight.dtype != x.dtype:
        raise ValueError(f"{OP}: x is {x.dtype} but weight is {weight.dtype}")
    up, down = check_factors(OP, up, down)
    padding = pad4(padding, OP)
    run = conv2d_resample_ref if dispatch.mode() == "reference" else _cheapest
    if dispatch.mode() == "native":
        dispatch.kernel(OP, x)  # raises RuntimeError if none is loaded
    return run(x, weight, f, up, down, padding, groups, flip_weight, flip_filter)


def check_factors(op: str, up: int, down: int) -> Pair:
    """up and down as ints. Raises ValueError, in the name of `op`, unless both are >= 1."""
    try:
        factors = as_int(up, "up"), as_int(down, "down")
    except ValueError:
        factors = 0, 0
    if min(factors) < 1:
        raise ValueError(f"{op}: up and down must be integers >= 1, got {up}, {down}")
    return factors


def conv2d_resample_ref(
    x: torch.Tensor,
    weight: torch.Tensor,
    f: Filter = None,
    up: int = 1,
    down: int = 1,
    padding: Padding = 0,
    groups: int = 1,
    flip_weight: bool = True,
    flip_filter: bool = False,
) -> torch.Tensor:
    """The definition of `conv2d_resample` in plain PyTorch: upsample, convolve, downsample."""
    padding = total_padding(padding, f, up, down)
    x = upfirdn2d_ref(x, f if up > 1 else None, up, 1, padding, flip_filter, up**2)
    x = F.conv2d(x, weight if flip_weight else weight.flip([2, 3]), groups=groups)
    return upfirdn2d_ref(x, f, 1, down, 0, flip_filter) if down > 1 else x


def _cheapest(
    x: torch.Tensor,
    weight: torch.Tensor,
    f: Filter,
    up: int,
    down: int,
    padding: Padding,
    groups: int,
    flip_weight: bool,
    flip_filter: bool,
) -> torch.Tensor:
    """The same result without multiplying by inserted zeros or computing samples to be dropped."""
    pointwise = weight.shape[2] == weight.shape[3] == 1
    if up > 1 and down == 1 and not pointwise:
        x, padding = up_convolution(x, weight, f, up, padding, groups, flip_weight)
        return upfirdn2d(x, f, 1, 1, padding, flip_filter, up**2)
    padding = total_padding(padding, f, up, down)
    if not flip_weight:  # F.conv2d correlates
        weight = weight.flip([2, 3])
    if up > 1 and down > 1:
        x = upfirdn2d(x, f, up, 1, padding, flip_filter, up**2)
        return upfirdn2d(F.conv2d(x, weight, groups=groups), f, 1, down, 0, flip_filter)
    if up == 1 and down == 1:
        return _conv2d(x, weight, padding, groups)
    if up > 1:
        return upfirdn2d(conv2d(x, weight, groups=groups), f, up, 1, padding, flip_filter, up**2)
    if pointwise:  # a 1x1 convolution commutes with the filter: filter, and keep, the fewer samples
        return conv2d(upfirdn2d(x, f, 1, down, padding, flip_filter), weight, groups=groups)
    x = upfirdn2d(x, f, 1, 1, padding, flip_filter)
    return conv2d(x, weight, stride=down, groups=groups)


def up_convolution(
    x: torch.Tensor,
    weight: torch.Tensor,
    f: Filter,
    up: int,
    padding: Padding = 0,
    groups: int = 1,
    flip_weight: bool = True,
) -> tuple[torch.Tensor, Padding4]:
    """The first half of an up-sampling convolution, F.conv_transpose2d, and the padding of its
    second half, `upfirdn2d(y, f, padding=padding, gain=up**2)`; arguments as `conv2d_resample`."""
    y = _conv_transpose2d(x, weight.flip([2, 3]) if flip_weight else weight, up, groups)
    kh, kw = weight.shape[2:]
    return y, up_filter_padding(padding, f, up, (kh, kw))


def up_filter_padding(padding: Padding, f: Filter, up: int, kernel: Pair) -> Padding4:
    """The padding of the filter after the transposed convolution by a kernel (kh, kw)."""
    x0, x1, y0, y1 = total_padding(padding, f, up, 1)
    kh, kw = kernel
    # As in upfirdn2d: the full convolution, less the up-1 zeros after the last sample.
    return (x0 - kw + 1, x1 - kw + up, y0 - kh + 1, y1 - kh + up)


def _conv2d(x: torch.Tensor, weight: torch.Tensor, padding: Padding4, groups: int) -> torch.Tensor:
    x0, x1, y0, y1 = padding
    if x0 == x1 >= 0 and y0 == y1 >= 0:
        return conv2d(x, weight, padding=(y0, x0), groups=groups)
    return conv2d(F.pad(x, padding), weight, groups=groups)


def _conv_transpose2d(
    x: torch.Tensor, weight: torch.Tensor, stride: int, groups: int
) -> torch.Tensor:
    """F.conv_transpose2d with the weight laid out as for F.conv2d."""
    out, per_group, kh, kw = weight.shape
    weight = weight.reshape(groups, out // groups, per_group, kh, kw).transpose(1, 2)
    weight = weight.reshape(groups * per_group, out // groups, kh, kw)
    return conv_transpose2d(x, weight, stride=stride, groups=groups)
