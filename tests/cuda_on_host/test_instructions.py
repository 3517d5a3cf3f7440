# SPDX-License-Identifier: Apache-2.0
"""The harness's tensor-core instructions by the PTX manual; asynchronous copies that go wrong."""

import ctypes

import pytest
import torch
from cuda_on_host.buffers import Buffers
from cuda_on_host.build import counts, load, missing
from cuda_on_host.instructions import (
    DTYPES,
    SOURCE,
    accumulators,
    emulated,
    fault_of,
    fragments,
    packed,
    rand,
    truncated,
)

pytestmark = pytest.mark.skipif(missing() is not None, reason=str(missing()))
ORDERS = [0, 1, 7, 8]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("order", ORDERS)
def test_products(order, dtype, run):
    depth = 8 if dtype == torch.float32 else 16
    a, b, d = rand(16, depth, dtype=dtype), rand(depth, 8, dtype=dtype, seed=1), rand(16, 8)
    a[3, 1], b[2, 2] = 2e-7, -3e-6  # subnormal in float16
    x, y = (packed(f) for f in fragments(a, b))
    result = accumulators(d).contiguous()
    assert run("products", DTYPES.index(dtype), x, y, result, order=order) is None
    a, b = (truncated(v) if dtype == torch.float32 else v for v in (a, b))
    expected = accumulators(d.double() + a.double() @ b.double())
    torch.testing.assert_close(result.double(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", DTYPES[:2], ids=str)
def test_every_number_of_16_bits(dtype, run):
    """As an element of a, times 1."""
    every = torch.arange(-(1 << 15), 1 << 15, dtype=torch.int16).view(dtype)
    b = torch.zeros(16, 8, dtype=dtype)
    b[0] = 1
    ones = packed(fragments(torch.zeros(16, 16, dtype=dtype), b)[1])
    for part in every[every.isfinite()][5::997].split(16):
        a = torch.zeros(16, 16, dtype=dtype)
        a[: len(part), 0] = part
        result = torch.zeros(32, 4)
        x = packed(fragments(a, b)[0])
        assert run("products", DTYPES.index(dtype), x, ones, result) is None
        assert torch.equal(result, accumulators(a[:, :1].float().expand(16, 8)))
    for value in (torch.inf, -torch.inf, torch.nan):
        a = torch.full((16, 16), value, dtype=dtype)
        ones, result = packed(torch.ones(32, 4, dtype=dtype)), torch.zeros(32, 4)
        x = packed(fragments(a, b)[0])
        assert run("products", DTYPES.index(dtype), x, ones, result) is None
        expected = torch.full((32, 4), value)
        torch.testing.assert_close(result, expected, equal_nan=True)


def test_rounding_to_tf32():
    one = 0x3F800000
    bits = [one, one + 0xFFF, one + 0x1000, one + 0x1FFF, one + 0x3000, 0x7F7FFFFF, 0x7F800000]
    expected = [one, one, one + 0x2000, one + 0x2000, one + 0x4000, 0x7F800000, 0x7F800000]
    bits += [b - (1 << 31) for b in bits] + [-1]
    expected += [b - (1 << 31) for b in expected] + [0x7FFFFFFF]
    y = torch.zeros(len(bits), dtype=torch.int32)
    x = torch.tensor(bits, dtype=torch.int32)
    assert emulated("rounded", len(bits), x, y) is None
    assert y.tolist() == expected


@pytest.mark.parametrize("order", ORDERS)
def test_matrices(order, run):
    """Rows in any order."""
    x = torch.arange(1024, dtype=torch.int16).view(64, 16)  # rows of 32 bytes
    perm = torch.randperm(64, generator=torch.Generator().manual_seed(3))[:32]
    r = torch.empty(32, 4, dtype=torch.int32)
    for half in (0, 1):
        starts = (perm * 32 + 16 * half).int()
        rows = x[perm, 8 * half : 8 * half + 8].view(4, 8, 8)
        assert run("matrices", 0, 2048, x, starts, r, order=order) is None
        expected = torch.stack([m.reshape(32, 2) for m in rows], 1)
        assert torch.equal(r.view(torch.int16).view(32, 4, 2), expected)
        assert run("matrices", 1, 2048, x, starts, r, order=order) is None
        expected = torch.stack([m.t().reshape(32, 2) for m in rows], 1)
        assert torch.equal(r.view(torch.int16).view(32, 4, 2), expected)


@pytest.mark.parametrize("order", ORDERS)
def test_rows_that_share_banks_or_do_not_fit(order):
    x, r = torch.zeros(1024, dtype=torch.int16), torch.empty(32, 4, dtype=torch.int32)
    counts(load(SOURCE))
    for stride, conflicts in [(16, 0), (32, 4), (48, 0), (64, 12), (0, 0)]:
        starts = torch.arange(32, dtype=torch.int32) % 8 * stride
        assert emulated("matrices", 0, 2048, x, starts, r, order=order) is None
        assert counts(load(SOURCE))["read_conflicts"] == conflicts
    starts = torch.arange(32, dtype=torch.int32) * 16
    assert "misaligned" in emulated("matrices", 0, 2048, x, starts + 8, r, order=order)
    message = emulated("matrices", 0, 511, x, starts, r, order=order)
    assert message == "16 bytes outside of dynamic shared memory"


class Pipeline:
    def __init__(self, steps=4, fence=None):
        self.buffers, self.steps = Buffers(fence=fence), steps
        self.x = rand(32, 16 * steps, dtype=torch.float16)
        self.w = rand(16 * steps, 8, dtype=torch.float16)
        self.given = [ctypes.c_void_p(self.buffers.input(v)) for v in (self.x, self.w)]
        self.y = self.buffers.output(256, torch.float32).view(32, 8)

    def __call__(self, fault="none", pitch=48, neighbours=0, order=0, steps=None):
        self.y.fill_(torch.nan)
        numbers = fault_of(fault), pitch, neighbours, steps or self.steps
        return emulated("pipeline", *numbers, *self.given, self.y, order=order)

    def right(self):
        expected = self.x.double() @ self.w.double()
        return torch.allclose(self.y.double(), expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("fence", ["before", "after"])
def test_a_right_pipeline(fence, order):
    product = Pipeline(fence=fence)
    assert product(order=order) is None
    product.buffers.check()
    assert product.right()
    if fence == "after":
        assert "outside of memory" in product(order=order, steps=5)
        assert product(order=order) is None  # and works again


@pytest.mark.parametrize(
    "pitch, neighbours, reads, writes", [(48, 0, 0, 0), (32, 0, 4, 1), (48, 1, 0, 1)]
)
def test_conflicts(pitch, neighbours, reads, writes):
    product = Pipeline()
    counts(load(SOURCE))
    assert product(pitch=pitch, neighbours=neighbours) is None
    assert product.right()
    warps = 2 * 2  # in two blocks
    expected = {
        "read_conflicts": reads * 4 * warps,
        "write_conflicts": writes * 5 * 4 * warps,  # of 8 lanes at a time, and one step more
        "reads": 2 * 4 * warps,
        "copies": 2 * 5 * (64 + 16),
        "products": 4 * warps,
    }
    assert counts(load(SOURCE)) == expected


FAULTS = {
    "waits_for_too_few": "load_matrix of shared memory that an asynchronous copy is on its way",
    "forgets_to_commit": "load_matrix of shared memory that an asynchronous copy is on its way",
    "no_barrier_after_waiting": "",
    "no_barrier_before_copying": "",
    "never_waits": "load_matrix of shared memory that an asynchronous copy is on its way",
    "copies_twice": "a copy to shared memory that another copy is on its way to",
    "stores_too_early": "a store to shared memory that an asynchronous copy is on its way to",
    "stores_before_barrier": "a store to shared memory that an",
    "reads_too_early": "load_matrix of shared memory that an asynchronous copy is on its way",
    "reads_plainly_too_early": "",
    "misaligned_source": "misaligned source",
    "misaligned_destination": "misaligned address in shared memory",
    "beyond_shared": "16 bytes outside of dynamic shared memory",
    "changes_source": "the source of an asynchronous copy changed",
    "lane_is_elsewhere": "the threads of a block wait for each other",
    "lane_has_returned": "of which some do not take part",
    "lane_at_another_call": "different calls of one instruction",
}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_pipeline(fault, order):
    product = Pipeline()
    error = product(fault, order=order)
    if error is None:
        assert FAULTS[fault] == "" and not product.right()
    else:
        assert FAULTS[fault] in error
    product = Pipeline()
    assert product(order=order) is None  # and works again
    assert product.right()


@pytest.mark.parametrize("order", ORDERS)
def test_what_a_thread_has_copied_it_may_use(order, run):
    x, y = rand(256), torch.zeros(256)
    assert run("own_copies", 1, x, y, order=order) is None
    assert torch.equal(y, 2 * x.roll(128))


@pytest.mark.parametrize("order", ORDERS)
def test_what_others_have_copied_it_may_not(order):
    x, y = rand(256), torch.zeros(256)
    assert emulated("own_copies", 0, x, y, order=order) is None
    assert y.isnan().all()
