# SPDX-License-Identifier: Apache-2.0
"""Convolutions with second derivatives of their own, against PyTorch's."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from checks import DTYPES, LAYOUTS, check_dtype, rand
from native import needs_native

from stylegan_ops import backend
from stylegan_ops.layer import convolution
from stylegan_ops.layer.convolution import _Conv, _ConvTranspose, conv2d, conv_transpose2d
from stylegan_ops.layer.weight_grad import OP, weight_grad

SIZES = [(8, 7), (9, 12)]
CASES = list(itertools.product([1, 2, 3], [(0, 0), (1, 2)], [1, 2]))  # stride, padding, groups


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


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("stride, padding, groups", CASES)
def test_derivatives_are_those_of_pytorch(stride, padding, groups, size):
    x, w = inputs(groups, size)
    ours = derivatives(lambda x, w: conv2d(x, w, stride, padding, groups), x, w)
    theirs = derivatives(
        lambda x, w: F.conv2d(x, w, stride=stride, padding=padding, groups=groups), x, w
    )
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("stride, groups", [(1, 1), (2, 1), (2, 2), (3, 1)])
def test_derivatives_of_the_transposed_one(stride, groups, size):
    x, w = rand(2, 4, *size, grad=True), rand(4, 6 // groups, 3, 3, seed=3, grad=True)
    ours = derivatives(lambda x, w: conv_transpose2d(x, w, stride, groups), x, w)
    theirs = derivatives(lambda x, w: F.conv_transpose2d(x, w, stride=stride, groups=groups), x, w)
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("op", [conv2d, conv_transpose2d])
def test_gradgradcheck(op):
    x, w = rand(1, 2, 4, 5, grad=True), rand(2, 2, 3, 3, grad=True)
    assert torch.autograd.gradcheck(lambda x, w: op(x, w, 2), (x, w))
    assert torch.autograd.gradgradcheck(lambda x, w: op(x, w, 2), (x, w))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_dtypes_and_layouts(dtype, layout):
    given = {"x": rand(2, 8, 9, 9), "w": rand(6, 8, 3, 3)}
    check_dtype(
        lambda x, w: conv2d(x, w, 2, (1, 1)),
        lambda x, w: F.conv2d(x, w, stride=2, padding=1),
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


@needs_native
@pytest.mark.parametrize(
    "samples, channels, size, kernel, stride, padding",
    [
        (1, (32, 8), (8, 8), (3, 3), 1, (1, 1)),
        (3, (96, 40), (7, 5), (3, 3), 1, (1, 1)),  # parts of a group of channels
        (2, (64, 32), (33, 17), (3, 3), 2, (0, 0)),
        (2, (32, 72), (6, 40), (1, 1), 1, (0, 0)),
        (5, (32, 8), (9, 4), (3, 2), 3, (2, 0)),  # rows of x that no row of dy meets
        (2, (64, 8), (20, 400), (5, 3), 1, (0, 1)),  # rows longer than a chunk
        (9, (32, 16), (2, 2), (3, 3), 1, (1, 1)),  # chunks of many samples
        (0, (32, 8), (4, 4), (3, 3), 1, (1, 1)),
    ],
)
def test_weight_grad_kernel(samples, channels, size, kernel, stride, padding):
    """As exact as PyTorch's own, and the same bits for any number of threads."""
    last = {"memory_format": torch.channels_last}
    shape = (channels[1], channels[0], *kernel)
    out = [(n + 2 * p - k) // stride + 1 for n, p, k in zip(size, padding, kernel)]
    x = rand(samples, channels[0], *size).float().contiguous(**last)
    dy = rand(samples, channels[1], *out, seed=1).float().contiguous(**last)
    dw = weight_grad(x, dy, kernel, stride, padding)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        assert torch.equal(dw, weight_grad(x, dy, kernel, stride, padding))
    finally:
        torch.set_num_threads(threads)
    if samples:
        args = {"stride": stride, "padding": padding}
        exact = torch.nn.grad.conv2d_weight(x.double(), shape, dy.double(), **args)
        own = torch.nn.grad.conv2d_weight(x, shape, dy, **args)
        allowed = 2 * (own - exact).square().mean().sqrt() + 2e-7 * exact.square().mean().sqrt()
        assert (dw - exact).square().mean().sqrt() <= allowed
    assert dw.shape == shape and (samples or not dw.any())


@needs_native
def test_weight_grad_kernel_registered():
    last = {"memory_format": torch.channels_last}
    x, dy = (torch.randn(2, c, 4, 4).contiguous(**last) for c in (32, 8))
    op = getattr(torch.ops.stylegan_ops, OP).default
    torch.library.opcheck(op, (x, dy, [3, 3], 1, [1, 1]))
    for message, args in {
        "must be channels_last": (x.contiguous(), dy, [3, 3], 1, [1, 1]),
        "expected float32": (x.double(), dy.double(), [3, 3], 1, [1, 1]),
        "multiples of 32": (x[:, :16].contiguous(**last), dy, [3, 3], 1, [1, 1]),
        "do not belong": (x, dy, [3, 3], 1, [0, 0]),
    }.items():
        with pytest.raises(RuntimeError, match=message):
            op(*args)


@needs_native
def test_weight_grad_kernel_is_taken(monkeypatch):
    """In the layers of the networks, and its derivatives are those of the others."""
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    calls = []
    ours = convolution.weight_grad
    monkeypatch.setattr(convolution, "weight_grad", lambda *a: calls.append(a) or ours(*a))
    last = {"memory_format": torch.channels_last}
    for op, plain in ((conv2d, F.conv2d), (conv_transpose2d, F.conv_transpose2d)):
        x = rand(2, 32, 5, 5).float().contiguous(**last).requires_grad_()
        w = rand(32, 32, 3, 3, seed=1).float().requires_grad_()
        results = []
        for run in (op, plain):
            (dw,) = torch.autograd.grad(run(x, w).square().sum(), w, create_graph=True)
            results.append((dw, *torch.autograd.grad(dw.square().sum(), (x, w))))
        for value, expected in zip(*results):
            assert (value - expected).norm() <= 1e-5 * expected.norm()
    assert len(calls) >= 2
