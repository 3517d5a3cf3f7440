# SPDX-License-Identifier: Apache-2.0
"""upfirdn2d on a GPU: every size of tile, two streams, a graph, alignment, over 2^31 elements.
Tests of every device are in test_upfirdn2d.py and test_registered.py."""

import itertools

import pytest
import torch
from ops.upfirdn2d.cases import CASES, F1, F2, F12, LONG_CASES, RANK2
from support.checks import DTYPES, LAYOUTS, layouts_of, rand
from support.gpu import check_graph, check_two_streams, pytestmark  # noqa: F401

import stylegan_ops
from stylegan_ops import backend, upfirdn2d
from stylegan_ops.ops.upfirdn2d import upfirdn2d_ref


@pytest.fixture(autouse=True)
def native():
    assert stylegan_ops.load("cuda") is None
    with backend("native"):
        yield


def derivatives(x, dy, v, **kwargs):
    """y, dx and the derivative of dx by dy."""
    y = upfirdn2d(x, **kwargs)
    (dx,) = torch.autograd.grad(
        y, x, dy[: y.shape[0], :, : y.shape[2], : y.shape[3]], create_graph=True
    )
    return y, dx, *torch.autograd.grad(dx, dy, v)


def random(*shape, dtype, layout):
    return torch.randn(shape, device="cuda").to(dtype).to(memory_format=layout)


# Tiles that are whole, cut on two sides, and smaller than the filter; a few channels and many.
@pytest.mark.sanitizer
@pytest.mark.parametrize("shape", [(2, 3, 5, 7), (1, 24, 33, 31), (1, 8, 64, 64)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("case", ["filter", "up", "down", "separable up and down", "rank 2"])
def test_small_set_for_the_sanitizer(case, dtype, shape):
    kwargs = CASES[case] | {"f": CASES[case]["f"].cuda()}
    for layout in LAYOUTS:
        about = dict(dtype=dtype, layout=layout)
        x, v = random(*shape, **about).requires_grad_(), random(*shape, **about)
        dy = random(*shape[:2], 2 * shape[2] + 9, 2 * shape[3] + 9, **about).requires_grad_()
        assert all(t.isfinite().all() for t in derivatives(x, dy, v, **kwargs))


@pytest.mark.parametrize("case", CASES | LONG_CASES)
def test_every_size_and_layout(case):
    kwargs = (CASES | LONG_CASES)[case]
    f = kwargs["f"]
    kwargs = kwargs | {"f": f if f is None else f.cuda()}
    sizes = [8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 130]
    for i, width in enumerate(sizes):
        height, channels = sizes[(5 * i + 3) % len(sizes)], (1, 3, 8, 64)[i % 4]
        for layout, x in layouts_of(rand(2, channels, height, width).float().cuda()):
            y, wide = upfirdn2d(x, **kwargs), upfirdn2d(x.double(), **kwargs)
            expected = upfirdn2d_ref(x.double(), **kwargs)
            for result, allowed in ((y, 2e-6), (wide, 1e-12)):
                error = (result - expected).abs().max() / expected.abs().max()
                assert error < allowed, f"{layout}, {list(x.shape)}: {error:.3g}"


def test_rejects_a_filter_elsewhere():
    with pytest.raises((RuntimeError, ValueError), match="f must be on the device of x"):
        upfirdn2d(torch.ones(1, 3, 8, 8, device="cuda"), F2)


def _both(x, f, dy):
    y = upfirdn2d(x, f, up=2, padding=[2, 1, 2, 1])
    return [y, *torch.autograd.grad(y, x, dy)]


def test_two_streams_at_once():
    """With a filter each: tables of a kernel must not be shared."""

    def inputs(seed, f):
        x, dy = rand(4, 64, 64, 64, seed=seed), rand(4, 64, 128, 128, seed=seed)
        return x.float().cuda().requires_grad_(), f.cuda(), dy.float().cuda()

    given = [inputs(1, F2), inputs(50, F2.flip(0) ** 2)]
    check_two_streams(_both, given)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_graph_capture(layout):
    """The filter, too, is read when the graph is replayed, not when it is captured."""
    x = torch.randn(2, 8, 32, 32, device="cuda").to(memory_format=layout).requires_grad_()
    f, dy = F2.cuda(), torch.randn(2, 8, 64, 64, device="cuda")
    check_graph(_both, (x, f, dy))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_same_bits_every_time(layout):
    x = torch.randn(4, 32, 128, 128, device="cuda").to(memory_format=layout).requires_grad_()
    dy = torch.randn(4, 32, 257, 257, device="cuda")
    for f in (F2.cuda(), F12.cuda(), RANK2.cuda()):
        dy_f = dy[:, :, : 260 - f.shape[0], : 260 - f.shape[-1]]
        results = [_both(x, f, dy_f) for _ in range(4)]
        assert all(torch.equal(a, b) for r in results for a, b in zip(r, results[0]))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("large", ["input", "output", "both"])
def test_more_than_two_to_the_31_elements(large, layout):
    torch.cuda.empty_cache()
    if torch.cuda.mem_get_info()[0] < 24e9:
        pytest.skip("needs 24 GB of free GPU memory")
    c, h, w = (8, 16384, 16400) if layout == torch.channels_last else (1, 46336, 46400)
    kwargs = dict(f=torch.tensor([0.25, 0.75], device="cuda"), flip_filter=True)
    factor = 16 if large == "output" else 1
    x = torch.zeros(1, c, h // factor, w // factor, device="cuda", dtype=torch.bfloat16)
    x = x.to(memory_format=layout)
    x[:, :, -32:, -32:] = torch.arange(32.0, device="cuda") - 10
    corner = x[:, :, -32:, -32:].clone()
    if large == "input":
        kwargs["down"] = 16
    elif large == "output":
        kwargs |= dict(up=16, padding=[1, 0, 1, 0])
    y = upfirdn2d(x, **kwargs)
    assert max(x.numel(), y.numel()) > 2**31
    expected = upfirdn2d(corner, **kwargs | {"padding": 0})
    rows, columns = expected.shape[2:]
    assert expected.any() and torch.equal(y[:, :, -rows:, -columns:], expected)


def test_more_planes_than_a_grid_has_rows():
    x = rand(1, 70000, 4, 4).float().cuda()
    for layout, (f, up, down) in itertools.product(LAYOUTS, [(F2, 1, 1), (F1, 2, 1), (F2, 1, 2)]):
        given = x.to(memory_format=layout)
        for shape in ((1, 70000, 4, 4), (70000, 1, 4, 4)):
            given = x.view(shape).to(memory_format=layout)
            y = upfirdn2d(given, f.cuda(), up=up, down=down, padding=2)
            part = upfirdn2d(given.flatten(0, 1)[-5:, None], f.cuda(), up=up, down=down, padding=2)
            torch.testing.assert_close(y.flatten(0, 1)[-5:, None], part)


def test_a_view_that_is_not_aligned():
    for dtype, case in itertools.product(DTYPES, ("filter", "up", "down", "12 taps")):
        kwargs = CASES[case] | {"f": CASES[case]["f"].cuda()}
        x = torch.randn(1 + 2 * 8 * 256, device="cuda").to(dtype)[1:].view(2, 8, 16, 16)
        for given in (x, x.view(2, 16, 16, 8).permute(0, 3, 1, 2)):
            expected = upfirdn2d(given.double(), **kwargs).to(dtype)
            torch.testing.assert_close(upfirdn2d(given, **kwargs), expected)
