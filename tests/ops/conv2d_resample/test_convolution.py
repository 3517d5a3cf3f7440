# SPDX-License-Identifier: Apache-2.0
"""Convolutions with second derivatives of their own, against PyTorch's."""

import pytest
import torch
import torch.nn.functional as F
from support.cases import by_pairs, on
from support.checks import DTYPES, LAYOUTS, check_dtype, rand

from stylegan_ops import backend
from stylegan_ops.layer.convolution import _Conv, _ConvTranspose, conv2d, conv_transpose2d

SIZES = [(8, 7), (9, 12)]


def inputs(groups, size, kernel=(3, 2)):
    x, w = rand(2, 4, *size, grad=True), rand(6, 4 // groups, *kernel, seed=3, grad=True)
    return x, w


def derivatives(op, x, w):
    """y and all first, second and third derivatives, contracted with fixed numbers."""
    results, values = [], [op(x, w)]
    for order in range(3):
        results += values
        total = sum((v * rand(*v.shape, seed=order)).sum() for v in values) * values[0].sum().sin()
        values = torch.autograd.grad(total, (x, w), create_graph=True)
    return results + list(values)


@by_pairs(stride=[1, 2, 3], size=SIZES, padding=[(0, 0), (1, 2)], groups=[1, 2])
def test_derivatives_are_those_of_pytorch(stride, padding, groups, size):
    x, w = inputs(groups, size)
    ours = derivatives(lambda x, w: conv2d(x, w, stride, padding, groups), x, w)
    theirs = derivatives(
        lambda x, w: F.conv2d(x, w, stride=stride, padding=padding, groups=groups), x, w
    )
    torch.testing.assert_close(ours, theirs)


@by_pairs(stride=[1, 2, 3], size=SIZES, groups=[1, 2])
def test_derivatives_of_the_transposed_one(stride, groups, size):
    x, w = rand(2, 4, *size, grad=True), rand(4, 6 // groups, 3, 3, seed=3, grad=True)
    ours = derivatives(lambda x, w: conv_transpose2d(x, w, stride, groups), x, w)
    theirs = derivatives(lambda x, w: F.conv_transpose2d(x, w, stride=stride, groups=groups), x, w)
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("op", [conv2d, conv_transpose2d])
def test_gradgradcheck(op):
    x, w = rand(1, 2, 3, 4, grad=True), rand(2, 1, 3, 3, grad=True)
    w = w if op is conv_transpose2d else w.detach().transpose(0, 1).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, w: op(x, w, 2), (x, w))
    assert torch.autograd.gradgradcheck(lambda x, w: op(x, w, 2), (x, w))


@by_pairs(dtype=DTYPES, layout=LAYOUTS)
def test_dtypes_and_layouts(dtype, layout, device):
    given = {"x": rand(2, 8, 9, 9), "w": rand(6, 8, 3, 3)}
    check_dtype(
        on(device, lambda x, w: conv2d(x, w, 2, (1, 1))),
        on(device, lambda x, w: F.conv2d(x, w, stride=2, padding=1)),
        given,
        ["x", "w"],
        dtype,
        layout,
    )


def test_no_weight_is_as_large_as_an_image():
    """What makes PyTorch's second derivative slow: its kernel is the gradient's image."""
    from torch.profiler import profile

    x, w = rand(2, 3, 32, 32).float().requires_grad_(), rand(4, 3, 3, 3).float().requires_grad_()
    with profile(record_shapes=True) as p:
        (dx,) = torch.autograd.grad(conv2d(x, w, 1, (1, 1)).square().sum(), x, create_graph=True)
        torch.autograd.grad(dx.square().sum(), (x, w))
    kernels = [e.input_shapes[1][2:] for e in p.events() if e.name == "aten::convolution"]
    assert len(kernels) >= 3 and all(k == [3, 3] for k in kernels)


def nodes(y):
    """Names of the nodes of a graph."""
    found, left = set(), [y.grad_fn]
    while left:
        node = left.pop()
        if node is not None:
            found.add(node.name())
            left += [n for n, _ in node.next_functions]
    return found


def test_where_pytorch_serves():
    x, w = inputs(1, (8, 8))
    own, theirs = _Conv.__name__ + "Backward", "ConvolutionBackward0"
    assert own in nodes(conv2d(x, w))
    with backend("reference"):
        assert theirs in nodes(conv2d(x, w))
    with torch.autocast("cpu", torch.bfloat16):
        y = conv2d(x.float(), w.float())
        assert theirs in nodes(y) and y.dtype == torch.bfloat16
    with torch.no_grad():
        assert conv2d(x, w).grad_fn is None
    assert _ConvTranspose.__name__ + "Backward" in nodes(conv_transpose2d(x, w.mT.transpose(0, 1)))


def test_autocast_around_the_derivative_alone():
    x, w = (t.detach().float().requires_grad_() for t in inputs(1, (8, 8)))
    results = []
    for op in (conv2d, F.conv2d):
        y = op(x, w)
        with torch.autocast("cpu", torch.bfloat16):
            (dx,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
        results.append([dx, *torch.autograd.grad(dx.square().sum(), (x, w))])
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-2)  # bfloat16: errors of 1 and more


def test_function_transforms():
    x, w = (t.detach() for t in inputs(1, (6, 6)))
    t = rand(*w.shape, seed=8)

    def transformed(op):
        return [
            torch.func.jvp(lambda w: op(x, w), (w,), (t,))[1],
            torch.func.grad(lambda w: op(x, w).sum())(w),
            torch.func.vmap(lambda w: op(x, w))(torch.stack([w, t])),
        ]

    torch.testing.assert_close(transformed(conv2d), transformed(F.conv2d))


def test_compiles_without_a_break():
    def layer(x, w):
        return conv2d(x, w, 2).square()

    x, w = (t.detach().float().requires_grad_() for t in inputs(1, (8, 8)))
    ours = torch.compile(layer, fullgraph=True, backend="aot_eager")(x, w)
    theirs = F.conv2d(x, w, stride=2).square()
    torch.testing.assert_close(ours, theirs)
    grads = (torch.autograd.grad(y.sum(), (x, w)) for y in (ours, theirs))
    torch.testing.assert_close(*grads)
