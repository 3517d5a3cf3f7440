# SPDX-License-Identifier: Apache-2.0
"""scale_act: what a modulated convolution begins and ends with, in one pass."""

import itertools

import pytest
import torch
from ops.scale_act.cases import INPUTS, arguments, check, derivatives
from support.cases import by_pairs, on
from support.checks import DTYPES, LAYOUTS, layouts_of, rand
from support.native import BACKENDS, needs_native

from stylegan_ops import backend, bias_act
from stylegan_ops.layer.gradients import _from_parts, _sums_channels
from stylegan_ops.layer.scale_act import _op, scale_act, scale_act_ref
from stylegan_ops.runtime.activation import PIECEWISE
from stylegan_ops.runtime.images import memory_format

SUBSETS = [s for n in range(4) for s in itertools.combinations(INPUTS[1:], n)]
ACTS = [
    *[("linear", None), ("lrelu", 1.5), ("relu", None), ("linear", 1.5), ("lrelu", None)],
    *[("relu", 0.8), ("swish", 1.5)],
]


@pytest.fixture(params=BACKENDS)
def ops(request):
    with backend(request.param):
        yield request.param


# No block of signs in either layout, in both, and in channels_last alone; several tiles of channels
# and several slices on a GPU. Of images of a pixel the sums are a few numbers.
@by_pairs(
    shape=[(2, 24, 8, 9), (3, 40, 48, 32), (2, 64, 4, 10), (2, 264, 12, 16), (2, 3, 5, 7)]
    + [(1, 3, 131, 129), (2, 1, 40, 200)],
    ends=ACTS,
    dtype=DTYPES,
    layout=LAYOUTS,
    samples=[None, 1],
)
def test_dtypes_and_layouts(shape, ends, dtype, layout, samples, device):
    act, clamp = ends
    inputs = arguments(shape, samples=samples)
    ops = on(device, scale_act), on(device, scale_act_ref)
    check(*ops, inputs, dtype, layout, act=act, clamp=clamp)


@by_pairs(ends=ACTS, dtype=[torch.float64, torch.bfloat16], layout=LAYOUTS)
def test_the_reference_is_its_formula(ends, dtype, layout):
    """With `bias_act`, of which there are known-good numbers."""
    act, clamp = ends
    inputs = {k: v.to(dtype) for k, v in arguments((2, 4, 6, 7)).items()}
    inputs["x"] = inputs["x"].to(memory_format=layout)
    with backend("reference"):
        y = scale_act(**inputs, act=act, clamp=clamp)
        x, scale, noise, b = (v.double() for v in inputs.values())
        expected = bias_act(x * scale[:, :, None, None] + noise, b, act=act, clamp=clamp)
    assert y.dtype == dtype and y.is_contiguous(memory_format=layout)
    limit = 1e-12 if dtype == torch.float64 else 0.06
    torch.testing.assert_close(y.double(), expected, rtol=limit, atol=limit)


@by_pairs(
    names=SUBSETS,
    ends=ACTS,
    size=[(6, 7), (16, 32)],  # without a block of signs and with
    dtype=DTYPES,
    layout=LAYOUTS,
)
def test_any_of_scale_noise_and_bias(names, ends, size, dtype, layout, device):
    act, clamp = ends
    inputs = arguments((2, 9, *size), names)
    ops = on(device, scale_act), on(device, scale_act_ref)
    check(*ops, inputs, dtype, layout, act=act, clamp=clamp)


# The last two have a block of signs, and too many values for all of the differences.
@pytest.mark.parametrize("act", ["linear", "lrelu", "swish"])
@pytest.mark.parametrize(
    "shape, layout, samples",
    [
        ((2, 2, 1, 2), torch.contiguous_format, 1),
        ((2, 1, 16, 32), torch.contiguous_format, None),
        ((2, 16, 4, 8), torch.channels_last, 1),
    ],
)
def test_gradgradcheck(shape, layout, samples, act, device):
    inputs = arguments(shape, samples=samples)
    inputs["x"] = inputs["x"].contiguous(memory_format=layout)

    def op(*values):
        return scale_act(**dict(zip(inputs, values)), act=act, clamp=1.1, gain=1.3)

    values, fast = [v.to(device).requires_grad_() for v in inputs.values()], shape[3] > 2
    assert torch.autograd.gradcheck(op, values, fast_mode=fast)
    assert torch.autograd.gradgradcheck(op, values, fast_mode=fast)


SHAPES = [
    *[(1, 1, 1, 1), (2, 3, 5, 7), (2, 8, 16, 32), (1, 40, 7, 9), (2, 64, 4, 8), (3, 16, 1, 1)],
    *[(2, 512, 1, 1), (3, 13, 32, 48), (1, 1, 9, 300), (5, 3, 2, 40), (2, 1, 64, 96)],
]
# Several tasks a sample, of which each is several pieces; with blocks of signs and without.
LARGE = [(1, 40, 64, 64), (2, 3, 200, 128), (1, 2, 301, 149), (1, 264, 17, 16)]


LAYOUT_NAMES = [name for name, _ in layouts_of(torch.zeros(1, 1, 1, 1))]


def check_derivatives(shape, layout, ends, samples):
    """By kernels and by the reference."""
    x, (act, clamp), results = dict(layouts_of(rand(*shape)))[layout], ends, []
    for choice in BACKENDS:
        with backend(choice):
            inputs = arguments(shape, samples=samples) | {"x": x}
            results.append(derivatives(scale_act, inputs, act=act, clamp=clamp))
    assert results[0][0].is_contiguous(memory_format=memory_format(x))
    for j, (ours, theirs) in enumerate(zip(*results)):
        torch.testing.assert_close(
            ours, theirs, rtol=1e-9, atol=1e-8, msg=lambda m, j=j: f"result {j}: {m}"
        )


@needs_native
@by_pairs(shape=SHAPES, layout=LAYOUT_NAMES, ends=ACTS, samples=[None, 1])
def test_shapes_and_layouts(shape, layout, ends, samples):
    check_derivatives(shape, layout, ends, samples)


@needs_native
@by_pairs(shape=LARGE, layout=LAYOUT_NAMES[:2], ends=ACTS, samples=[None, 1])
def test_large_images(shape, layout, ends, samples):
    check_derivatives(shape, layout, ends, samples)


@by_pairs(act=PIECEWISE, size=[(3, 5), (16, 32)], layout=LAYOUTS)
def test_third_derivatives(act, size, layout):
    inputs = arguments((2, 3, *size), samples=1)
    inputs["x"] = inputs["x"].contiguous(memory_format=layout)
    ours, theirs = (
        derivatives(op, inputs, 3, act=act, clamp=1.5) for op in (scale_act, scale_act_ref)
    )
    torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-6)


@by_pairs(
    names=[["x"], ["scale"], ["noise"], ["b"], ["scale", "noise"], ["x", "b"], ["noise", "b"]],
    act=["lrelu", "swish"],
    shape=[(2, 8, 5, 6), (2, 8, 16, 32), (2, 264, 16, 16)],
    layout=LAYOUTS,
)
def test_gradients_of_some(names, act, shape, layout, device):
    """Only these require one; twice."""
    inputs = {k: v.to(device) for k, v in arguments(shape).items()}
    inputs["x"] = inputs["x"].contiguous(memory_format=layout)
    ours, theirs = (
        derivatives(op, inputs, 2, names, act=act, clamp=1.5) for op in (scale_act, scale_act_ref)
    )
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-8)


@needs_native
@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("size", [(8, 8), (16, 32)])  # blocks in channels_last alone, and in both
def test_gradients_in_any_layout(size, late):
    """dy has the layout of what follows. late: of a graph that was exported where no derivative was
    wanted, in which the mask is made when one is."""
    inputs, dy = arguments((2, 8, *size)), rand(2, 8, *size, seed=3)
    x = inputs["x"]
    every_other = x.repeat_interleave(2, 0).contiguous(memory_format=torch.channels_last)[::2]
    layouts = [*layouts_of(x), ("every other sample of channels_last", every_other)]
    for i, (layout, x) in enumerate(layouts):
        results, theirs = [], LAYOUTS[(i + late) % 2]
        for run in (scale_act, scale_act_ref):
            leaves = [v.detach().requires_grad_() for v in (inputs | {"x": x}).values()]
            if late and run is scale_act:
                y = _op(*leaves, 0.26, 1.3, 1.5, 0)[0]
            else:
                y = run(*leaves, act="lrelu", gain=1.3, clamp=1.5)
            given = dy.contiguous(memory_format=theirs)
            results.append([y, *torch.autograd.grad(y, leaves, given)])
        torch.testing.assert_close(*results, msg=lambda m, layout=layout: f"{layout}: {m}")


@pytest.mark.parametrize(
    "shape",
    [(1,), (1, 1, 1, 1), (2, 3, 8, 8), (3, 1, 1), (8, 8), (1, 8, 1), (1, 3, 8, 8), (2, 1, 1, 1)],
)
def test_noise_of_any_shape_that_broadcasts(shape):
    inputs = {k: v.float() for k, v in arguments((2, 3, 8, 8), ["scale", "b"]).items()}
    inputs["noise"] = rand(*shape).float()
    act = ["lrelu", "swish"][len(shape) % 2]
    ours, theirs = (derivatives(op, inputs, act=act) for op in (scale_act, scale_act_ref))
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("alpha, gain", [(0.0, 1.0), (0.5, 0.0), (1.0, None), (None, -1.5), (2, 3)])
def test_alpha_and_gain(alpha, gain):
    for size in ((5, 7), (16, 32)):
        inputs = {k: v.float() for k, v in arguments((2, 3, *size)).items()}
        kwargs = dict(act="lrelu", alpha=alpha, gain=gain, clamp=2.0)
        ours, theirs = (derivatives(op, inputs, 1, **kwargs) for op in (scale_act, scale_act_ref))
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_vectors_of_another_dtype_keep_that_of_x(dtype, ops):
    """As in a network: x in half precision, scale, noise and bias in float32."""
    for size in ((9, 9), (16, 32)):
        inputs = {k: v.float() for k, v in arguments((2, 8, *size)).items()}
        expected = scale_act_ref(**inputs, act="lrelu", clamp=256)
        leaves = {k: (v.to(dtype) if k == "x" else v).requires_grad_() for k, v in inputs.items()}
        y = scale_act(**leaves, act="lrelu", clamp=256)
        assert y.dtype == dtype
        torch.testing.assert_close(y.float(), expected, rtol=0.02, atol=0.05)
        grads = torch.autograd.grad(y.float().square().sum(), leaves.values())
        for grad, leaf in zip(grads, leaves.values()):
            assert grad.dtype == leaf.dtype and grad.shape == leaf.shape


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_empty_batch(layout, device):
    x = torch.zeros(0, 8, 9, 9, device=device).to(memory_format=layout).requires_grad_()
    shapes = (0, 8), (1, 1, 9, 9), (8,)
    scale, noise, b = (torch.ones(*s, device=device, requires_grad=True) for s in shapes)
    for act in ("lrelu", "swish"):
        y = scale_act(x, scale, noise, b, act, clamp=1)
        assert y.shape == x.shape
        grads = torch.autograd.grad(y.sum(), (x, scale, noise, b))
        assert [g.shape for g in grads] == [t.shape for t in (x, scale, noise, b)]
        assert not any(g.any() for g in grads)


@pytest.mark.parametrize(
    "kwargs, message",
    [
        ({"act": "gelu"}, "act must be one of linear, .*'gelu'"),
        ({"clamp": -1}, "clamp must be >= 0"),
        ({"b": torch.zeros(1)}, r"b must have shape \[3\], got \[1\]"),
        ({"b": torch.zeros(1, 3)}, r"b must have shape \[3\]"),
    ],
)
def test_rejects(kwargs, message, ops):
    with pytest.raises(ValueError, match=message):
        scale_act(torch.zeros(1, 3, 8, 8), **{"act": "lrelu", **kwargs})


def test_to_each_channel_what_its_part_of_a_sum_has():
    """Parts of more than one are CUDA's alone: the adjoint is checked here."""
    dv, dparts = rand(2, 600, 2, 3), rand(3, 2, 1, 2, 3)
    parts = torch.stack([p.sum(1, keepdim=True) for p in dv.split(256, 1)])
    torch.testing.assert_close((parts * dparts).sum(), (dv * _from_parts(dparts, dv.shape)).sum())


@pytest.mark.parametrize(
    "shape, expected",
    [((2, 8, 3, 4), True), ((2, 9, 3, 4), False), ((0, 8, 3, 4), False), ((2, 8, 1, 1), False)],
)
def test_where_cuda_sums_channels(shape, expected):
    """As csrc/cuda_library.cpp has it, which refuses anything else."""
    for layout in LAYOUTS:
        x = torch.empty(shape, device="meta").contiguous(memory_format=layout)
        last = layout == torch.channels_last
        assert _sums_channels(x, x.stride()) == (expected and last)


def test_a_scale_beyond_float16_does_not_make_nan(ops):
    """The demodulation of an almost silent channel, where the image is 0."""
    x = torch.zeros(2, 64, 16, 32, dtype=torch.float16, requires_grad=True)
    for size in (32, 31):  # with and without a fused mask
        scale = torch.full((2, 64), 6.8e5, requires_grad=True)
        y = scale_act(x[..., :size], scale, act="lrelu")
        grads = torch.autograd.grad(y.float().sum(), (x, scale))
        assert all(t.isfinite().all() for t in (y, grads[1]))
        torch.testing.assert_close(y, scale_act_ref(x[..., :size], scale, act="lrelu"))
