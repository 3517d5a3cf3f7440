# SPDX-License-Identifier: Apache-2.0
"""Bilinear sampling that can be differentiated twice with respect to the image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F

from stylegan_ops.runtime import dispatch
from stylegan_ops.runtime.autocast import exact_backward, without_autocast
from stylegan_ops.runtime.images import memory_format

OP = dispatch.declare("grid_sample")
HAS_SECOND_DERIVATIVE = torch.__version__ >= (2, 13)  # type: ignore[operator]  # F.grid_sample


@without_autocast()
def grid_sample(x: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
    """y[n,c,i,j] = x[n,c] at grid[n,i,j], bilinear, zero outside the image.

    Args:
        x: [N, C, H, W], any floating dtype; contiguous or channels_last.
        grid: [N, H', W', 2], (x, y) in [-1, 1] from the outer edge of the first pixel to that of
            the last (align_corners=False). Twice differentiable from PyTorch 2.13 on, once before:
            then a second derivative raises RuntimeError in words.
    Returns: [N, C, H', W']; dtype and layout of x; differentiable in x any number of times. The
        backend "reference" runs `grid_sample_ref`, twice differentiable. Before PyTorch 2.13 it
        takes only the values and the first derivative of that.
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
    plain = dispatch.mode() == "reference" or grid.requires_grad
    sample = grid_sample_ref if HAS_SECOND_DERIVATIVE and plain else _GridSample.apply
    y = sample(x.to(wide), grid.to(wide))
    return y.to(dtype=x.dtype, memory_format=memory_format(x))


def grid_sample_ref(x: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
    """The definition of `grid_sample` in plain PyTorch, which has a second derivative from 2.13."""
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def sample_linear(x: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
    """`grid_sample_ref`, differentiable in x any number of times by every version of PyTorch."""
    if HAS_SECOND_DERIVATIVE or dispatch.transformed(x, grid):
        return grid_sample_ref(x, grid)
    return _GridSample.apply(x, grid)


class _GridSample(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x if ctx.needs_input_grad[1] else None, grid)
        ctx.shape = x.shape
        return grid_sample_ref(x, grid)

    @staticmethod
    @exact_backward
    def backward(ctx: Any, dy: torch.Tensor) -> tuple[Any, ...]:
        x, grid = ctx.saved_tensors
        dx = dgrid = None
        if ctx.needs_input_grad[0]:
            dx = _GridSampleAdjoint.apply(dy, grid, ctx.shape)
        if ctx.needs_input_grad[1]:
            dgrid = _GridGradient.apply(dy, x, grid)
        return dx, dgrid


class _GridSampleAdjoint(torch.autograd.Function):
    """dx from dy."""

    @staticmethod
    def forward(
        ctx: Any, dy: torch.Tensor, grid: torch.Tensor, shape: Sequence[int]
    ) -> torch.Tensor:
        ctx.save_for_backward(grid)
        x = dy.new_empty(1).expand(shape)  # its values do not matter: the op is linear in x
        return _gradient(dy, x, grid, [True, False])[0]

    @staticmethod
    @exact_backward
    def backward(ctx: Any, ddx: torch.Tensor) -> tuple[Any, ...]:
        if ctx.needs_input_grad[1]:
            raise _no_second_derivative()
        (grid,) = ctx.saved_tensors
        return _GridSample.apply(ddx, grid), None, None


class _GridGradient(torch.autograd.Function):
    """The gradient w.r.t. the grid, which cannot be differentiated again."""

    @staticmethod
    def forward(ctx: Any, dy: torch.Tensor, x: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
        return _gradient(dy, x, grid, [False, True])[1]

    @staticmethod
    def backward(ctx: Any, *_: Any) -> tuple[Any, ...]:
        raise _no_second_derivative()


def _gradient(dy: torch.Tensor, x: torch.Tensor, grid: torch.Tensor, wanted: list[bool]) -> Any:
    modes = 0, 0, False  # bilinear, zeros, align_corners
    return torch.ops.aten.grid_sampler_2d_backward(dy, x, grid, *modes, wanted)


def _no_second_derivative() -> RuntimeError:
    return RuntimeError(
        f"{OP}: PyTorch {torch.__version__} has no second derivative w.r.t. the grid; "
        "PyTorch 2.13 has it, or detach the grid"
    )
