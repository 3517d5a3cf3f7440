# SPDX-License-Identifier: Apache-2.0
import naive
import numpy as np
import pytest
import torch
from checks import DTYPES, LAYOUTS, check_dtype, check_fixture, fixture_cases, rand

from stylegan_ops import downsample2d, filter2d, setup_filter, upfirdn2d, upsample2d

F2 = setup_filter([1, 3, 3, 1])
F1 = setup_filter([1, 2, 3, 4], separable=True)
CASES = {
    "filter": dict(f=F2, padding=[2, 1, 2, 1]),
    "up": dict(f=F2, up=2, padding=[2, 1, 2, 1], gain=4.0),
    "down": dict(f=F2, down=2, padding=1),
    "separable up and down": dict(f=F1, up=[2, 3], down=[3, 2], padding=[3, 2, 4, 1]),
    "crop": dict(f=F2, up=2, padding=[-1, 3, 2, -2], flip_filter=True),
    "wide padding": dict(f=F1, up=2, padding=9),
    "no filter": dict(f=None, up=2, down=3),
}


@pytest.mark.parametrize("number", fixture_cases("upfirdn2d"))
def test_known_good(number):
    check_fixture(upfirdn2d, number)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES)
def test_dtypes_and_layouts(case, dtype, layout):
    def ours(x):
        return upfirdn2d(x, **CASES[case])

    def plain(x):
        return naive.upfirdn2d(x, **CASES[case])

    check_dtype(ours, plain, {"x": rand(2, 3, 8, 9)}, ["x"], dtype, layout)


@pytest.mark.parametrize("case", CASES)
def test_gradgradcheck(case):
    def op(x):
        return upfirdn2d(x, **CASES[case])

    x = rand(1, 2, 5, 4, grad=True)
    assert torch.autograd.gradcheck(op, x)
    assert torch.autograd.gradgradcheck(op, x)


@pytest.mark.parametrize("taps", [[1, 3, 3, 1], [1, 2, 1], [1, 2, 3, 4, 5, 6, 6, 5, 4, 3, 2, 1]])
def test_special_cases_keep_size_and_brightness(taps):
    f, x = setup_filter(taps), torch.ones(1, 2, 24, 20)
    for op, size in ((filter2d, (24, 20)), (upsample2d, (48, 40)), (downsample2d, (12, 10))):
        y = op(x, f)
        assert y.shape[2:] == size
        # An even filter of odd length cannot treat both phases alike, so only even ones stay flat.
        if len(taps) % 2 == 0 or op is not upsample2d:
            inner = y[:, :, 8:-8, 8:-8] if size[0] > 12 else y[:, :, 6:-5, 5:-4]
            torch.testing.assert_close(inner, torch.ones_like(inner), atol=2e-2, rtol=0)


def test_upsample_and_downsample_are_centred():
    """The centre of mass of a point stays where it is, in units of the image."""
    x = torch.zeros(1, 1, 16, 16)
    x[0, 0, 8, 5] = 1
    f = setup_filter([1, 3, 3, 1])
    for y, factor in (
        (upsample2d(x, f), 2),
        (downsample2d(x, f), 0.5),
        (filter2d(x, setup_filter([1, 2, 1])), 1),
    ):
        rows = torch.arange(y.shape[2]) + 0.5
        columns = torch.arange(y.shape[3]) + 0.5
        centre = (y[0, 0].sum(1) @ rows / y.sum(), y[0, 0].sum(0) @ columns / y.sum())
        assert centre[0].item() == pytest.approx(8.5 * factor, abs=0.2)
        assert centre[1].item() == pytest.approx(5.5 * factor, abs=0.2)


def test_setup_filter():
    assert torch.equal(setup_filter(None), torch.ones(1, 1))
    assert setup_filter([1, 3, 3, 1]).shape == (4, 4)
    assert setup_filter(list(range(1, 9))).shape == (8,)
    assert setup_filter([1, 2], separable=True).shape == (2,)
    assert setup_filter(list(range(1, 9)), separable=False).shape == (8, 8)
    f = setup_filter(np.array([[1.0, 2], [3, 4]]), normalize=False, flip_filter=True, gain=2)
    assert torch.equal(f, torch.tensor([[8.0, 6], [4, 2]]))
    f = setup_filter([1, 1], separable=True, gain=4)
    assert torch.equal(f, torch.ones(2)) and f.dtype == torch.float32


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: upfirdn2d(torch.zeros(1, 1, 2, 2), F2), "filter of 4x4 does not fit .* 2x2"),
        (lambda: upfirdn2d(torch.zeros(1, 2, 2), F2), r"x must be floating \[N, C, H, W\]"),
        (lambda: upfirdn2d(torch.zeros(1, 1, 2, 2), F2, up=0), "up must be >= 1"),
        (lambda: upfirdn2d(torch.zeros(1, 1, 8, 8), F2, padding=[1, 2, 3]), "padding must be"),
        (lambda: upfirdn2d(torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 4, 4)), r"f must be \[k\]"),
        (lambda: setup_filter([]), "f must be"),
        (lambda: setup_filter([[1, 2]], separable=True), "separable=True takes a 1-D"),
    ],
)
def test_rejects(call, message):
    with pytest.raises(ValueError, match=message):
        call()
