# SPDX-License-Identifier: Apache-2.0
"""An affine transform of images without aliasing, in one op."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F

from stylegan_ops.ops.grid_sample import sample_linear
from stylegan_ops.ops.upfirdn2d import upfirdn2d_ref
from stylegan_ops.runtime import dispatch
from stylegan_ops.runtime.autocast import without_autocast
from stylegan_ops.runtime.images import DTYPES, memory_format
from stylegan_ops.runtime.registration import differentiable

OP = dispatch.declare("warp_affine")
MAX_TAPS = 64  # of the kernels


@without_autocast()
def warp_affine(x: torch.Tensor, matrix: torch.Tensor, f: torch.Tensor) -> torch.Tensor:
    """y = downsample(bilinear(upsample(reflect(x), f), matrix), f): x moved by an affine map.

    The image is continued by reflection for one width on every side, and zero beyond.

    Args:
        x: [N, C, H, W], any floating dtype; contiguous or channels_last.
        matrix: [N, 3, 3], maps pixels of y to those of x. Coordinates (x, y, 1) are in px from the
            center of the image; the last row is (0, 0, 1). Not differentiable.
        f: [k] low-pass filter of sum 1, with k divisible by 4; float32, on the device of x. Not
            differentiable.
    Returns: [N, C, H, W]; dtype and layout of x; differentiable in x any number of times.
    Raises: ValueError if the shapes do not fit or matrix requires a gradient.
    Source: Karras et al. 2020 (arXiv:2006.06676), appendix B.
    """
    check_arguments(x, matrix, f)
    kernel = dispatch.kernel(OP, x, matrix, f) if len(f) <= MAX_TAPS else None
    return (kernel or warp_affine_ref)(x, matrix, f)


def check_arguments(x: torch.Tensor, matrix: torch.Tensor, f: torch.Tensor) -> None:
    """Raises: ValueError as `warp_affine` does."""
    if x.ndim != 4 or x.dtype not in DTYPES:
        raise ValueError(
            f"{OP}: x must be floating [N, C, H, W] of 16, 32 or 64 bits, got {x.dtype} "
            f"{list(x.shape)}"
        )
    if matrix.shape != (x.shape[0], 3, 3):
        raise ValueError(
            f"{OP}: matrix must be [{x.shape[0]}, 3, 3] for x {list(x.shape)}, got "
            f"{list(matrix.shape)}"
        )
    if f.ndim != 1 or not len(f) or len(f) % 4:
        raise ValueError(f"{OP}: f must be [k] with k divisible by 4, got {list(f.shape)}")
    if matrix.requires_grad or f.requires_grad:
        raise ValueError(f"{OP}: only x is differentiable; detach matrix and f")


def warp_affine_ref(x: torch.Tensor, matrix: torch.Tensor, f: torch.Tensor) -> torch.Tensor:
    """The definition of `warp_affine` in plain PyTorch, by four simpler ops."""
    dtype = x.dtype
    # vmap cannot tell the layout.
    layout = torch.preserve_format if dispatch.transformed(x) else memory_format(x)
    wide = torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype
    height, width = x.shape[2:]
    if not x.numel():
        return x.clone()
    pad = len(f) // 4
    linear, shift = matrix[:, :2, :2].to(wide), matrix[:, :2, 2].to(wide)
    x0, x1, y0, y1 = _margins(linear, shift, height, width, pad)
    y = F.pad(x.to(wide), [x0, x1, y0, y1], mode="reflect")
    around = 2 * pad, 2 * pad - 1
    y = upfirdn2d_ref(y, f, up=2, padding=[*around, *around], gain=4.0)
    size = [2 * (height + 2 * pad), 2 * (width + 2 * pad)]
    # In px of the fine grid, from the center of the padded image. The filter has an even number of
    # taps, so that pixels of the fine grid lie half a pixel aside.
    sx, sy = shift.unbind(dim=1)
    aside = linear.sum(dim=2) / 2 - 0.5
    shift = 2 * torch.stack([sx + (x0 - x1) / 2, sy + (y0 - y1) / 2], dim=1) + aside
    # In halves of both images, as affine_grid takes it.
    halves = y.shape[3] / 2, y.shape[2] / 2
    rows = [
        torch.stack(
            [linear[:, i, 0] * size[1] / 2, linear[:, i, 1] * size[0] / 2, shift[:, i]], dim=1
        )
        / halves[i]
        for i in range(2)
    ]
    theta = torch.stack(rows, dim=1)
    y = sample_linear(y, F.affine_grid(theta, [len(x), 1, *size], align_corners=False))
    y = upfirdn2d_ref(y, f, down=2, padding=-1, flip_filter=True)
    return y.to(dtype=dtype, memory_format=layout)


def _margins(
    linear: torch.Tensor, shift: torch.Tensor, height: int, width: int, pad: int
) -> tuple[int, int, int, int]:
    """Pixels to add left, right, above and below. More do not change the result. Devices that would
    have to be waited for get as many as can be reflected."""
    if linear.device.type != "cpu" or torch.compiler.is_compiling():
        return width - 1, width - 1, height - 1, height - 1
    half = linear.new_tensor([(width - 1) / 2 + pad, (height - 1) / 2 + pad])
    image = linear.new_tensor([(width - 1) / 2, (height - 1) / 2])
    # How far y reaches with the filter around it, and the filter of x beyond that.
    beyond = linear.abs() @ (half + 1) + pad + 1 - image
    beyond = torch.stack([beyond - shift, beyond + shift]).amax(dim=1)  # [2, 2]
    limit = torch.tensor([width - 1, height - 1], dtype=beyond.dtype)
    beyond = torch.nan_to_num(beyond, nan=math.inf).ceil().clamp(min=0).minimum(limit)
    (x0, y0), (x1, y1) = beyond.int().tolist()
    return x0, x1, y0, y1


# It is linear in x: the gradient w.r.t. x is the adjoint, whose gradient is the op itself.


def warp_affine_native(x: torch.Tensor, matrix: torch.Tensor, f: torch.Tensor) -> torch.Tensor:
    """`warp_affine` by the kernels in csrc."""
    return _op(x, matrix, f, False)


def _fake(x: Any, matrix: Any, f: Any, adjoint: Any) -> Any:
    return torch.empty_like(x, memory_format=memory_format(x))


def _setup(ctx: Any, inputs: Any, output: Any) -> None:
    _, matrix, f, ctx.adjoint = inputs
    ctx.save_for_backward(matrix, f)


def _backward(ctx: Any, dy: torch.Tensor | None) -> tuple[Any, ...]:
    dx = None if dy is None else _op(dy, *ctx.saved_tensors, not ctx.adjoint)
    return dx, None, None, None


_op = differentiable(
    OP,
    "(Tensor x, Tensor matrix, Tensor f, bool adjoint) -> Tensor",
    _fake,
    _setup,
    _backward,
)

for _device in ("cpu", "cuda"):
    dispatch.register(OP, _device, warp_affine_native, in_extension=True)
