# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from support.cases import by_pairs, mostly_thorough, on
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

from stylegan_ops import backend, conv2d_resample, setup_filter
from stylegan_ops.ops.conv2d_resample import conv2d_resample_ref

F = setup_filter([1, 3, 3, 1])
FACTORS = [(1, 1), (2, 1), (1, 2), (2, 2)]  # up, down
NUMBERS = [parameter.values[0] for parameter in fixture_cases("conv2d_resample")]


@pytest.fixture(params=BACKENDS)
def ops(request):
    """ "native" would raise for the meta device of the tests of shapes."""
    with backend("auto" if request.param == "native" else "reference"):
        yield request.param


@pytest.mark.parametrize("number", fixture_cases("conv2d_resample"))
def test_known_good(number, ops):
    check_fixture(conv2d_resample, number)


@by_pairs(number=NUMBERS, dtype=DTYPES, layout=LAYOUTS)
def test_known_good_in_every_dtype(number, dtype, layout):
    check_fixture_dtype(conv2d_resample, conv2d_resample_ref, number, dtype, layout)


@by_pairs(
    factors=[*FACTORS, (3, 1), (1, 3)],
    taps=["1331", "121", ""],
    padding=[1, 0, [2, 0, 1, 3]],
    k=[3, 1],
    groups=[1, 2],
    flip=[True, False],
)
def test_cheapest_order_equals_the_definition(factors, k, flip, groups, taps, padding):
    x, weight = rand(2, 4, 9, 8), rand(6, 4 // groups, k, k)
    f = setup_filter([int(tap) for tap in taps]) if taps else None
    args = (x, weight, f, *factors, padding, groups, flip)
    torch.testing.assert_close(conv2d_resample(*args), conv2d_resample_ref(*args))


@by_pairs(factors=FACTORS, dtype=DTYPES, k=[3, 1], flip=[True, False], layout=LAYOUTS)
def test_dtypes_and_layouts(factors, k, flip, dtype, layout, device):
    up, down = factors
    kwargs = dict(up=up, down=down, padding=k // 2, flip_weight=flip)

    def ours(x, weight, f):
        return conv2d_resample(x, weight, f, **kwargs)

    def plain(x, weight, f):
        return conv2d_resample_ref(x, weight, f, **kwargs)

    inputs = {"x": rand(2, 4, 8, 6), "weight": rand(5, 4, k, k) / 6, "f": F}
    run = on(device, ours), on(device, plain)
    check_dtype(*run, inputs, ["x", "weight"], dtype, layout)


def test_the_reference_keeps_dtype_and_layout():
    x = rand(2, 4, 8, 6).bfloat16().contiguous(memory_format=torch.channels_last)
    with backend("reference"):
        y = conv2d_resample(x, rand(5, 4, 3, 3).bfloat16(), F, up=2, padding=1)
    assert y.dtype == x.dtype and y.is_contiguous(memory_format=torch.channels_last)


@by_pairs(factors=FACTORS, k=[3, 1], flip=[True, False])
def test_gradgradcheck(factors, k, flip):
    def op(x, weight):
        return conv2d_resample(x, weight, F, *factors, k // 2, 1, flip)

    inputs = (rand(1, 2, 3, 4, grad=True), rand(1, 2, k, k, grad=True))
    assert torch.autograd.gradcheck(op, inputs)
    assert torch.autograd.gradgradcheck(op, inputs)


@pytest.mark.parametrize("up, down, k", [(2, 1, 3), (2, 1, 1), (1, 2, 3), (1, 2, 1), (2, 2, 3)])
def test_the_filter_is_flipped_when_asked(up, down, k):
    f = setup_filter([[1, 2, 3], [0, 1, 4], [2, 2, 5], [1, 0, 7]])
    x, weight = rand(2, 4, 9, 8), rand(6, 4, k, k)
    y = conv2d_resample(x, weight, f, up, down, k // 2, flip_filter=True)
    expected = conv2d_resample_ref(x, weight, f.flip([0, 1]), up, down, k // 2)
    torch.testing.assert_close(y, expected)


@pytest.mark.parametrize("up, down, k", [(1, 1, 3), (2, 1, 3), (2, 1, 1), (1, 2, 3), (1, 2, 1)])
def test_shapes_without_values(up, down, k, ops):
    """On the meta device, where `stylegan train --dry-run` and fake tensors count parameters."""
    x, weight = torch.zeros(2, 4, 8, 8), torch.zeros(6, 4, k, k)
    expected = conv2d_resample(x, weight, F, up, down, k // 2).shape
    x, weight = (t.to("meta").requires_grad_() for t in (x, weight))
    y = conv2d_resample(x, weight, F.to("meta"), up, down, k // 2)
    dx, dw = torch.autograd.grad(y.sum(), (x, weight))
    assert y.shape == expected and dx.shape == x.shape and dw.shape == weight.shape


@needs_native
@mostly_thorough(
    "up, down, k, dynamic",
    [(2, 1, 3, False), (2, 1, 3, True), (1, 2, 3, True), (1, 2, 1, False)],
    [(2, 1, 3, False)],
)
def test_compiles_without_a_break(up, down, k, dynamic):
    def layer(x, weight, f):
        return conv2d_resample(x * 2, weight, f, up, down, k // 2).square()

    torch.compiler.reset()
    compiled = torch.compile(layer, fullgraph=True, dynamic=dynamic, backend="aot_eager")
    for size in (8, 12):
        x, weight = rand(2, 4, size, size).float(), rand(6, 4, k, k).float()
        leaves = x.requires_grad_(), weight.requires_grad_()
        y, expected = compiled(*leaves, F), layer(*leaves, F)
        torch.testing.assert_close(y, expected)
        ours, theirs = (torch.autograd.grad(v.sum(), leaves) for v in (y, expected))
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "kwargs, message",
    [
        ({"weight": torch.zeros(3, 5, 3, 3)}, r"weight must be \[O, C / groups, kh, kw\]"),
        ({"groups": 2}, r"weight must be \[O, C / groups, kh, kw\]"),
        ({"up": 0}, "up and down must be integers >= 1"),
        ({"down": 1.5}, "up and down must be integers >= 1"),
        (
            {"weight": torch.zeros(3, 4, 3, 3).half()},
            "x is torch.float32 but weight is torch.float16",
        ),
    ],
)
def test_rejects(kwargs, message):
    with pytest.raises(ValueError, match=message):
        conv2d_resample(
            **{"x": torch.zeros(1, 4, 8, 8), "weight": torch.zeros(3, 4, 3, 3), **kwargs}
        )
