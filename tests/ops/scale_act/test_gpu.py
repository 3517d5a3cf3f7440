# SPDX-License-Identifier: Apache-2.0
"""scale_act on a GPU: sums in parts, two streams, a graph, alignment, over 2^31 elements. Tests of
every device are in test_scale_act.py, test_native.py and test_registered.py."""

import pytest
import torch
from ops.scale_act.cases import INPUTS, arguments, derivatives
from support.checks import DTYPES, LAYOUTS
from support.gpu import check_graph, check_two_streams, pytestmark  # noqa: F401

import stylegan_ops
from stylegan_ops import backend
from stylegan_ops.layer.records import Epilogue
from stylegan_ops.layer.scale_act import scale_act, scale_act_out, scale_act_ref

ENDS = [("lrelu", 1.5), ("relu", None), ("linear", 1.5), ("linear", None), ("swish", 1.5)]
# Bytes of a mask in no layout, in channels_last alone, in contiguous alone, in both; several tiles
# of channels, several slices, images of one pixel.
SHAPES = [
    *[(2, 3, 5, 7), (2, 24, 9, 7), (3, 9, 16, 24), (2, 264, 12, 16), (2, 520, 7, 5)],
    *[(1, 40, 96, 64), (1, 3, 131, 129), (2, 1, 40, 200), (2, 16, 1, 1), (1, 5, 1, 1)],
]
# The last two have several slices, in channels_last and in contiguous.
SANITIZED = [(2, 3, 5, 7), (1, 264, 7, 5), (2, 9, 8, 8), (1, 8, 72, 64), (1, 1, 67, 65)]


@pytest.fixture(autouse=True)
def native():
    assert stylegan_ops.load("cuda") is None
    with backend("native"):
        yield


def cuda_arguments(shape, dtype=torch.float32, layout=torch.contiguous_format, **options):
    given = {k: v.to(dtype).cuda() for k, v in arguments(shape, **options).items()}
    given["x"] = given["x"].contiguous(memory_format=layout)
    return given


@pytest.mark.sanitizer
@pytest.mark.parametrize("shape", SANITIZED, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("act", ["lrelu", "linear", "swish"])
def test_small_set_for_the_sanitizer(act, dtype, shape):
    for layout in LAYOUTS:
        given = cuda_arguments(shape, dtype, layout, samples=1)
        leaves = {k: v.requires_grad_() for k, v in given.items()}
        y = scale_act(**leaves, act=act, clamp=1)
        values = list(leaves.values())
        first = torch.autograd.grad(y.double().square().mean(), values, create_graph=True)
        second = torch.autograd.grad(sum(g.double().square().mean() for g in first), values)
        assert all(t.isfinite().all() for t in (y, *first, *second))
        if act != "swish":
            x, scale, noise, b = (v.detach() for v in values)
            expected = scale_act(x, scale, noise, b, act=act, clamp=1)
            scale_act_out(x, x, scale, noise, Epilogue(b, act, clamp=1))
            assert torch.equal(x, expected)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_float64_and_every_order(layout, shape):
    """Second derivatives too, which go through the parts of a sum over many channels."""
    for i, (act, clamp) in enumerate(ENDS):
        given = cuda_arguments(shape, torch.float64, layout, samples=1 if i % 2 else None)
        ours = derivatives(scale_act, given, act=act, clamp=clamp)
        theirs = derivatives(scale_act_ref, given, act=act, clamp=clamp)
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-8)


@pytest.mark.parametrize("name", INPUTS[1:])
def test_rejects_what_is_elsewhere(name):
    given = cuda_arguments((2, 8, 16, 16))
    given[name] = given[name].cpu()
    with pytest.raises((RuntimeError, ValueError)):
        scale_act(**given, act="lrelu")


def _both(x, scale, noise, b, dy):
    y = scale_act(x, scale, noise, b, act="lrelu", clamp=1)
    return [y, *torch.autograd.grad(y, (x, scale, noise, b), dy)]


def _inputs(seed=0, layout=torch.contiguous_format, shape=(4, 264, 64, 64)):
    torch.manual_seed(seed)
    given = {k: torch.randn(v.shape).cuda() for k, v in arguments(shape, samples=1).items()}
    given["x"] = given["x"].contiguous(memory_format=layout)
    return *(v.requires_grad_() for v in given.values()), torch.randn(shape).cuda()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_two_streams_at_once(layout):
    check_two_streams(_both, [_inputs(1, layout), _inputs(2, layout)])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_graph_capture(layout):
    check_graph(_both, _inputs(layout=layout))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_same_bits_every_time(layout):
    given = _inputs(layout=layout)
    results = [_both(*given) for _ in range(5)]
    assert all(torch.equal(a, b) for r in results for a, b in zip(r, results[0]))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_more_than_two_to_the_31_elements(layout):
    torch.cuda.empty_cache()
    if torch.cuda.mem_get_info()[0] < 40e9:
        pytest.skip("needs 40 GB of free GPU memory")
    c, h, w = (8, 16384, 16400) if layout == torch.channels_last else (1, 46336, 46400)
    x = torch.empty((1, c, h, w), device="cuda", dtype=torch.bfloat16, memory_format=layout)
    x.zero_()[:, :, -32:, -32:] = torch.arange(32.0, device="cuda") - 10
    scale, b = torch.full((1, c), 0.5).cuda(), torch.arange(float(c), device="cuda")
    noise = torch.arange(w, device="cuda").remainder(7.0).expand(1, 1, h, w)
    kwargs = dict(b=b, act="lrelu", clamp=5.0)
    corner = x[:, :, -32:, -32:].clone().requires_grad_()
    x.requires_grad_(), scale.requires_grad_()
    y = scale_act(x, scale, noise, **kwargs)
    expected = scale_act(corner, scale, noise[:, :, -32:, -32:], **kwargs)
    assert y.numel() > 2**31
    assert torch.equal(y[:, :, -32:, -32:], expected)
    dx, dscale = torch.autograd.grad(y, (x, scale), torch.ones_like(y))
    d_corner, d_scale = torch.autograd.grad(expected, (corner, scale), torch.ones_like(expected))
    assert torch.equal(dx[:, :, -32:, -32:], d_corner)
    torch.testing.assert_close(dscale, d_scale, rtol=1e-5, atol=0)  # x is 0 elsewhere


def test_views_that_are_not_aligned():
    for dtype, layout in ((d, layout) for d in DTYPES for layout in LAYOUTS):
        given = cuda_arguments((2, 24, 16, 16), dtype, layout)
        x = given["x"]
        beyond = x.new_empty(x.numel() + 1)[1:].as_strided(x.shape, x.stride(), 1).copy_(x)
        views = given | {"x": beyond}
        ours, theirs = (derivatives(scale_act, g, 1, act="lrelu") for g in (views, given))
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs))
