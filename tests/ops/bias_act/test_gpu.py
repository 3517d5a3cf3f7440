# SPDX-License-Identifier: Apache-2.0
"""bias_act on a GPU: the five tests of every op, two streams, a graph, over 2^31 elements."""

import pytest
import torch
from support.checks import (
    DTYPES,
    LAYOUTS,
    check_dtype,
    check_fixture,
    check_fixture_dtype,
    fixture_cases,
    rand,
)
from support.gpu import check_graph, check_two_streams, on_gpu, pytestmark  # noqa: F401

import stylegan_ops
from stylegan_ops import bias_act
from stylegan_ops.ops.bias_act import bias_act_ref
from stylegan_ops.runtime.activation import ACTIVATIONS, PIECEWISE


@pytest.fixture(autouse=True)
def native():
    """ "native" would raise for every op without a kernel, so only this one is looked at."""
    assert stylegan_ops.load("cuda") is None
    assert stylegan_ops.info()["bias_act"]["cuda"]["backend"] == "native"


@pytest.mark.parametrize("number", fixture_cases("bias_act"))
def test_known_good(number):
    check_fixture(on_gpu(bias_act), number)


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


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("number", fixture_cases("bias_act"))
def test_known_good_in_every_dtype(number, dtype):
    check_fixture_dtype(on_gpu(bias_act), on_gpu(bias_act_ref), number, dtype)


@pytest.mark.parametrize("shape", [(2, 6, 5, 7), (3, 16, 8, 8), (2, 24, 33, 31), (4, 64, 32, 32)])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("act", ACTIVATIONS)
def test_dtypes_and_layouts(act, dtype, layout, shape):
    inputs = {"x": rand(*shape), "b": rand(shape[1])}

    def run(op):
        return on_gpu(lambda x, b: op(x, b, act=act, clamp=1.5))

    check_dtype(run(bias_act), run(bias_act_ref), inputs, ["x", "b"], dtype, layout)


@pytest.mark.parametrize("act", ACTIVATIONS)
def test_gradgradcheck(act):
    x, b = (t.cuda().detach().requires_grad_() for t in (rand(2, 3, 4), rand(3)))

    def op(x, b):
        return bias_act(x, b, act=act, gain=1.3, clamp=1.1)

    assert torch.autograd.gradcheck(op, (x, b))
    assert torch.autograd.gradgradcheck(op, (x, b))


@pytest.mark.parametrize("act", ["linear", "lrelu", "tanh"])
def test_opcheck(act):
    x = torch.randn(2, 3, 4, 5, device="cuda", requires_grad=True)
    b = torch.randn(3, device="cuda", requires_grad=True)
    ops, index = torch.ops.stylegan_ops, list(ACTIVATIONS).index(act)
    args = (x, b, 1, index, 0.2, 1.3, 0.9, act in PIECEWISE)
    torch.library.opcheck(ops.bias_act.default, args)
    if act in PIECEWISE:
        mask = ops.bias_act.raw(x.detach(), None, 1, index, 0.2, 1.3, 0.9, True)[1]
        args = (x, b, mask, x.stride(), 1, 0.2, 1.3, True, True)
        torch.library.opcheck(ops.bias_act_mask_grad.default, args)
    else:
        dy = torch.randn_like(x).requires_grad_()
        args = (dy, x, b, 1, index, 1.3, 0.9, True)
        torch.library.opcheck(ops.bias_act_grad.default, args, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("act", ["lrelu", "swish"])
def test_compiles_without_a_break(act):
    def layer(x, b):
        return bias_act(x * 2, b, act=act, clamp=1.0).square()

    x = torch.randn(2, 8, 16, 16, device="cuda", requires_grad=True)
    b = torch.randn(8, device="cuda", requires_grad=True)
    y = torch.compile(layer, fullgraph=True)(x, b)
    torch.testing.assert_close(y, layer(x, b))
    ours, theirs = (torch.autograd.grad(v.sum(), (x, b)) for v in (y, layer(x, b)))
    torch.testing.assert_close(ours, theirs)


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
