# SPDX-License-Identifier: Apache-2.0
"""fir_act on a GPU: two streams, a graph, alignment, over 2^31 elements. Tests of every device are
in test_fir_act.py and test_registered.py."""

import pytest
import torch
from ops.fir_act.cases import F2, arguments
from support.checks import DTYPES, LAYOUTS
from support.gpu import check_graph, check_two_streams, pytestmark  # noqa: F401

import stylegan_ops
from stylegan_ops import backend
from stylegan_ops.layer.fir_act import fir_act, fir_act_ref


@pytest.fixture(autouse=True)
def native():
    assert stylegan_ops.load("cuda") is None
    with backend("native"):
        yield


# The results are 5 x 7, 33 x 31, 64 x 64: no bytes, no blocks, and both.
@pytest.mark.sanitizer
@pytest.mark.parametrize("shape", [(2, 3, 6, 8), (1, 24, 34, 32), (1, 8, 65, 65)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("act", ["lrelu", "swish"])
def test_small_set_for_the_sanitizer(act, dtype, shape):
    for layout in LAYOUTS:
        given = arguments(shape, f=F2, padding=1)
        leaves = {k: v.to(dtype).cuda() for k, v in given.items()}
        leaves["x"] = leaves["x"].to(memory_format=layout)
        leaves = {k: v.requires_grad_() for k, v in leaves.items()}
        y = fir_act(f=F2.cuda(), padding=1, act=act, clamp=1, **leaves)
        values = list(leaves.values())
        first = torch.autograd.grad(y.double().square().mean(), values, create_graph=True)
        second = torch.autograd.grad(sum(g.double().square().mean() for g in first), values)
        assert all(t.isfinite().all() for t in (y, *first, *second))


@pytest.mark.parametrize("name", ["f", "scale", "noise", "b"])
def test_rejects_what_is_elsewhere(name):
    given = {k: v.float().cuda() for k, v in arguments((2, 8, 17, 17), f=F2, padding=1).items()}
    given["f"] = F2.cuda()
    given[name] = given[name].cpu()
    with pytest.raises((RuntimeError, ValueError)):
        fir_act(**given, padding=1, act="lrelu")


def _both(x, f, scale, noise, b, dy):
    y = fir_act(x, f, 1, scale=scale, noise=noise, b=b, act="lrelu", clamp=1)
    return [y, *torch.autograd.grad(y, (x, scale, noise, b), dy)]


def _inputs(seed=0, layout=torch.contiguous_format, shape=(4, 32, 65, 65)):
    torch.manual_seed(seed)
    given = {k: torch.randn(v.shape) for k, v in arguments(shape, f=F2, padding=1).items()}
    given["x"] = given["x"].to(memory_format=layout)
    x, *rest = (v.cuda().requires_grad_() for v in given.values())
    dy = torch.randn(*shape[:2], shape[2] - 1, shape[3] - 1).cuda()
    return x, (F2 * (1 + seed)).cuda(), *rest, dy


def test_two_streams_at_once():
    given = [_inputs(1), _inputs(2)]
    check_two_streams(_both, given)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_graph_capture(layout):
    given = _inputs(layout=layout)
    check_graph(_both, given)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_same_bits_every_time(layout):
    given = _inputs(layout=layout)
    results = [_both(*given) for _ in range(5)]
    assert all(torch.equal(a, b) for r in results for a, b in zip(r, results[0]))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_more_than_two_to_the_31_elements(layout):
    torch.cuda.empty_cache()
    if torch.cuda.mem_get_info()[0] < 30e9:
        pytest.skip("needs 30 GB of free GPU memory")
    c, h, w = (8, 16384, 16400) if layout == torch.channels_last else (1, 46336, 46401)
    x = torch.zeros(1, c, h, w, device="cuda", dtype=torch.bfloat16).to(memory_format=layout)
    x[:, :, -32:, -32:] = torch.arange(32.0, device="cuda") - 10
    given = dict(f=torch.tensor([0.25, 0.75], device="cuda"), act="lrelu", clamp=5.0)
    vectors = dict(b=torch.arange(float(c), device="cuda"), scale=torch.full((1, c), 0.5).cuda())
    corner = x[:, :, -32:, -32:].clone().requires_grad_()
    x.requires_grad_()
    y, expected = fir_act(x, **given, **vectors), fir_act(corner, **given, **vectors)
    assert y.numel() > 2**31
    assert torch.equal(y[:, :, -31:, -31:], expected)
    (dx,) = torch.autograd.grad(y, x, torch.ones_like(y))
    (d_corner,) = torch.autograd.grad(expected, corner, torch.ones_like(expected))
    assert torch.equal(dx[:, :, -31:, -31:], d_corner[:, :, -31:, -31:])


def test_a_view_that_is_not_aligned():
    vectors = dict(b=torch.randn(8).cuda(), scale=torch.randn(2, 8).cuda())
    for dtype in DTYPES:
        x = torch.randn(1 + 2 * 8 * 17 * 17, device="cuda").to(dtype)[1:]
        noise = torch.randn(1 + 256, device="cuda")[1:].view(1, 1, 16, 16)
        for given in (x.view(2, 8, 17, 17), x.view(2, 17, 17, 8).permute(0, 3, 1, 2)):
            kwargs = dict(f=F2.cuda(), padding=1, noise=noise, act="relu", **vectors)
            expected = fir_act_ref(given.double(), **kwargs).to(dtype)
            torch.testing.assert_close(fir_act(given, **kwargs), expected)
