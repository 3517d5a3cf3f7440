# SPDX-License-Identifier: Apache-2.0
"""What bias_act keeps and takes: memory for gradients, leaks, very large tensors."""

import mmap
import time

import pytest
import torch
from support.memory import needs_free_memory
from support.native import needs_native, run_in_new_process

from stylegan_ops import backend, bias_act
from stylegan_ops.runtime.activation import PIECEWISE

thorough = pytest.mark.thorough


@needs_native
@pytest.mark.serial
def test_many_channels_take_little_memory():
    """The sums of a chunk are as many as there are channels."""
    x, b = torch.ones(4, 1 << 20, requires_grad=True), torch.zeros(1 << 20, requires_grad=True)
    start = time.perf_counter()
    (db,) = torch.autograd.grad(bias_act(x, b, act="lrelu", gain=1).sum(), b)
    assert db.eq(4).all() and time.perf_counter() - start < 1


@needs_native
@pytest.mark.parametrize("act", PIECEWISE)
def test_piecewise_keeps_two_bits_a_sample(act):
    x = torch.randn(1, 4, 64, 64, requires_grad=True)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        y = bias_act(x, torch.zeros(4), act=act, clamp=1)
    assert sum(t.nbytes for t in kept) * 8 == 2 * y.numel()


@needs_native
@thorough
def test_ten_thousand_calls_leak_nothing():
    run_in_new_process("""
        import resource, torch, stylegan_ops
        x = torch.randn(2, 3, 8, 8, requires_grad=True)
        b = torch.zeros(3, requires_grad=True)
        dy = torch.ones(2, 3, 8, 8)

        def call(n):
            for _ in range(n):
                y = stylegan_ops.bias_act(x, b, act="lrelu", clamp=1)
                torch.autograd.grad(y, (x, b), dy)
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

        before = call(2000)
        grown = call(10000) - before
        assert grown < 1024, f"{grown} KiB more"
    """)


@needs_native
@thorough
@pytest.mark.serial
def test_more_than_two_to_the_31_elements():
    needs_free_memory(12)
    size = 2**31 + 1000
    x = torch.frombuffer(mmap.mmap(-1, 2 * size), dtype=torch.bfloat16)  # zeros, not yet in memory
    x[-700:] = torch.arange(-350, 350)
    y = bias_act(x.view(-1, 8), torch.full((8,), 2.0), act="lrelu", gain=1)
    with backend("reference"):
        assert torch.equal(y.view(-1)[-704:], bias_act(x[-704:] + 2, act="lrelu", gain=1).view(-1))
    assert y[0, 0] == 2 and y.view(-1)[2**31 - 8 : 2**31 + 8].eq(2).all()
