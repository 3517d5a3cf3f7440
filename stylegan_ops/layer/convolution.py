# SPDX-License-Identifier: Apache-2.0
"""Convolutions whose second derivatives are convolutions of the usual shape.

PyTorch computes the gradient of a convolution's gradient w.r.t. its weights as a convolution with
images for weights, which cuDNN and oneDNN are not made for: R1 and path length then take two to
three times as long. Here the three ways to combine input, weight and output gradient (`_Conv`,
`_ConvTranspose`, `_WeightGrad`) are each other's derivatives, and each is a forward, input gradient
or weight gradient of PyTorch or of our own kernels.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch.nn.grad import conv2d_weight

from stylegan_ops.layer import winograd
from stylegan_ops.layer.weight_grad import supports, weight_grad
from stylegan_ops.runtime import dispatch
from stylegan_ops.runtime.autocast import autocasts
from stylegan_ops.runtime.images import Pair, is_channels_last, memory_format
from stylegan_ops.runtime.registration import wants_gradient

FORWARD_FORMS = {1: ("tile2", "tile4"), 2: ("down",)}  # of winograd, by stride


@dataclass(frozen=True, slots=True)
class Spec:
    """How a convolution goes over its input."""

    stride: int = 1
    padding: Pair = (0, 0)  # (y, x)
    groups: int = 1


def conv2d(
    x: torch.Tensor,
    weight: torch.Tensor,
    stride: int = 1,
    padding: Pair = (0, 0),
    groups: int = 1,
) -> torch.Tensor:
    """F.conv2d; stride and groups are numbers, padding (y, x)."""
    if _by_pytorch(x, weight):
        return F.conv2d(x, weight, stride=stride, padding=padding, groups=groups)
    spec = Spec(stride, padding, groups)
    if not wants_gradient(x, weight):
        return _convolved(x, weight, spec)
    return _Conv.apply(x, weight, spec)


def conv_transpose2d(
    x: torch.Tensor, weight: torch.Tensor, stride: int = 1, groups: int = 1
) -> torch.Tensor:
    """F.conv_transpose2d without padding; stride and groups are numbers."""
    if _by_pytorch(x, weight):
        return F.conv_transpose2d(x, weight, stride=stride, groups=groups)
    spec = Spec(stride, (0, 0), groups)
    if not wants_gradient(x, weight):
        return _transposed(x, weight, spec, (0, 0))
    size = [(n - 1) * stride + k for n, k in zip(x.shape[2:], weight.shape[2:])]
    return _ConvTranspose.apply(x, weight, spec, size)


def _by_pytorch(x: torch.Tensor, weight: torch.Tensor) -> bool:
    """Whether PyTorch's own runs, which the compiler, autocast and function transforms know."""
    if dispatch.mode() == "reference" or torch.compiler.is_compiling():
        return True
    return autocasts(x) or dispatch.transformed(x, weight)


def _exact(x: torch.Tensor) -> AbstractContextManager[Any]:
    """Autocast off for what is computed here: a derivative is in the dtypes of its function, even
    if autocast is on when it is asked for."""
    return torch.autocast(x.device.type, enabled=False) if autocasts(x) else nullcontext()


def _convolved(x: torch.Tensor, w: torch.Tensor, spec: Spec) -> torch.Tensor:
    """F.conv2d by the fastest way, without a derivative."""
    forms = FORWARD_FORMS.get(spec.stride, ())
    if forms and spec.groups == 1 and min(x.shape[2:]) >= 3 and winograd.supports(x, w):
        y = _by_tiles(x, w, forms, spec.padding)
        if y is not None:
            return y
    return F.conv2d(x, w, stride=spec.stride, padding=spec.padding, groups=spec.groups)


def _transposed(x: torch.Tensor, w: torch.Tensor, spec: Spec, extra: Sequence[int]) -> torch.Tensor:
    """F.conv_transpose2d by the fastest way, without a derivative; extra: output_padding."""
    w_conv = w.transpose(0, 1)
    if spec.groups == 1 and tuple(extra) == (0, 0) and winograd.supports(x, w_conv):
        y = None
        if spec.stride == 1 and max(spec.padding) <= 2:  # a convolution by the rotated weight
            y = _by_tiles(x, w_conv, ("tile2", "tile4"), [2 - p for p in spec.padding], True)
        elif spec.stride == 2 and tuple(spec.padding) == (0, 0):
            y = _by_tiles(x, w_conv, ("up",))
        if y is not None:
            return y
    return F.conv_transpose2d(x, w, None, spec.stride, spec.padding, extra, spec.groups)


def _by_tiles(
    x: torch.Tensor,
    w: torch.Tensor,
    forms: Sequence[str],
    padding: Sequence[int] = (0, 0),
    flip: bool = False,
) -> torch.Tensor | None:
    """The convolution in the layout of x by the best of some forms, which make y of one size; or
    None."""
    size = winograd.out_size(x.shape[2:], forms[0], padding)
    if min(size) < 1:
        return None
    channels, last = (w.shape[1], w.shape[0]), is_channels_last(x)
    form = winograd.best_form(forms, x.shape[0], channels, size, channels_last=last)
    if form is None:
        return None
    y = winograd.convolve(x, winograd.tiles(w, form, flip), padding)
    return y.contiguous(memory_format=memory_format(x))


class _Conv(torch.autograd.Function):
    """y = x * w"""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, w: torch.Tensor, spec: Spec) -> torch.Tensor:
        ctx.save_for_backward(x, w)
        ctx.spec = spec
        with _exact(x):
            return _convolved(x, w, spec)

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> tuple[Any, ...]:
        x, w = ctx.saved_tensors
        dx = dw = None
        if ctx.needs_input_grad[0]:
            dx = _ConvTranspose.apply(dy, w, ctx.spec, x.shape[2:])
        if ctx.needs_input_grad[1]:
            dw = _WeightGrad.apply(x, dy, ctx.spec, w.shape)
        return dx, dw, None


class _ConvTranspose(torch.autograd.Function):
    """The adjoint of `_Conv` in its input; size: (H, W) of the result."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, w: torch.Tensor, spec: Spec, size: Sequence[int]
    ) -> torch.Tensor:
        ctx.save_for_backward(x, w)
        ctx.spec = spec
        smallest = [
            (n - 1) * spec.stride + k - 2 * p
            for n, k, p in zip(x.shape[2:], w.shape[2:], spec.padding)
        ]
        extra = [s - least for s, least in zip(size, smallest)]
        with _exact(x):
            return _transposed(x, w, spec, extra)

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> tuple[Any, ...]:
        x, w = ctx.saved_tensors
        dx = dw = None
        if ctx.needs_input_grad[0]:
            dx = _Conv.apply(dy, w, ctx.spec)
        if ctx.needs_input_grad[1]:
            dw = _WeightGrad.apply(dy, x, ctx.spec, w.shape)
        return dx, dw, None, None


class _WeightGrad(torch.autograd.Function):
    """The gradient of `_Conv` w.r.t. its weight, for input x and output gradient dy."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, dy: torch.Tensor, spec: Spec, shape: Sequence[int]
    ) -> torch.Tensor:
        ctx.save_for_backward(x, dy)
        ctx.spec = spec
        if spec.groups == 1 and (dw := _weight_grad_by_tiles(x, dy, spec, shape)) is not None:
            return dw
        if spec.groups == 1 and supports(x, dy):
            last = torch.channels_last
            x, dy = x.contiguous(memory_format=last), dy.contiguous(memory_format=last)
            return weight_grad(x, dy, shape[2:], spec.stride, spec.padding)
        with _exact(x):
            return conv2d_weight(x, shape, dy, spec.stride, spec.padding, groups=spec.groups)

    @staticmethod
    def backward(ctx: Any, ddw: torch.Tensor) -> tuple[Any, ...]:
        x, dy = ctx.saved_tensors
        dx = d_dy = None
        if ctx.needs_input_grad[0]:
            dx = _ConvTranspose.apply(dy, ddw, ctx.spec, x.shape[2:])
        if ctx.needs_input_grad[1]:
            d_dy = _Conv.apply(x, ddw, ctx.spec)
        return dx, d_dy, None, None


def _weight_grad_by_tiles(
    x: torch.Tensor, dy: torch.Tensor, spec: Spec, shape: Sequence[int]
) -> torch.Tensor | None:
    """The gradient by minimal filtering, or None if that cannot compute it or is slower."""
    forms = FORWARD_FORMS.get(spec.stride, ())
    if not forms or not winograd.supports(x, dy.new_empty(1).expand(shape)):
        return None
    if any(n + 2 * p < 3 for n, p in zip(x.shape[2:], spec.padding)):
        return None
    if winograd.out_size(x.shape[2:], forms[0], spec.padding) != list(dy.shape[2:]):
        return None
    small = min(shape[:2]) < winograd.MIN_CONTIGUOUS
    if small and not (is_channels_last(x) and is_channels_last(dy)):
        return None
    form = winograd.best_grad_form(forms, x.shape[0], (shape[1], shape[0]), dy.shape[2:])
    return winograd.weight_grad(x, dy, form, spec.padding) if form else None
