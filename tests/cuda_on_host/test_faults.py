# SPDX-License-Identifier: Apache-2.0
"""The harness finds the faults that it was written for."""

import ctypes
import re

import pytest
import torch
from cuda_on_host.buffers import Buffers
from cuda_on_host.build import HERE, load, missing

pytestmark = pytest.mark.skipif(missing() is not None, reason=str(missing()))
COUNT = 128
ORDERS = [0, 1, 7]


def run(name, *args, order=0):
    """Calls run_<name>; what went wrong as a string, or None."""
    library = load(HERE / "faults.cu")
    function = getattr(library, f"run_{name}")
    function.restype = ctypes.c_char_p
    library.cuda_on_host_order(order)
    pointers = [a.data_ptr() if torch.is_tensor(a) else a for a in args]
    big = [ctypes.c_void_p(p) if isinstance(p, int) and p >= 1 << 31 else p for p in pointers]
    message = function(*big)
    return message and message.decode()


def copied(count=COUNT, shift=0):
    """Buffers and output of the copy kernel."""
    buffers, x = Buffers(), torch.arange(1.0, COUNT + 1)
    source, y = buffers.input(x), buffers.output(COUNT, torch.float32)
    assert run("copy", count, shift, source, y) is None
    return buffers, x, y


def test_a_right_kernel():
    buffers, x, y = copied()
    buffers.check()
    assert torch.equal(x, y)


def test_a_missing_store():
    buffers, x, y = copied(count=COUNT - 1)
    buffers.check()
    assert y[:-1].equal(x[:-1]) and y[-1].isnan()


@pytest.mark.parametrize("shift, side", [(1, "after"), (-1, "before")])
def test_a_store_out_of_place(shift, side):
    buffers, _, _ = copied(shift=shift)
    with pytest.raises(AssertionError, match=f"a store {side} an output of 512 bytes"):
        buffers.check()


def test_a_store_into_an_input():
    buffers, x = Buffers(), torch.arange(1.0, COUNT + 1)
    source = buffers.input(x)
    assert run("copy", 8, 8, source, source) is None
    with pytest.raises(AssertionError, match="a store into an input"):
        buffers.check()


@pytest.mark.parametrize("fence, shift", [("before", -1), ("after", 1)])
def test_a_read_out_of_place(fence, shift):
    x = torch.arange(1.0, COUNT + 1)
    buffers = Buffers()
    source, y = buffers.input(x), buffers.output(COUNT, torch.float32)
    assert run("peek", COUNT, shift, 1, source, y) is None
    assert y.isnan().sum() == 1
    buffers = Buffers(fence=fence)
    source, y = buffers.input(x), buffers.output(COUNT, torch.float32)
    assert run("peek", COUNT, -shift, 0, source, y) is None  # on the other side
    assert torch.equal(x, y)
    assert "an access outside of memory" in run("peek", COUNT, shift, 0, source, y)
    assert run("peek", COUNT, 0, 0, source, y) is None  # and works again
    buffers.check()


def test_a_misaligned_access():
    buffers, x = Buffers(), torch.zeros(COUNT)
    y = buffers.output(COUNT, torch.float32)
    assert run("copy_wide", COUNT, buffers.input(x), y) is None
    assert "faults.cu:" in (message := run("copy_wide", COUNT, buffers.input(x, offset=1), y))
    assert "misaligned" in message


@pytest.mark.parametrize("order", ORDERS)
def test_shared_memory(order):
    """A barrier that is missing leaves some reader before its writer, in any order."""
    buffers, x = Buffers(), torch.arange(1.0, COUNT + 1)
    source, y = buffers.input(x), buffers.output(COUNT, torch.float32)
    expected = x.view(2, -1).flip(1).flatten()
    assert run("reverse", COUNT, 1, 0, source, y, order=order) is None
    assert torch.equal(y, expected)
    assert run("reverse", COUNT, 0, 0, source, y, order=order) is None
    assert y.view(2, -1).isnan().any(1).all()  # poisoned before each block, not only the first
    message = run("reverse", COUNT, 1, 1, source, y, order=order)
    assert "faults.cu:" in message and "index out of an array" in message
    assert run("reverse", COUNT, 1, 0, source, y, order=order) is None  # and works again
    assert torch.equal(y, expected)
    buffers.check()


@pytest.mark.parametrize("order", ORDERS)
def test_dynamic_shared_memory(order):
    buffers, x = Buffers(), torch.arange(1.0, COUNT + 1)
    source, y = buffers.input(x), buffers.output(COUNT, torch.float32)

    def reverse(size=256, skip=0, beyond=0):
        return run("reverse_dynamic", COUNT, size, skip, beyond, source, y, order=order)

    expected, kind = x.view(2, -1).flip(1), "bytes of dynamic shared memory"
    assert reverse() is None
    assert torch.equal(y.view(2, -1), expected)
    assert reverse(skip=1) is None  # poisoned before each block, not only the first
    assert y.view(2, -1)[:, -1].isnan().all()
    assert torch.equal(y.view(2, -1)[:, :-1], expected[:, :-1])
    assert reverse(beyond=1) == f"a store 1 bytes after the last of 256 {kind}"
    assert reverse(beyond=3000).startswith("a store 11745 bytes after the last")
    assert reverse(beyond=-1) == f"a store 4 bytes before the first of 256 {kind}"
    assert reverse(size=255) == f"a store 1 bytes after the last of 255 {kind}"
    assert reverse(size=252, skip=1, beyond=-1) is None
    assert y.view(2, -1)[:, 0].isnan().all()  # of what lies beyond
    assert reverse(size=0, skip=64) is None
    assert y.isnan().all()
    assert reverse() is None  # and works again
    assert torch.equal(y.view(2, -1), expected)
    buffers.check()
    assert "misaligned" in run("misaligned_dynamic")


def test_a_barrier_for_part_of_the_threads():
    assert run("part_waits", 64, 0) is None
    assert run("part_waits", 40, 1) is None  # the others have returned
    message = run("part_waits", 40, 0)
    assert "of 64, 40 at __syncthreads" in message and "24 at an exchange of a warp" in message
    assert re.search(r"of 64, 64 at __syncthreads \(line \d+ to \d+\)", run("two_barriers"))


@pytest.mark.parametrize("order", ORDERS)
def test_warps(order):
    x = torch.arange(1.0, 65)
    sums, prefix, first = torch.empty(3, 64)
    odd = torch.empty(64, dtype=torch.int32)
    assert run("warp_sums", x, sums, prefix, first, odd, order=order) is None
    warps = x.view(2, 32)
    assert torch.equal(sums.view(2, 32), warps.sum(1, keepdim=True).expand(2, 32))
    assert torch.equal(prefix.view(2, 32), warps.cumsum(1))
    assert torch.equal(first.view(2, 32), warps[:, :1].expand(2, 32))
    assert (odd == 0xAAAAAAAA - (1 << 32)).all()
    y = torch.empty(32)
    assert run("half_warp", x, y, order=order) is None
    assert torch.equal(y, torch.cat([x[8:16], x[8:16], x[19].expand(16)]))
    assert "does not take part" in run("stranger", x, y, order=order)


@pytest.mark.parametrize("sizes", [(0, 1, 32), (1, 1, 0), (1, 65536, 1), (1, 1, 1025)])
def test_sizes_that_cuda_refuses(sizes):
    assert run("nothing", 3, 65535, 1, 0) is None
    assert "invalid configuration" in run("nothing", *sizes, 0)


def test_more_shared_memory_than_cuda_gives():
    assert run("nothing", 1, 1, 32, 227 << 10) is None
    message = run("nothing", 1, 1, 32, (227 << 10) + 1)
    assert message == "invalid argument: 232449 bytes of dynamic shared memory"
