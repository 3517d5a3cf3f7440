# SPDX-License-Identifier: Apache-2.0
"""Convolutions whose second derivatives are convolutions of the usual shape.

PyTorch computes the gradient of a convolution's gradient by its weights as a convolution with
images for weights, which libraries are not made for: R1 and path length then take two to three
times as long. Here the three ways to combine input, weight and output gradient (`_Conv`,
`_ConvTranspose`, `_WeightGrad`) are each other's derivatives, and each is the library's own kernel.
"""

from contextlib import nullcontext

import torch
import torch.nn.functional as F

from stylegan_ops.layer import winograd
from stylegan_ops.layer.weight_grad import supports, weight_grad
from stylegan_ops.ops.upfirdn2d import memory_format
from stylegan_ops.runtime import dispatch
from stylegan_ops.runtime.registration import autocasts, wants_gradient


def conv2d(x, weight, stride=1, padding=(0, 0), groups=1):
    """F.conv2d; stride and groups are numbers, padding (y, x)."""
    if _plain(x, weight):
        return F.conv2d(x, weight, stride=stride, padding=padding, groups=groups)
    if not wants_gradient(x, weight):
        return _convolved(x, weight, stride, padding, groups)
    return _Conv.apply(x, weight, stride, padding, groups)


def conv_transpose2d(x, weight, stride=1, groups=1):
    """F.conv_transpose2d without padding; stride and groups are numbers."""
    if _plain(x, weight):
        return F.conv_transpose2d(x, weight, stride=stride, groups=groups)
    if not wants_gradient(x, weight):
        return _transposed(x, weight, stride, (0, 0), groups, (0, 0))
    size = [(n - 1) * stride + k for n, k in zip(x.shape[2:], weight.shape[2:])]
    return _ConvTranspose.apply(x, weight, stride, (0, 0), groups, size)


def _plain(x, weight):
    """Whether it is PyTorch's own, which the compiler, autocast and function transforms know."""
    if dispatch.mode() == "reference" or torch.compiler.is_compiling():
        return True
    return autocasts(x) or dispatch.transformed(x, weight)


def _exact(x):
    """Autocast off for what is computed here: a derivative is in the dtypes of its function, even
    where autocast is on when it is asked for."""
    return torch.autocast(x.device.type, enabled=False) if autocasts(x) else nullcontext()


def _convolved(x, w, stride, padding, groups):
    """F.conv2d by the fastest way, without a derivative."""
    forms = {1: ("tile2", "tile4"), 2: ("down",)}.get(stride, ())
    if forms and groups == 1 and min(x.shape[2:]) >= 3 and winograd.fits(x, w):
        y = _by_tiles(x, w, forms, padding)
        if y is not None:
            return y
    return F.conv2d(x, w, stride=stride, padding=padding, groups=groups)


def _transposed(x, w, stride, padding, groups, extra):
    """F.conv_transpose2d by the fastest way, without a derivative; extra: output_padding."""
    w_conv = w.transpose(0, 1)
    if groups == 1 and tuple(extra) == (0, 0) and winograd.fits(x, w_conv):
        y = None
        if stride == 1 and max(padding) <= 2:  # that of the weight turned by half
            y = _by_tiles(x, w_conv, ("tile2", "tile4"), [2 - p for p in padding], True)
        elif stride == 2 and tuple(padding) == (0, 0):
            y = _by_tiles(x, w_conv, ("up",))
        if y is not None:
            return y
    args = {"stride": stride, "padding": padding, "groups": groups, "output_padding": extra}
    return F.conv_transpose2d(x, w, **args)


def _by_tiles(x, w, forms, padding=(0, 0), flip=False):
    """The convolution in the layout of x by the best of some forms, which make y of one size; or
    None."""
    size = winograd.out_size(x.shape[2:], forms[0], padding)
    if min(size) < 1:
        return None
    last = _is_channels_last(x)
    form = winograd.best_form(forms, x.shape[0], w.shape[1::-1], size, channels_last=last)
    if form is None:
        return None
    y = winograd.convolve(x, winograd.tiles(w, form, flip), padding)
    return y.contiguous(memory_format=memory_format(x))


class _Conv(torch.autograd.Function):
    """y = x * w"""

    @staticmethod
    def forward(ctx, x, w, stride, padding, groups):
        ctx.save_for_backward(x, w)
        ctx.args = stride, padding, groups
        with _exact(x):
            return _convolved(x, w, stride, padding, groups)

    @staticmethod
    def backward(ctx, dy):
        x, w = ctx.saved_tensors
        dx = dw = None
        if ctx.needs_input_grad[0]:
            dx = _ConvTranspose.apply(dy, w, *ctx.args, x.shape[2:])
        if ctx.needs_input_grad[1]:
            dw = _WeightGrad.apply(x, dy, *ctx.args, w.shape)
        return dx, dw, None, None, None


class _ConvTranspose(torch.autograd.Function):
    """The adjoint of `_Conv` in its input; size: (H, W) of the result."""

    @staticmethod
    def forward(ctx, x, w, stride, padding, groups, size):
        ctx.save_for_backward(x, w)
        ctx.args = stride, padding, groups
        least = [(n - 1) * stride + k - 2 * p for n, k, p in zip(x.shape[2:], w.shape[2:], padding)]
        extra = [s - least for s, least in zip(size, least)]
        with _exact(x):
            return _transposed(x, w, stride, padding, groups, extra)

    @staticmethod
    def backward(ctx, dy):
        x, w = ctx.saved_tensors
        dx = dw = None
        if ctx.needs_input_grad[0]:
            dx = _Conv.apply(dy, w, *ctx.args)
        if ctx.needs_input_grad[1]:
            dw = _WeightGrad.apply(dy, x, *ctx.args, w.shape)
        return dx, dw, None, None, None, None


class _WeightGrad(torch.autograd.Function):
    """The gradient of `_Conv` by its weight, of input x and output gradient dy."""

    @staticmethod
    def forward(ctx, x, dy, stride, padding, groups, shape):
        ctx.save_for_backward(x, dy)
        ctx.args = stride, padding, groups
        if groups == 1 and (dw := _weight_grad_by_tiles(x, dy, stride, padding, shape)) is not None:
            return dw
        if groups == 1 and supports(x, dy):
            last = {"memory_format": torch.channels_last}
            x, dy = x.contiguous(**last), dy.contiguous(**last)
            return weight_grad(x, dy, shape[2:], stride, padding)
        args = {"stride": stride, "padding": padding, "groups": groups}
        with _exact(x):
            return torch.nn.grad.conv2d_weight(x, shape, dy, **args)

    @staticmethod
    def backward(ctx, ddw):
        x, dy = ctx.saved_tensors
        dx = d_dy = None
        if ctx.needs_input_grad[0]:
            dx = _ConvTranspose.apply(dy, ddw, *ctx.args, x.shape[2:])
        if ctx.needs_input_grad[1]:
            d_dy = _Conv.apply(x, ddw, *ctx.args)
        return dx, d_dy, None, None, None, None


def _is_channels_last(x):
    return x.is_contiguous(memory_format=torch.channels_last)


def _weight_grad_by_tiles(x, dy, stride, padding, shape):
    """The gradient by minimal filtering, or None where that does not serve or is slower."""
    forms = {1: ("tile2", "tile4"), 2: ("down",)}.get(stride, ())
    if not forms or not winograd.fits(x, dy.new_empty(1).expand(shape)):
        return None
    if any(n + 2 * p < 3 for n, p in zip(x.shape[2:], padding)):
        return None
    if winograd.out_size(x.shape[2:], forms[0], padding) != list(dy.shape[2:]):
        return None
    if min(shape[:2]) < winograd.CONTIGUOUS_FROM and not all(map(_is_channels_last, (x, dy))):
        return None
    form = winograd.best_grad_form(forms, x.shape[0], (shape[1], shape[0]), dy.shape[2:])
    return form and winograd.weight_grad(x, dy, form, padding)
