# SPDX-License-Identifier: Apache-2.0
"""What the kernels of scale_act and its like promise beyond the definition: outputs in place, sums
that are exact and the same in every run, values that are not finite, what is kept."""

import pytest
import torch
from ops.fir_act.cases import F2, F12
from ops.fir_act.cases import arguments as fir_arguments
from ops.scale_act.cases import INPUTS, arguments, check, derivatives
from support.cases import by_pairs
from support.checks import DTYPES, LAYOUTS, rand
from support.native import needs_native

from stylegan_ops.layer.fir_act import fir_act, fir_act_out
from stylegan_ops.layer.records import Epilogue
from stylegan_ops.layer.scale_act import scale_act, scale_act_out, scale_act_ref, supports_out
from stylegan_ops.runtime.activation import PIECEWISE

pytestmark = needs_native

# act, clamp, which of scale, noise and b
ENDS = [
    *[("lrelu", 0.9, "sample"), ("relu", None, "shared"), ("linear", 0.7, "nothing")],
    *[("linear", None, "sample"), ("linear", None, "nothing")],
]


@by_pairs(
    end=ENDS,
    dtype=[*DTYPES, torch.float64],
    shape=[(3, 9, 6, 7), (3, 24, 48, 64), (2, 5, 1, 1)],
    layout=LAYOUTS,
)
def test_out_is_the_same_in_place_and_in_a_slice(end, dtype, shape, layout, device):
    act, clamp, noise = end
    given = arguments(shape, samples=1 if noise == "shared" else None)
    x, *rest = (v.to(dtype).to(device) for v in given.values())
    x = x.contiguous(memory_format=layout)
    rest = [None] * 3 if noise == "nothing" else rest
    assert supports_out(x, rest[1], act)
    ends = act, None, 1.3, clamp
    end = Epilogue(rest[2], *ends)
    expected, original = scale_act(x, *rest, *ends), x.clone()
    batch = x.new_full((shape[0] + 2, *shape[1:]), 7).contiguous(memory_format=layout)
    written = scale_act_out(batch[1:-1], x, rest[0], rest[1], end)
    assert written.data_ptr() == batch[1:-1].data_ptr()
    assert torch.equal(batch[1:-1], expected) and torch.equal(x, original)
    assert (batch[[0, -1]] == 7).all()
    scale_act_out(x, x, rest[0], rest[1], end)
    assert torch.equal(x, expected)


def test_what_out_does_not_support():
    x, plane = torch.zeros(2, 3, 4, 5), torch.zeros(2, 1, 4, 5)
    assert supports_out(x, None, "lrelu") and supports_out(x, plane[:1], "relu")
    assert not supports_out(x, None, "swish") and not supports_out(x[..., 1:], None, "lrelu")
    for noise in (torch.zeros(1), torch.zeros(2, 3, 4, 5), plane[..., :1], torch.zeros(3, 1, 4, 5)):
        assert not supports_out(x, noise, "lrelu")


@by_pairs(
    filter=[(4, 1), (12, 6), (4, (3, 0, 1, 2)), (1, 0)],
    end=ENDS[:4],
    dtype=DTYPES,
    layout=LAYOUTS,
)
def test_out_of_fir_act_is_the_same_in_a_slice(filter, end, dtype, layout, device):
    (taps, padding), (act, clamp, noise) = filter, end
    f, samples = {4: F2, 12: F12, 1: None}[taps], 1 if noise == "shared" else None
    given = fir_arguments((3, 8, 21, 18), f=f, padding=padding, samples=samples)
    x, *rest = (v.to(dtype).to(device) for v in given.values())
    x, f = x.contiguous(memory_format=layout), f if f is None else f.to(device)
    rest = [None] * 3 if noise == "nothing" else rest
    expected = fir_act(x, f, padding, False, 1.7, *rest, act, None, 1.3, clamp)
    batch = x.new_full((5, *expected.shape[1:]), 7).contiguous(memory_format=layout)
    pads = [padding] * 4 if isinstance(padding, int) else padding
    end = Epilogue(rest[2], act, None, 1.3, clamp)
    fir_act_out(batch[1:-1], x, f, pads, 1.7, rest[0], rest[1], end)
    assert torch.equal(batch[1:-1], expected)
    assert (batch[[0, -1]] == 7).all()


@pytest.mark.parametrize("act, clamp", [("linear", None), ("relu", None), ("lrelu", 1)])
def test_what_is_kept_for_the_gradient(act, clamp):
    """A bit or two a sample; x only where scale has a gradient."""
    x, scale = torch.randn(1, 8, 64, 64, requires_grad=True), torch.ones(1, 8)
    b, noise = torch.zeros(8, requires_grad=True), torch.ones(1, 1, 64, 64, requires_grad=True)
    for wanted in (False, True):
        kept = []

        def keep(t, kept=kept):
            kept.append(t)
            return t

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
            y = scale_act(x, scale.requires_grad_(wanted), noise, b, act, clamp=clamp)
        planes = (act != "linear") + (clamp is not None)
        assert sum(t.nbytes for t in kept if t.dtype == torch.uint8) * 8 == planes * y.numel()
        assert any(t.shape == x.shape for t in kept) == wanted


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_same_bits_however_many_threads(layout):
    inputs = {k: v.float() for k, v in arguments((2, 40, 96, 64), samples=1).items()}
    inputs["x"] = inputs["x"].contiguous(memory_format=layout)
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(derivatives(scale_act, inputs, act="lrelu", clamp=1))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for r in results for a, b in zip(r, results[0]))


@by_pairs(act=PIECEWISE, size=[(16, 32), (7, 9)], clamp=[None, 0.7], layout=LAYOUTS)
def test_special_values(act, size, clamp, layout, device):
    values = [float("inf"), float("-inf"), float("nan"), 3e38, -3e38, 1e-40, 0.0, -0.0]
    x, dy = rand(1, 16, *size).float(), rand(1, 16, *size, seed=1).float()
    x[0, :, 2, :8] = torch.tensor(values)
    dy[0, :, 3, :8] = torch.tensor(values)
    dy[0, :, 2, :8] = torch.inf
    dy[0, :, 2, 2] = 0  # where x is NaN nothing says what its gradient is
    x, results = x.to(device).contiguous(memory_format=layout).requires_grad_(), []
    for run in (scale_act, scale_act_ref):
        y = run(x, act=act, clamp=clamp, gain=1.0)
        results.append([y, *torch.autograd.grad(y, x, dy.to(device))])
    torch.testing.assert_close(*results, equal_nan=True)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_sums_of_a_large_image(layout):
    """Added in double: right to a few ulp, whatever there is to cancel. More than one task by one
    is as much as 64 tasks of the smallest size."""
    shape = (1, 3, 1100, 1360)
    x = torch.full(shape, 1000.1).contiguous(memory_format=layout).requires_grad_()
    dy = (rand(*shape) + 10).float().contiguous(memory_format=layout)
    scale, noise, b = (
        torch.zeros(s, requires_grad=True) for s in ((1, 3), (1, 1, *shape[2:]), (3,))
    )
    grads = torch.autograd.grad(scale_act(x, scale, noise, b), (scale, noise, b), dy)
    exact = dy.double()
    expected = (
        (exact * x[0, 0, 0, 0].double()).sum((2, 3)),
        exact.sum(1, True),
        exact.sum((0, 2, 3)),
    )
    for ours, theirs in zip(grads, expected):
        torch.testing.assert_close(ours.double(), theirs, rtol=2e-7, atol=0)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_sums_of_many_channels(layout):
    """By the 2x rule: not one after the other in float32."""
    given = arguments((2, 1000, 16, 32), ["noise"], samples=1)
    for dtype in DTYPES:
        check(scale_act, scale_act_ref, given, dtype, layout, act="linear", clamp=None)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_sums_are_taken_in_float32(layout):
    """Also of half precision, whose range they leave."""
    x = torch.full((2, 520, 8, 16), 300.0, dtype=torch.float16)
    x = x.contiguous(memory_format=layout).requires_grad_()
    given = torch.full((2, 520), 1e-3), torch.zeros(1, 1, 8, 16), torch.zeros(520)
    leaves = [t.requires_grad_() for t in given]
    y = scale_act(x, *leaves)
    dscale, dnoise, db = torch.autograd.grad(y, leaves, torch.full_like(y, 300.0))
    assert (dscale == 300 * 300 * 128).all()
    assert (dnoise == 300 * 520 * 2).all() and (db == 300 * 128 * 2).all()


@pytest.mark.parametrize("names", [(), INPUTS[1:]], ids=len)
def test_views_that_are_not_aligned(names):
    for dtype, shape in ((torch.float16, (2, 8, 16, 32)), (torch.float32, (2, 9, 5, 7))):
        given = {k: v.to(dtype) for k, v in arguments(shape, names).items()}
        views = {k: v.new_empty(v.numel() + 1)[1:].view(v.shape).copy_(v) for k, v in given.items()}
        ours, theirs = (derivatives(scale_act, g, 1, act="lrelu") for g in (views, given))
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs))
