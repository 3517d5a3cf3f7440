# SPDX-License-Identifier: Apache-2.0
"""upfirdn2d on a GPU: the five tests of every op, two streams, a graph, over 2^31 elements."""

import itertools

import pytest
import torch
from support.checks import (
    DTYPES,
    LAYOUTS,
    check_dtype,
    check_fixture,
    check_fixture_dtype,
    fixture_cases,
    layouts_of,
    rand,
)
from support.gpu import check_graph, check_two_streams, on_gpu, pytestmark  # noqa: F401

import stylegan_ops
from stylegan_ops import backend, setup_filter, upfirdn2d
from stylegan_ops.ops.upfirdn2d import upfirdn2d_ref

F2 = setup_filter([1, 3, 3, 1])
F1 = setup_filter([1, 2, 3, 4], separable=True)
F12 = setup_filter([1, 2, 3, 4, 5, 6, 6, 5, 4, 3, 2, 1])
RANK2 = setup_filter([[1, -2, 3], [0.5, 4, 1], [2, 0, -1], [3, 1, 1], [1, 1, 2]])
LONG = rand(24, 17).abs().float() / 300
CASES = {
    "filter": dict(f=F2, padding=[2, 1, 2, 1]),
    "up": dict(f=F2, up=2, padding=[2, 1, 2, 1], gain=4.0),
    "down": dict(f=F2, down=2, padding=1),
    "separable up and down": dict(f=F1, up=[2, 3], down=[3, 2], padding=[3, 2, 4, 1]),
    "crop": dict(f=F2, up=2, padding=[-1, 3, 2, -2], flip_filter=True),
    "wide padding": dict(f=F1, up=2, padding=9),
    "no filter": dict(f=None, up=2, down=3),
    "12 taps": dict(f=F12, padding=[6, 5, 6, 5]),
    "12 taps up": dict(f=F12, up=2, padding=[6, 5, 6, 5], gain=4.0),
    "12 taps down": dict(f=F12, down=2, padding=5),
    "rank 2": dict(f=RANK2, padding=[2, 3, 1, 3], flip_filter=True, gain=0.7),
    "rank 2 up": dict(f=RANK2, up=[1, 2], padding=3),
    "long": dict(f=LONG, padding=12),
    "long up": dict(f=LONG, up=4, padding=[10, 9, 12, 13], flip_filter=True),
    "long down": dict(f=LONG, down=[4, 3], padding=12),
}


@pytest.fixture(autouse=True)
def native():
    assert stylegan_ops.load("cuda") is None
    with backend("native"):
        yield


@pytest.mark.parametrize("number", fixture_cases("upfirdn2d"))
def test_known_good(number):
    check_fixture(on_gpu(upfirdn2d), number)


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


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("number", fixture_cases("upfirdn2d"))
def test_known_good_in_every_dtype(number, dtype, layout):
    check_fixture_dtype(on_gpu(upfirdn2d), on_gpu(upfirdn2d_ref), number, dtype, layout)


@pytest.mark.parametrize("shape", [(2, 3, 8, 9), (1, 16, 33, 70), (2, 64, 32, 16)])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES)
def test_dtypes_and_layouts(case, dtype, layout, shape):
    def run(op):
        return on_gpu(lambda x, f: op(x, f, **{k: v for k, v in CASES[case].items() if k != "f"}))

    inputs = {"x": rand(*shape), "f": CASES[case]["f"]}
    check_dtype(run(upfirdn2d), run(upfirdn2d_ref), inputs, ["x"], dtype, layout)


@pytest.mark.parametrize("case", CASES)
def test_gradgradcheck(case):
    f = CASES[case]["f"]
    kwargs = CASES[case] | {"f": f if f is None else f.cuda()}
    x = rand(1, 2, 5, 4).cuda().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: upfirdn2d(x, **kwargs), x)
    fast = "long" in case  # thousands of results
    assert torch.autograd.gradgradcheck(lambda x: upfirdn2d(x, **kwargs), x, fast_mode=fast)


@pytest.mark.parametrize("case", CASES)
def test_every_size_and_layout(case):
    f = CASES[case]["f"]
    kwargs = CASES[case] | {"f": f if f is None else f.cuda()}
    sizes = [8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 130]
    for i, width in enumerate(sizes):
        height, channels = sizes[(5 * i + 3) % len(sizes)], (1, 3, 8, 64)[i % 4]
        for layout, x in layouts_of(rand(2, channels, height, width).float().cuda()):
            y, wide = upfirdn2d(x, **kwargs), upfirdn2d(x.double(), **kwargs)
            expected = upfirdn2d_ref(x.double(), **kwargs)
            for result, allowed in ((y, 2e-6), (wide, 1e-12)):
                error = (result - expected).abs().max() / expected.abs().max()
                assert error < allowed, f"{layout}, {list(x.shape)}: {error:.3g}"


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("case", ["filter", "up", "down", "no filter"])
def test_opcheck(case, layout):
    x = torch.randn(2, 3, 6, 5, device="cuda").to(memory_format=layout).requires_grad_()
    f = None if case == "no filter" else F2.cuda()
    up, down = ([2, 2] if case == "up" else [1, 1]), ([2, 2] if case == "down" else [1, 1])
    args = (x, f, up, down, [1, 1], [3, 2], False, 1.5)
    torch.library.opcheck(torch.ops.stylegan_ops.upfirdn2d.default, args)


@pytest.mark.parametrize("up, down", [(2, 1), (1, 2)])
def test_compiles_without_a_break(up, down):
    def layer(x, f):
        return upfirdn2d(x * 2, f, up=up, down=down, padding=[2, 1, 2, 1]).square()

    compiled = torch.compile(layer, fullgraph=True)
    for f in (F2.cuda(), F2.flip(0).cuda() ** 2):
        x = torch.randn(2, 8, 16, 16, device="cuda", requires_grad=True)
        y, expected = compiled(x, f), layer(x, f)
        torch.testing.assert_close(y, expected)
        ours, theirs = (torch.autograd.grad(v.sum(), x)[0] for v in (y, expected))
        torch.testing.assert_close(ours, theirs)


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
