# SPDX-License-Identifier: Apache-2.0
"""fir_act: the filter of an up-sampling layer together with all that follows it, in one pass. On
every device."""

import itertools

import pytest
import torch
from ops.fir_act.cases import F2, F12, FILTERS, INPUTS, arguments, check
from support.cases import by_pairs, on
from support.checks import DTYPES, LAYOUTS, layouts_of, rand
from support.native import BACKENDS, needs_native

from stylegan_ops import backend, bias_act, setup_filter, upfirdn2d
from stylegan_ops.layer.fir_act import fir_act, fir_act_ref
from stylegan_ops.runtime.activation import ACTIVATIONS, PIECEWISE
from stylegan_ops.runtime.images import memory_format

SUBSETS = [s for n in range(4) for s in itertools.combinations(INPUTS[1:], n)]


@pytest.fixture(params=BACKENDS)
def ops(request):
    with backend(request.param):
        yield request.param


# Results that have no bytes of a mask, no blocks, or both. In the third the samples share a noise.
@by_pairs(
    name=list(FILTERS),
    act=["linear", "relu", "lrelu", "swish"],
    dtype=DTYPES,
    layout=LAYOUTS,
    shape=[(2, 24, 8, 9), (2, 16, 33, 17), (3, 8, 33, 15), (1, 8, 65, 65)],
)
def test_dtypes_and_layouts(name, act, dtype, layout, shape, device):
    kwargs = FILTERS[name] | {"act": act, "clamp": 1.5}
    inputs = arguments(shape, samples=1 if shape[0] == 3 else None, **kwargs)
    check(on(device, fir_act), on(device, fir_act_ref), inputs, dtype, layout, **kwargs)


@by_pairs(
    name=list(FILTERS),
    act=["linear", "lrelu", "swish"],
    dtype=[torch.float64, torch.bfloat16],
    layout=LAYOUTS,
)
def test_the_reference_is_two_known_ops(name, act, dtype, layout):
    """Each of which has known-good numbers."""
    inputs = {k: v.to(dtype) for k, v in arguments((2, 4, 8, 9), **FILTERS[name]).items()}
    x, scale, noise, b = inputs.values()
    filters = {"fir_gain": 1.0} | FILTERS[name]
    with backend("reference"):
        y = fir_act(x.to(memory_format=layout), scale=scale, noise=noise, b=b, act=act, **filters)
        gain = filters.pop("fir_gain")
        u = upfirdn2d(x.double(), **filters, gain=gain) * scale.double()[:, :, None, None] + noise
        expected = bias_act(u, b.double(), act=act)
    assert y.dtype == dtype and y.is_contiguous(memory_format=layout)
    limit = 1e-12 if dtype == torch.float64 else 0.06
    torch.testing.assert_close(y.double(), expected, rtol=limit, atol=limit)


# 6 x 6 signs make no block, 16 x 32 one.
@by_pairs(
    names=SUBSETS,
    act=["linear", "relu", "tanh"],
    size=[(7, 7), (17, 33)],
    clamp=[None, 0.8],
    dtype=[torch.float32, torch.bfloat16, torch.float16],
    layout=LAYOUTS,
)
def test_any_of_scale_noise_and_bias(names, act, size, clamp, dtype, layout, device):
    kwargs = FILTERS["layer"] | {"act": act, "clamp": clamp}
    inputs = arguments((2, 16, *size), names, **kwargs)
    check(on(device, fir_act), on(device, fir_act_ref), inputs, dtype, layout, **kwargs)


# The last has a block of signs, and too many values for all of the differences.
@pytest.mark.parametrize("act", ["linear", "lrelu", "swish"])
@pytest.mark.parametrize(
    "name, shape", [("layer", (1, 2, 3, 3)), ("separable", (2, 2, 3, 2)), ("layer", (1, 1, 17, 33))]
)
def test_gradgradcheck(name, shape, act, device):
    kwargs = FILTERS[name] | {"act": act, "clamp": 1.1, "gain": 1.3}
    inputs = arguments(shape, samples=1, **kwargs)
    kwargs["f"] = kwargs["f"].to(device)

    def op(*values):
        return fir_act(**dict(zip(inputs, values)), **kwargs)

    values, fast = [v.to(device).requires_grad_() for v in inputs.values()], shape[2] > 3
    assert torch.autograd.gradcheck(op, values, fast_mode=fast)
    assert torch.autograd.gradgradcheck(op, values, fast_mode=fast)


@by_pairs(
    subset=[["x"], ["scale"], ["noise"], ["b"], ["x", "b"], ["noise", "b"]],
    act=["lrelu", "swish"],
    size=[8, 9, 17],
)
def test_gradients_of_some(subset, act, size):
    """Only these require one."""
    kwargs = FILTERS["layer"] | {"act": act, "clamp": 1.5}
    inputs = {k: v.float() for k, v in arguments((2, 8, size, size), **kwargs).items()}
    results = []
    for run in (fir_act, fir_act_ref):
        given = {k: v.clone().requires_grad_(k in subset) for k, v in inputs.items()}
        y = run(**given, **kwargs)
        dy = torch.linspace(-1, 1, y.numel()).view(y.shape)
        results.append(torch.autograd.grad(y, [given[k] for k in subset], dy))
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shape", [(1,), (1, 1), (3, 6, 7), (1, 6, 1), (2, 3, 6, 7), (2, 1, 1, 1)])
def test_noise_of_any_shape_that_broadcasts(shape):
    x, noise = rand(2, 3, 7, 8).float(), rand(*shape).float()
    results = []
    for run in (fir_act, fir_act_ref):
        leaf = noise.clone().requires_grad_()
        y = run(x, F2, padding=1, noise=leaf, act="lrelu")
        results.append((y, *torch.autograd.grad(y.square().sum(), leaf)))
    torch.testing.assert_close(*results, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("act", ACTIVATIONS)
def test_every_activation(act):
    inputs = arguments((2, 4, 9, 9), **FILTERS["layer"])
    kwargs = FILTERS["layer"] | {"act": act, "clamp": 2.0}
    values = [v.requires_grad_() for v in inputs.values()]
    results = []
    for run in (fir_act, fir_act_ref):
        y = run(**inputs, **kwargs)
        first = torch.autograd.grad(y.square().sum(), values, create_graph=True)
        second = torch.autograd.grad(sum(g.square().sum() for g in first), values)
        results.append([y, *first, *second])
    torch.testing.assert_close(results[0], results[1])


@pytest.mark.parametrize("alpha, gain", [(0.0, 1.0), (0.5, 0.0), (1.0, None), (None, -1.5), (2, 3)])
def test_alpha_and_gain(alpha, gain):
    inputs = {k: v.float() for k, v in arguments((2, 8, 9, 9), **FILTERS["layer"]).items()}
    values = [v.requires_grad_() for v in inputs.values()]
    results = []
    for run in (fir_act, fir_act_ref):
        y = run(**inputs, **FILTERS["layer"], act="lrelu", alpha=alpha, gain=gain, clamp=2.0)
        results.append([y, *torch.autograd.grad(y.square().sum(), values)])
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_vectors_of_another_dtype_keep_that_of_x(dtype, ops):
    """As in a network: x in half precision, scale, noise and bias in float32."""
    inputs = {k: v.float() for k, v in arguments((2, 8, 9, 9), **FILTERS["layer"]).items()}
    expected = fir_act_ref(**inputs, **FILTERS["layer"], act="lrelu", clamp=256)
    leaves = {k: (v.to(dtype) if k == "x" else v).requires_grad_() for k, v in inputs.items()}
    y = fir_act(**leaves, **FILTERS["layer"], act="lrelu", clamp=256)
    assert y.dtype == dtype
    torch.testing.assert_close(y.float(), expected, rtol=0.02, atol=0.05)
    for name, grad in zip(leaves, torch.autograd.grad(y.float().square().sum(), leaves.values())):
        assert grad.dtype == leaves[name].dtype and grad.shape == leaves[name].shape


def test_an_empty_batch(ops):
    x = torch.zeros(0, 3, 9, 9, requires_grad=True)
    b = torch.zeros(3, requires_grad=True)
    y = fir_act(
        x, F2, padding=1, scale=torch.ones(0, 3), noise=torch.ones(1, 1, 8, 8), b=b, act="lrelu"
    )
    assert y.shape == (0, 3, 8, 8)
    dx, db = torch.autograd.grad(y.sum(), (x, b))
    assert dx.shape == x.shape and not db.any()


LAYOUT_NAMES = [name for name, _ in layouts_of(torch.zeros(1, 1, 1, 1))]


@needs_native
@by_pairs(
    shape=[(1, 1, 1, 1), (2, 3, 5, 7), (2, 8, 17, 17), (1, 40, 7, 9), (1, 3, 70, 33), (3, 1, 7, 70)]
    + [(2, 64, 4, 5), (1, 8, 33, 33), (5, 3, 2, 40), (1, 2, 65, 65), (2, 13, 20, 3)]
    + [(2, 64, 3, 73), (2, 1, 3, 4609)],  # rows of y that are cut into strips
    layout=LAYOUT_NAMES,
    act_and_clamp=[("linear", None), ("linear", 1.5), ("lrelu", None), ("lrelu", 1.5)]
    + [("swish", 1.5)],
    taps=[4, 12],
)
def test_shapes_and_layouts(shape, layout, act_and_clamp, taps):
    act, clamp = act_and_clamp
    f, padding = (F12, 6) if taps == 12 else (F2, 1 if min(shape[2:]) > 1 else [2, 1, 2, 1])
    x = dict(layouts_of(rand(*shape)))[layout]
    kwargs = dict(f=f, padding=padding, act=act, clamp=clamp, fir_gain=2.0)
    inputs, results = arguments(shape, **kwargs) | {"x": x}, []
    for choice in BACKENDS:
        with backend(choice):
            values = [v.detach().requires_grad_() for v in inputs.values()]
            y = fir_act(**dict(zip(inputs, values)), **kwargs)
            dy = rand(*y.shape).requires_grad_()
            first = torch.autograd.grad(y, values, dy, create_graph=True)
            total = sum((g * rand(*g.shape, seed=7)).sum() for g in first)
            second = torch.autograd.grad(total, [dy, *values[:2]])
            results.append([y, *first, *second])
    assert results[0][0].is_contiguous(memory_format=memory_format(x))
    for j, (ours, theirs) in enumerate(zip(*results)):
        torch.testing.assert_close(
            ours, theirs, rtol=1e-9, atol=1e-9, msg=lambda m, j=j: f"result {j}: {m}"
        )


@needs_native
@pytest.mark.parametrize("act", PIECEWISE)
def test_what_is_kept_for_the_gradient(act):
    """Two bits a sample, and no value of the size of y."""
    x = torch.randn(1, 8, 65, 65, requires_grad=True)
    b, kept = torch.zeros(8, requires_grad=True), []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        y = fir_act(x, F2, padding=1, b=b, noise=torch.ones(1, 1, 64, 64), act=act, clamp=1)
    large = sum(t.nbytes for t in kept if t.numel() > 1000)
    assert large * 8 <= 2 * y.numel()


@needs_native
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_same_bits_however_many_threads(layout):
    inputs = {k: v.float() for k, v in arguments((2, 8, 129, 129), **FILTERS["layer"]).items()}
    inputs["x"] = inputs["x"].to(memory_format=layout)
    before, results = torch.get_num_threads(), []
    leaves = {k: v.requires_grad_() for k, v in inputs.items()}
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            y = fir_act(**leaves, **FILTERS["layer"], act="lrelu", clamp=1)
            (dx, db) = torch.autograd.grad(y.square().sum(), (leaves["x"], leaves["b"]))
            results.append((y, dx, db))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for r in results for a, b in zip(r, results[0]))


@needs_native
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("act", PIECEWISE)
def test_special_values(act, layout):
    values = [float("inf"), float("-inf"), float("nan"), 3e38, -3e38, 1e-40, 0.0, -0.0]
    x = rand(1, 16, 33, 33).float()
    x[0, :, 7::9, 7::9] = torch.tensor(values * 2)[:, None, None]
    x = x.to(memory_format=layout)
    for clamp in (None, 0.7):
        kwargs = dict(f=setup_filter([1, 2], separable=False), act=act, clamp=clamp)
        results = [fir_act(x, **kwargs), fir_act_ref(x, **kwargs)]
        torch.testing.assert_close(*results, equal_nan=True)


@pytest.mark.parametrize(
    "kwargs, message",
    [
        ({"act": "gelu"}, "act must be one of linear, .*'gelu'"),
        ({"clamp": -1}, "clamp must be >= 0"),
        ({"b": torch.zeros(1)}, r"b must have shape \[3\], got \[1\]"),
        ({"b": torch.zeros(1, 3)}, r"b must have shape \[3\]"),
        ({"padding": -3}, "filter of 4x4 does not fit .* 2x2"),
    ],
)
def test_rejects(kwargs, message, ops):
    """As the two ops that it stands for do: `modulated_conv2d` has no other check of these."""
    with pytest.raises(ValueError, match=message):
        fir_act(torch.zeros(1, 3, 8, 8), F2, **{"padding": 1, "act": "lrelu", **kwargs})


def test_a_scale_beyond_float16_does_not_make_nan(ops):
    """The demodulation of an almost silent channel, where the filtered image is 0."""
    x = torch.zeros(2, 64, 17, 17, dtype=torch.float16, requires_grad=True)
    for size in (17, 16):  # with and without a fused mask
        scale = torch.full((2, 64), 6.8e5, requires_grad=True)
        y = fir_act(x[..., :size, :size], F2, 1, scale=scale, act="lrelu")
        grads = torch.autograd.grad(y.float().sum(), (x, scale))
        assert all(t.isfinite().all() for t in (y, grads[1]))


@needs_native
def test_gradient_of_scale_is_summed_in_float32():
    x = torch.full((1, 8, 65, 65), 300.0, dtype=torch.float16, requires_grad=True)
    scale = torch.full((1, 8), 1e-3, requires_grad=True)
    y = fir_act(x, F2, 1, scale=scale)
    (dscale,) = torch.autograd.grad(y, scale, torch.full_like(y, 300.0))
    assert 3e8 < dscale.min() and dscale.max() < 4e8
