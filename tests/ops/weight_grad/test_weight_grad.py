# SPDX-License-Identifier: Apache-2.0
"""The kernel of the gradient w.r.t. the weight, against PyTorch's."""

import pytest
import torch
import torch.nn.functional as F
from support.checks import rand
from support.native import needs_native

from stylegan_ops.layer import convolution
from stylegan_ops.layer.convolution import conv2d, conv_transpose2d
from stylegan_ops.layer.weight_grad import OP, weight_grad


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
