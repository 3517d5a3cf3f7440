# SPDX-License-Identifier: Apache-2.0
"""bias_act on a GPU: two streams, a graph, alignment, over 2^31 elements. Tests of every device are
in test_bias_act.py."""

import pytest
import torch
from support.checks import DTYPES, LAYOUTS, rand
from support.gpu import check_graph, check_two_streams, pytestmark  # noqa: F401

import stylegan_ops
from stylegan_ops import bias_act
from stylegan_ops.ops.bias_act import bias_act_ref


@pytest.fixture(autouse=True)
def native():
    """ "native" would raise for every op without a kernel, so only this one is looked at."""
    assert stylegan_ops.load("cuda") is None
    assert stylegan_ops.info()["bias_act"]["cuda"]["backend"] == "native"


# Groups of 8 and single elements, rows and columns, one slice and several.
@pytest.mark.sanitizer
@pytest.mark.parametrize("shape", [(2, 3, 5, 7), (2, 24, 33, 31), (3, 16, 64, 64), (5, 520)])
@pytest.mark.parametrize("dtype", [*DTYPES, torch.float64])
@pytest.mark.parametrize("act", ["lrelu", "swish"])
def test_small_set_for_the_sanitizer(act, dtype, shape):
    for layout in LAYOUTS if len(shape) == 4 else LAYOUTS[:1]:
        x = torch.randn(shape, device="cuda").to(dtype).to(memory_format=layout).requires_grad_()
        b = torch.randn(shape[1], device="cuda", requires_grad=True)
        y = bias_act(x, b, act=act, clamp=1)
        dx, db = torch.autograd.grad(y.double().square().sum(), (x, b), create_graph=True)
        second = torch.autograd.grad(dx.double().square().sum() + db.square().sum(), (x, b))
        assert all(t.isfinite().all() for t in (y, dx, db, *second))


def test_rejects_a_bias_elsewhere():
    with pytest.raises(RuntimeError, match="b must be on the device of x"):
        bias_act(torch.ones(2, 3, device="cuda"), torch.ones(3))


def _both(x, b, dy):
    y = bias_act(x, b, act="lrelu", clamp=1)
    return [y, *torch.autograd.grad(y, (x, b), dy)]


def test_two_streams_at_once():
    def inputs(seed):
        x, dy = rand(4, 64, 128, 128, seed=seed), rand(4, 64, 128, 128, seed=seed + 1)
        leaves = [t.float().cuda().requires_grad_() for t in (x, rand(64, seed=seed))]
        return [*leaves, dy.float().cuda()]

    given = [inputs(1), inputs(50)]
    check_two_streams(_both, given)


def test_graph_capture():
    x = torch.randn(2, 8, 64, 64, device="cuda", requires_grad=True)
    b = torch.randn(8, device="cuda", requires_grad=True)
    dy = torch.randn_like(x)
    check_graph(_both, (x, b, dy))


def test_sums_are_the_same_bits_every_time():
    x, dy = (torch.randn(4, 32, 256, 256, device="cuda", requires_grad=True) for _ in range(2))
    b = torch.zeros(32, device="cuda", requires_grad=True)
    first = _both(x, b, dy)
    assert all(torch.equal(first[2], _both(x, b, dy)[2]) for _ in range(5))


@pytest.mark.parametrize("channels_last", [False, True])
def test_more_than_two_to_the_31_elements(channels_last):
    size, c = 2**31 // 8 + 4096, 8
    torch.cuda.empty_cache()
    if torch.cuda.mem_get_info()[0] < 24e9:
        pytest.skip("needs 24 GB of free GPU memory")
    shape = (size, c) if channels_last else (1, c, size)
    x = torch.full(shape, 0.5, device="cuda", dtype=torch.bfloat16, requires_grad=True)
    b = torch.arange(float(c), device="cuda", requires_grad=True)
    y = bias_act(x, b, act="lrelu", gain=1)
    per_channel = y.detach().movedim(1, 0).reshape(c, size)[:, -5:]
    expected = (torch.arange(float(c), device="cuda") + 0.5).bfloat16()
    assert torch.equal(per_channel, expected[:, None].expand(c, 5))
    dx, db = torch.autograd.grad(y, (x, b), torch.ones_like(y))
    assert dx.min() == dx.max() == 1
    torch.testing.assert_close(db, torch.full_like(db, size), rtol=1e-5, atol=0)


def test_a_view_that_is_not_aligned():
    for dtype in DTYPES:
        x = torch.randn(1 + 2 * 8 * 64, device="cuda").to(dtype)[1:].view(2, 8, 8, 8)
        b = torch.randn(8, device="cuda")
        expected = bias_act_ref(x.float(), b, act="relu").to(dtype)
        torch.testing.assert_close(bias_act(x, b, act="relu"), expected)
