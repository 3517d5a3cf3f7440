# SPDX-License-Identifier: Apache-2.0
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
    rand,
)
from support.native import BACKENDS, needs_native

from stylegan_ops import backend, conv2d_resample, setup_filter
from stylegan_ops.ops.conv2d_resample import conv2d_resample_ref

F = setup_filter([1, 3, 3, 1])
ODD = setup_filter([1, 2, 1])
CASES = [
    (up, down, k, flip)
    for (up, down), k, flip in itertools.product(
        [(1, 1), (2, 1), (1, 2), (2, 2)], [1, 3], [True, False]
    )
]


@pytest.fixture(params=BACKENDS)
def ops(request):
    """ "native" would raise for the meta device of the tests of shapes."""
    with backend("auto" if request.param == "native" else "reference"):
        yield request.param


@pytest.mark.parametrize("number", fixture_cases("conv2d_resample"))
def test_known_good(number, ops):
    check_fixture(conv2d_resample, number)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("number", fixture_cases("conv2d_resample"))
def test_known_good_in_every_dtype(number, dtype, layout, ops):
    check_fixture_dtype(conv2d_resample, conv2d_resample_ref, number, dtype, layout)


@pytest.mark.parametrize("f", [F, ODD, None], ids=["1331", "121", "none"])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("up, down, k, flip", [*CASES, (3, 1, 3, True), (1, 3, 3, True)])
def test_cheapest_order_equals_the_definition(up, down, k, flip, groups, f, ops):
    x, weight = rand(2, 4, 9, 8), rand(6, 4 // groups, k, k)
    for padding in (k // 2, 0, [2, 0, 1, 3]):
        args = (x, weight, f, up, down, padding, groups, flip)
        y, expected = conv2d_resample(*args), conv2d_resample_ref(*args)
        torch.testing.assert_close(y, expected)
        torch.testing.assert_close(conv2d_resample_ref(*args), expected)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("up, down, k, flip", CASES)
def test_dtypes_and_layouts(up, down, k, flip, dtype, layout, ops):
    kwargs = dict(f=F, up=up, down=down, padding=k // 2, flip_weight=flip)

    def ours(x, weight):
        return conv2d_resample(x, weight, **kwargs)

    def plain(x, weight):
        return conv2d_resample_ref(x, weight, **kwargs)

    inputs = {"x": rand(2, 4, 8, 6), "weight": rand(5, 4, k, k) / 6}
    check_dtype(ours, plain, inputs, ["x", "weight"], dtype, layout)


@pytest.mark.parametrize("up, down, k, flip", CASES)
def test_gradgradcheck(up, down, k, flip, ops):
    def op(x, weight):
        return conv2d_resample(x, weight, F, up, down, k // 2, 1, flip)

    inputs = (rand(1, 2, 4, 4, grad=True), rand(2, 2, k, k, grad=True))
    assert torch.autograd.gradcheck(op, inputs)
    assert torch.autograd.gradgradcheck(op, inputs)


@pytest.mark.parametrize("up, down, k", [(2, 1, 3), (2, 1, 1), (1, 2, 3), (1, 2, 1), (2, 2, 3)])
def test_the_filter_is_flipped_when_asked(up, down, k, ops):
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
@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("up, down, k", [(2, 1, 3), (1, 2, 3), (1, 2, 1)])
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
