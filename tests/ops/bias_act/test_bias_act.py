# SPDX-License-Identifier: Apache-2.0
"""bias_act against known-good numbers and its definition: values, gradients, layouts."""

import pytest
import torch
from support.cases import by_pairs, on
from support.checks import (
    DTYPES,
    LAYOUTS,
    check_dtype,
    check_fixture,
    check_fixture_dtype,
    fixture_cases,
    rand,
)
from support.native import BACKENDS, needs_native

from stylegan_ops import backend, bias_act
from stylegan_ops.ops.bias_act import bias_act_ref
from stylegan_ops.runtime.activation import ACTIVATIONS, PIECEWISE

SMOOTH = [act for act in ACTIVATIONS if act not in PIECEWISE]


@pytest.fixture(params=BACKENDS)
def ops(request):
    with backend(request.param):
        yield request.param


@pytest.mark.parametrize("number", fixture_cases("bias_act"))
def test_known_good(number, device):
    check_fixture(on(device, bias_act), number)


@pytest.mark.parametrize("number", fixture_cases("bias_act"))
def test_the_reference_is_known_good(number):
    with backend("reference"):
        check_fixture(bias_act, number)


@by_pairs(act=list(ACTIVATIONS), layout=LAYOUTS, clamp=[None, 0.7])
def test_the_reference_in_bfloat16(act, layout, clamp):
    x, b = rand(2, 3, 5, 7).to(memory_format=layout).bfloat16(), rand(3).bfloat16()
    with backend("reference"):
        y = bias_act(x, b, act=act, clamp=clamp)
    assert y.dtype == x.dtype and y.stride() == x.stride()
    expected = bias_act_ref(x.double(), b.double(), act=act, clamp=clamp)
    torch.testing.assert_close(y.double(), expected, rtol=0.02, atol=0.02)


@pytest.mark.parametrize("number", fixture_cases("bias_act"))
def test_known_good_in_other_dtypes(number, device):
    """Three cases of each activation: one in each dtype."""
    check_fixture_dtype(on(device, bias_act), on(device, bias_act_ref), number, DTYPES[number % 3])


# Channels of short runs and of long ones, whole groups of 8 and others.
@by_pairs(
    act=list(ACTIVATIONS),
    dtype=DTYPES,
    layout=LAYOUTS,
    shape=[(2, 6, 5, 7), (3, 16, 8, 8), (2, 24, 33, 31)],
    clamp=[1.5, None],
)
def test_dtypes_and_layouts(act, dtype, layout, shape, clamp, device):
    def run(op):
        return on(device, lambda x, b: op(x, b, act=act, clamp=clamp))

    inputs = {"x": rand(*shape), "b": rand(shape[1])}
    check_dtype(run(bias_act), run(bias_act_ref), inputs, ["x", "b"], dtype, layout)


@pytest.mark.parametrize("act", ["linear", "lrelu", *SMOOTH])
def test_gradgradcheck(act, device):
    x, b = (t.to(device).requires_grad_() for t in (rand(2, 3, 2), rand(3)))

    def op(x, b):
        return bias_act(x, b, act=act, gain=1.3, clamp=1.1)

    assert torch.autograd.gradcheck(op, (x, b))
    assert torch.autograd.gradgradcheck(op, (x, b))


def test_bias_of_another_dtype_keeps_that_of_x(ops):
    y = bias_act(torch.ones(2, 3, dtype=torch.float16), torch.ones(3))
    assert y.dtype == torch.float16 and torch.equal(y, torch.full_like(y, 2))


@pytest.mark.parametrize("dim", [0, 1, 2, -1])
def test_bias_along_any_dimension(dim, ops):
    x, b = rand(3, 3, 3), rand(3)
    expected = (x.movedim(dim, -1) + b).movedim(-1, dim)
    assert torch.equal(bias_act(x, b, dim=dim), expected)


# Sizes around the kernels' blocks, runs and patterns; (shape, dim).
SHAPES = [
    ((), 0),
    ((1,), 0),
    ((513,), 0),
    ((0, 3, 4, 4), 1),
    ((3, 0), 0),
    ((2, 700), 1),
    ((700, 2), 0),
    ((2, 3, 5, 7), 1),
    ((1, 1, 33, 31), 1),
    ((2, 5, 16, 9), 1),
    ((2, 3, 37, 41), 1),
    ((3, 6, 5, 4), 0),
    ((3, 6, 5, 4), 2),
    ((3, 6, 5, 4), 3),
    ((2, 3, 4, 5, 6), 1),
    ((1, 40000, 2), 1),
    ((1, 2, 300, 300), 1),
]


def layouts_of(x):
    """(name, x in that layout) for layouts that a kernel may meet."""
    yield "contiguous", x.contiguous()
    if x.ndim == 4:
        yield "channels_last", x.contiguous(memory_format=torch.channels_last)
    if x.ndim > 1:
        yield "permuted", x.transpose(0, -1).contiguous().transpose(0, -1)
        yield "gaps", torch.stack([x, x], dim=-1)[..., 0]
        yield "expanded", x[:1].expand(x.shape)
    offset = x.new_empty(x.numel() + 1)[1:].view(x.shape)
    yield "misaligned", offset.copy_(x)


@needs_native
@pytest.mark.parametrize("shape, dim", SHAPES)
def test_shapes_and_layouts(shape, dim):
    """Each layout with one of two activations, in turn; large images in three layouts."""
    x0, b0 = rand(*shape).float(), rand(shape[dim]).float() if shape else None
    turn = SHAPES.index((shape, dim))
    for i, (name, x) in enumerate(layouts_of(x0)):
        if i > 2 and x.numel() > 20000:
            break
        act, results = ["lrelu", "swish"][(turn + i) % 2], {}
        for choice in BACKENDS:
            with backend(choice):
                leaves = [x.clone(memory_format=torch.preserve_format).requires_grad_()]
                leaves += [] if b0 is None else [b0.clone().requires_grad_()]
                given = x.detach().requires_grad_()
                y = bias_act(given, *leaves[1:], dim=dim, act=act, clamp=1.5)
                dy = torch.linspace(-1, 1, y.numel()).view(y.shape).requires_grad_()
                grads = torch.autograd.grad(y, [given, *leaves[1:]], dy, create_graph=True)
                total = sum(
                    (g * torch.linspace(-2, 1, g.numel()).view(g.shape)).sum() for g in grads
                )
                second = torch.autograd.grad(total, dy)
                results[choice] = y, *grads, *second
        assert results["native"][0].stride() == torch.empty_like(x).stride(), name
        for ours, theirs in zip(results["native"], results["reference"]):
            assert ours.shape == theirs.shape and ours.dtype == theirs.dtype
            torch.testing.assert_close(
                ours, theirs, rtol=1e-5, atol=1e-5 * max(1, x.numel() ** 0.5)
            )


@needs_native
@pytest.mark.parametrize("act", ["linear", "lrelu", *SMOOTH])
def test_third_derivative(act):
    x0, b0, weights = rand(2, 3, 4), rand(3), rand(2, 3, 4, seed=5)
    results = []
    for choice in BACKENDS:
        with backend(choice):
            x, b = x0.clone().requires_grad_(), b0.clone().requires_grad_()
            value = bias_act(x, b, act=act, gain=1.3, clamp=2.0)
            for _ in range(3):
                (g,) = torch.autograd.grad((value * weights * x.sin()).sum(), x, create_graph=True)
                value = g
            results.append(value)
    torch.testing.assert_close(*results)


@needs_native
@pytest.mark.parametrize("act", ["linear", "lrelu", "tanh", "swish"])
def test_third_derivative_of_a_plain_sum(act):
    """Where the cotangent does not depend on anything."""
    results = []
    for choice in BACKENDS:
        with backend(choice):
            x = rand(2, 3, 4).requires_grad_()
            value = bias_act(x, act=act).sum()
            for _ in range(3):
                if value.requires_grad:
                    (g,) = torch.autograd.grad(value, x, create_graph=True, materialize_grads=True)
                    value = g.sum()
            results.append(g)
    if act in PIECEWISE:  # no dependence, where the reference has zeros
        assert not results[1].any() or act == "linear"
    else:
        torch.testing.assert_close(*results)


@needs_native
@pytest.mark.parametrize("act", ["relu", "lrelu", "tanh"])
def test_an_infinite_clamp_is_none(act):
    x = rand(2, 3, 40, 40).float().requires_grad_()
    for clamp in (None, float("inf")):
        junk = torch.full((1 << 16,), 0x5A, dtype=torch.uint8)  # noqa: F841 for what is not written
        del junk
        y = bias_act(x, act=act, clamp=clamp)
        (dx,) = torch.autograd.grad(y.sum(), x)
        with backend("reference"):
            (expected,) = torch.autograd.grad(bias_act(x, act=act).sum(), x)
        torch.testing.assert_close(dx, expected)


@needs_native
@pytest.mark.parametrize("act", ["relu", "tanh", "elu"])
def test_an_infinite_gradient_stops_where_the_slope_is_0(act):
    x = torch.tensor([-3.0, 3.0]).requires_grad_()
    results = []
    for choice in BACKENDS:
        with backend(choice):
            y = bias_act(x, act=act, clamp=0.5)
            results.append(torch.autograd.grad(y, x, torch.tensor([float("inf")] * 2))[0])
    torch.testing.assert_close(*results, equal_nan=True)


@needs_native
@pytest.mark.parametrize("act", ACTIVATIONS)
@pytest.mark.parametrize("clamp", [None, 0.7])
def test_special_values(act, clamp):
    values = [0.0, -0.0, 1e-30, -1e-30, 80, -80, 1e4, -1e4, 3e38, -3e38]
    values += [float("inf"), float("-inf"), float("nan")]
    x = torch.tensor(values * 50)
    with backend("reference"):
        expected = bias_act(x, act=act, clamp=clamp)
    torch.testing.assert_close(bias_act(x, act=act, clamp=clamp), expected, equal_nan=True)
    for dtype in (torch.float16, torch.bfloat16):  # rounding at the ends of the range
        rounded = x.to(dtype)
        assert torch.equal(bias_act(rounded, gain=1)[: len(values) - 1], rounded[: len(values) - 1])
        small = torch.arange(-3000, 3000).to(torch.int16).view(dtype).nan_to_num()
        scaled = bias_act(small, gain=0.37)
        assert torch.equal(scaled, (small.float() * 0.37).to(dtype))


@needs_native
def test_sums_do_not_depend_on_the_number_of_threads():
    x, before = rand(4, 8, 128, 128).float().requires_grad_(), torch.get_num_threads()
    for layout in LAYOUTS:
        sums = []
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            b = torch.zeros(8, requires_grad=True)
            y = bias_act(x.contiguous(memory_format=layout), b, act="lrelu")
            sums.append(torch.autograd.grad(y, b, torch.ones_like(y))[0])
        torch.set_num_threads(before)
        assert all(torch.equal(sums[0], s) for s in sums)


@pytest.mark.parametrize(
    "kwargs, message",
    [
        ({"act": "gelu"}, "act must be one of linear, .*'gelu'"),
        ({"b": torch.zeros(4)}, r"b must have shape \[3\], got \[4\]"),
        ({"b": torch.zeros(1, 3)}, r"b must have shape \[3\]"),
        ({"b": torch.zeros(3), "dim": 2}, "dim 2 is out of range"),
        ({"clamp": -1}, "clamp must be >= 0"),
        ({"x": torch.zeros(2, 3, dtype=torch.int32)}, "x must be floating"),
        ({"x": torch.zeros(2, 3).to(torch.float8_e5m2)}, "x must be floating"),
        ({"x": torch.zeros(2, 3, dtype=torch.complex64)}, "x must be floating"),
    ],
)
def test_rejects(kwargs, message):
    with pytest.raises(ValueError, match=message):
        bias_act(**{"x": torch.zeros(2, 3), **kwargs})
