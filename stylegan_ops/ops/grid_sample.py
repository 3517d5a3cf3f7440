# SPDX-License-Identifier: Apache-2.0
"""Bilinear sampling that can be differentiated twice with respect to the image."""

import torch
import torch.nn.functional as F

from stylegan_ops.ops.upfirdn2d import memory_format
from stylegan_ops.runtime import dispatch

OP = dispatch.declare("grid_sample")
_MODE = dict(mode="bilinear", padding_mode="zeros", align_corners=False)


def grid_sample(x, grid):
    """y[n,c,i,j] = x[n,c] at grid[n,i,j], bilinear, zero outside the image.

    Args:
        x: [N, C, H, W], any floating dtype; contiguous or channels_last.
        grid: [N, H', W', 2], (x, y) in [-1, 1] from the outer edge of the first pixel to that of
            the last (align_corners=False). Where it requires a gradient, PyTorch's own op serves,
            which is differentiable once.
    Returns: [N, C, H', W']; dtype and layout of x; differentiable in x any number of times.
        Half precision is sampled in float32: 8 or 11 bits cannot tell the pixels of a row apart.
    Raises: ValueError if the shapes do not fit.
    Source: Jaderberg et al. 2015 (arXiv:1506.02025), equation 5. It is linear in x, so the adjoint
        of its adjoint is the op itself.
    """
    if x.ndim != 4 or grid.ndim != 4 or grid.shape[3] != 2 or grid.shape[0] != x.shape[0]:
        raise ValueError(
            f"grid_sample: grid must be [N, H', W', 2] for x [N, C, H, W]; got {list(grid.shape)} "
            f"and x {list(x.shape)}"
        )
    kernel = dispatch.kernel(OP, x, grid)
    if kernel is not None:
        return kernel(x, grid)
    wide = torch.float32 if x.dtype in (torch.float16, torch.bfloat16) else x.dtype
    if dispatch.transformed(x, grid):
        return grid_sample_ref(x.to(wide), grid.to(wide)).to(x.dtype)
    sample = grid_sample_ref if grid.requires_grad else _GridSample.apply
    y = sample(x.to(wide), grid.to(wide))
    return y.to(dtype=x.dtype, memory_format=memory_format(x))


def grid_sample_ref(x, grid):
    """The definition of `grid_sample`: PyTorch's own, without a second derivative before 2.13."""
    return F.grid_sample(x, grid, **_MODE)


class _GridSample(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, grid):
        ctx.save_for_backward(grid)
        ctx.shape = x.shape
        return grid_sample_ref(x, grid)

    @staticmethod
    def backward(ctx, dy):
        (grid,) = ctx.saved_tensors
        return _GridSampleAdjoint.apply(dy, grid, ctx.shape), None


class _GridSampleAdjoint(torch.autograd.Function):
    """dx from dy."""

    @staticmethod
    def forward(ctx, dy, grid, shape):
        ctx.save_for_backward(grid)
        x = dy.new_empty(1).expand(shape)  # its values do not matter: the op is linear in x
        modes = 0, 0, False  # bilinear, zeros, align_corners
        return torch.ops.aten.grid_sampler_2d_backward(dy, x, grid, *modes, [True, False])[0]

    @staticmethod
    def backward(ctx, ddx):
        (grid,) = ctx.saved_tensors
        return _GridSample.apply(ddx, grid), None, None
