# SPDX-License-Identifier: Apache-2.0
import itertools

import naive
import pytest
import torch
from checks import DTYPES, LAYOUTS, check_dtype, check_fixture, fixture_cases, rand

from stylegan_ops import conv2d_resample, setup_filter
from stylegan_ops.conv2d_resample import conv2d_resample_ref

F = setup_filter([1, 3, 3, 1])
ODD = setup_filter([1, 2, 1])
CASES = [
    (up, down, k, flip)
    for (up, down), k, flip in itertools.product(
        [(1, 1), (2, 1), (1, 2), (2, 2)], [1, 3], [True, False]
    )
]


@pytest.mark.parametrize("number", fixture_cases("conv2d_resample"))
def test_known_good(number):
    check_fixture(conv2d_resample, number)


@pytest.mark.parametrize("f", [F, ODD, None], ids=["1331", "121", "none"])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("up, down, k, flip", [*CASES, (3, 1, 3, True), (1, 3, 3, True)])
def test_cheapest_order_equals_the_definition(up, down, k, flip, groups, f):
    x, weight = rand(2, 4, 9, 8), rand(6, 4 // groups, k, k)
    for padding in (k // 2, 0, [2, 0, 1, 3]):
        args = (x, weight, f, up, down, padding, groups, flip)
        y, expected = conv2d_resample(*args), naive.conv2d_resample(*args)
        torch.testing.assert_close(y, expected)
        torch.testing.assert_close(conv2d_resample_ref(*args), expected)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("up, down, k, flip", CASES)
def test_dtypes_and_layouts(up, down, k, flip, dtype, layout):
    kwargs = dict(f=F, up=up, down=down, padding=k // 2, flip_weight=flip)

    def ours(x, weight):
        return conv2d_resample(x, weight, **kwargs)

    def plain(x, weight):
        return naive.conv2d_resample(x, weight, **kwargs)

    inputs = {"x": rand(2, 4, 8, 6), "weight": rand(5, 4, k, k) / 6}
    check_dtype(ours, plain, inputs, ["x", "weight"], dtype, layout)


@pytest.mark.parametrize("up, down, k, flip", CASES)
def test_gradgradcheck(up, down, k, flip):
    def op(x, weight):
        return conv2d_resample(x, weight, F, up, down, k // 2, 1, flip)

    inputs = (rand(1, 2, 4, 4, grad=True), rand(2, 2, k, k, grad=True))
    assert torch.autograd.gradcheck(op, inputs)
    assert torch.autograd.gradgradcheck(op, inputs)


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
