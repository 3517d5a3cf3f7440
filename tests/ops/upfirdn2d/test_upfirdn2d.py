# SPDX-License-Identifier: Apache-2.0
"""upfirdn2d and its special cases, on every device. What only kernels can get wrong is in
test_native.py."""

import numpy as np
import pytest
import torch
from ops.upfirdn2d.cases import CASES, F1, F2, F12, LONG_CASES, RANK2, without_filter
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
from support.native import BACKENDS

from stylegan_ops import backend, downsample2d, filter2d, setup_filter, upfirdn2d, upsample2d
from stylegan_ops.ops.upfirdn2d import upfirdn2d_ref

RESAMPLERS = {"filter": filter2d, "up": upsample2d, "down": downsample2d}


@pytest.fixture(params=BACKENDS)
def ops(request):
    with backend(request.param):
        yield request.param


@pytest.mark.parametrize("number", fixture_cases("upfirdn2d"))
def test_known_good(number, device):
    check_fixture(on(device, upfirdn2d), number)


@pytest.mark.parametrize("number", fixture_cases("upfirdn2d"))
def test_the_reference_is_known_good(number):
    with backend("reference"):
        check_fixture(upfirdn2d, number)


@by_pairs(case=list(CASES), layout=LAYOUTS)
def test_the_reference_in_bfloat16(case, layout):
    x = rand(2, 8, 9, 10).to(memory_format=layout).bfloat16()
    with backend("reference"):
        y = upfirdn2d(x, **CASES[case])
    assert y.dtype == x.dtype and y.is_contiguous(memory_format=layout)
    expected = upfirdn2d_ref(x.double(), **CASES[case])
    torch.testing.assert_close(y.double(), expected, rtol=0.03, atol=0.03)


@pytest.mark.parametrize("number", fixture_cases("upfirdn2d"))
def test_known_good_in_other_dtypes(number, device):
    """In turn."""
    given = DTYPES[number % 3], LAYOUTS[number // 3 % 2]
    check_fixture_dtype(on(device, upfirdn2d), on(device, upfirdn2d_ref), number, *given)


# Few and many channels, rows that do and do not fill a vector or a tile.
@by_pairs(
    case=list(CASES),
    dtype=DTYPES,
    layout=LAYOUTS,
    shape=[(2, 3, 8, 9), (1, 16, 33, 70), (2, 64, 32, 16)],
)
def test_dtypes_and_layouts(case, dtype, layout, shape, device):
    check(case, dtype, layout, shape, device)


@by_pairs(case=list(LONG_CASES), dtype=DTYPES, layout=LAYOUTS)
def test_long_filters(case, dtype, layout, device):
    """In half precision PyTorch's own takes minutes for large images on a CPU."""
    shape = (1, 3, 12, 13) if device.type == "cpu" else (1, 16, 33, 70)
    check(case, dtype, layout, shape, device)


def check(case, dtype, layout, shape, device):
    f, kwargs = without_filter(case)

    def run(op):
        return on(device, lambda x, f: op(x, f, **kwargs))

    inputs = {"x": rand(*shape), "f": f}
    check_dtype(run(upfirdn2d), run(upfirdn2d_ref), inputs, ["x"], dtype, layout)


# The op is linear and its derivative is the op itself, which the tests above compare with the
# reference. What remains is that of the derivative.
@pytest.mark.parametrize(
    "case",
    [
        *["filter", "up", "down", "separable up and down", "crop"],
        *(pytest.param(c, marks=pytest.mark.thorough) for c in ("wide padding", "12 taps down")),
        *(pytest.param(c, marks=pytest.mark.thorough) for c in ("rank 2 up", "long down")),
    ],
)
def test_gradgradcheck(case, device):
    f, kwargs = without_filter(case)

    def op(x):
        return upfirdn2d(x, f.to(device), **kwargs)

    x = rand(1, 2, 4, 3).to(device).requires_grad_()
    assert torch.autograd.gradcheck(op, x)
    assert torch.autograd.gradgradcheck(op, x, fast_mode="long" in case)  # hundreds of results


@by_pairs(
    name=list(RESAMPLERS),
    taps=["F2", "F12", "RANK2"],
    factor=[(2, 2), (3, 1)],
    dtype=[torch.float32, torch.float64],
)
def test_special_cases_are_their_formulas(name, taps, factor, dtype, ops):
    """Paddings and gains as the specification has them; even and odd filters, factors 2 and 3."""
    f = {"F2": F2, "F12": F12, "RANK2": RANK2}[taps]
    kh, kw = f.shape[0], f.shape[-1]
    (sx, sy), (x0, x1, y0, y1) = factor, (1, -1, 2, 0)
    if name == "filter":
        padding = [x0 + kw // 2, x1 + (kw - 1) // 2, y0 + kh // 2, y1 + (kh - 1) // 2]
        given, plain = {}, {}
    elif name == "up":
        padding = [x0 + (kw + sx - 1) // 2, x1 + (kw - sx) // 2]
        padding += [y0 + (kh + sy - 1) // 2, y1 + (kh - sy) // 2]
        given, plain = {"up": factor}, {"up": factor, "gain": 1.5 * sx * sy}
    else:
        padding = [x0 + (kw - sx + 1) // 2, x1 + (kw - sx) // 2]
        padding += [y0 + (kh - sy + 1) // 2, y1 + (kh - sy) // 2]
        given, plain = {"down": factor}, {"down": factor}
    given |= {"padding": [1, -1, 2, 0], "gain": 1.5, "flip_filter": True}
    plain = {"padding": padding, "gain": 1.5, "flip_filter": True} | plain
    x = rand(2, 3, 12, 10).to(dtype)
    ours, theirs = RESAMPLERS[name](x, f, **given), upfirdn2d_ref(x, f, **plain)
    assert ours.dtype == dtype
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@by_pairs(dtype=[torch.float64, torch.float16], case=["up", "down", "12 taps up", "rank 2"])
def test_a_filter_of_another_dtype(case, dtype, ops):
    """x decides the dtype of the result; taps that float16 holds exactly give the same numbers."""
    kwargs = dict(CASES[case])
    f = (kwargs.pop("f") * 64).round() / 64
    x = rand(2, 3, 9, 8).float()
    y = upfirdn2d(x, f.to(dtype), **kwargs)
    assert y.dtype == torch.float32
    torch.testing.assert_close(y, upfirdn2d(x, f, **kwargs))


def test_float64_keeps_the_digits_of_a_float64_filter(ops):
    f, x = torch.tensor([0.1, 0.2, 0.7], dtype=torch.float64), rand(1, 2, 8, 8)
    torch.testing.assert_close(upfirdn2d(x, f), upfirdn2d_ref(x, f), rtol=1e-12, atol=1e-12)


def test_a_filter_that_is_a_view(ops):
    x, f = rand(2, 3, 9, 8).float(), RANK2
    wide = torch.stack([f, f + 1], dim=-1)
    for view in (f.t().contiguous().t(), wide[..., 0], f[:1].expand(4, 3), wide[:, 1, 0]):
        assert not view.is_contiguous()
        torch.testing.assert_close(upfirdn2d(x, view), upfirdn2d(x, view.contiguous()))


def test_a_filter_that_requires_a_gradient(ops):
    """It is "not differentiable": an error is right, so is the true gradient, silence is not."""
    x, f = rand(1, 2, 6, 6).float(), F2.clone().requires_grad_()
    expected = F2.clone().requires_grad_()
    upfirdn2d_ref(x, expected, up=2, padding=2).square().sum().backward()
    for needs_grad in (False, True):
        f.grad = None
        try:
            y = upfirdn2d(x.detach().requires_grad_(needs_grad), f, up=2, padding=2)
            y.square().sum().backward()
        except (RuntimeError, ValueError):
            continue
        torch.testing.assert_close(f.grad, expected.grad)


def test_an_empty_batch(ops):
    for case in (CASES[name] for name in ("up", "down", "separable up and down", "no filter")):
        x = torch.zeros(0, 3, 8, 8, requires_grad=True)
        y = upfirdn2d(x, **case)
        assert y.shape == (0, *upfirdn2d(torch.zeros(1, 3, 8, 8), **case).shape[1:])
        (dx,) = torch.autograd.grad(y.sum(), x)
        assert dx.shape == x.shape


@pytest.mark.parametrize("taps", [[1, 3, 3, 1], [1, 2, 1], [1, 2, 3, 4, 5, 6, 6, 5, 4, 3, 2, 1]])
def test_special_cases_keep_size_and_brightness(taps, ops):
    f, x = setup_filter(taps), torch.ones(1, 2, 24, 20)
    for op, size in ((filter2d, (24, 20)), (upsample2d, (48, 40)), (downsample2d, (12, 10))):
        y = op(x, f)
        assert y.shape[2:] == size
        # An even filter of odd length cannot treat both phases alike, so only even ones stay flat.
        if len(taps) % 2 == 0 or op is not upsample2d:
            inner = y[:, :, 8:-8, 8:-8] if size[0] > 12 else y[:, :, 6:-5, 5:-4]
            torch.testing.assert_close(inner, torch.ones_like(inner), atol=2e-2, rtol=0)


def test_upsample_and_downsample_are_centred(ops):
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
        (lambda: upfirdn2d(torch.zeros(1, 1, 8, 8).int(), F2), "x must be floating"),
        (lambda: upfirdn2d(torch.zeros(1, 1, 2, 2), F2, up=0), "up must be >= 1"),
        (lambda: upfirdn2d(torch.zeros(1, 1, 2, 2), F2, down=[1, -1]), "down must be >= 1"),
        (lambda: upfirdn2d(torch.zeros(1, 1, 4, 9), F2, padding=[-3, -3]), "does not fit .* 3x"),
        (lambda: upfirdn2d(torch.zeros(1, 1, 9, 9), F1, padding=[0, 0, -6, 0]), "fit .* 9x3"),
        (lambda: upfirdn2d(torch.zeros(1, 1, 8, 8), F2, padding=[1, 2, 3]), "padding must be"),
        (lambda: upfirdn2d(torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 4, 4)), r"f must be \[k\]"),
        (lambda: setup_filter([]), "f must be"),
        (lambda: setup_filter([[1, 2]], separable=True), "separable=True takes a 1-D"),
    ],
)
def test_rejects(call, message, ops):
    with pytest.raises(ValueError, match=message):
        call()
