# SPDX-License-Identifier: Apache-2.0
"""warp_affine on every device, by both backends."""

import pytest
import torch
from ops.warp_affine.cases import F4, F12, FILTERS, MATRICES, NOT_FINITE, matrix, mixed
from support.cases import by_pairs
from support.checks import DTYPES, LAYOUTS, check_dtype, rand
from support.native import BACKENDS

from stylegan_ops import backend, warp_affine
from stylegan_ops.ops.warp_affine import warp_affine_ref

SHAPES = [(2, 3, 8, 8), (1, 1, 16, 24), (3, 4, 33, 20), (1, 3, 64, 64), (2, 1, 1, 1), (1, 2, 3, 2)]


@pytest.fixture(params=BACKENDS)
def ops(request):
    with backend(request.param):
        yield request.param


@by_pairs(shape=SHAPES, name=list(MATRICES), filter=list(FILTERS))
def test_float64(shape, name, filter, device):
    f, m = FILTERS[filter].to(device), matrix(name, shape[0]).to(device)
    x, dy = rand(*shape).to(device).requires_grad_(), rand(*shape, seed=1).to(device)
    expected, y = warp_affine_ref(x, m, f), warp_affine(x, m, f)
    (expected_dx,), (dx,) = (torch.autograd.grad(v, x, dy) for v in (expected, y))
    torch.testing.assert_close(y, expected, rtol=0, atol=1e-12 * max(1, abs(expected).max().item()))
    torch.testing.assert_close(dx, expected_dx, rtol=0, atol=1e-12 * max(1, abs(dx).max().item()))


@by_pairs(shape=SHAPES[:4], name=list(MATRICES), dtype=DTYPES, layout=LAYOUTS, filter=list(FILTERS))
def test_dtypes_and_layouts(shape, name, dtype, layout, filter, device):
    f, m = FILTERS[filter].to(device), matrix(name, shape[0]).to(device)
    given = {"x": rand(*shape).to(device)}
    check_dtype(
        lambda x: warp_affine(x, m, f),
        lambda x: warp_affine_ref(x, m, f),
        given,
        ["x"],
        dtype,
        layout,
    )


@pytest.mark.parametrize("name", ["rotation", "rank 1", "identity"])
def test_gradgradcheck(name, ops, device):
    x = rand(1, 1, 4, 3).to(device).requires_grad_()
    m, f = matrix(name, 1).to(device), F4.to(device)
    assert torch.autograd.gradcheck(lambda x: warp_affine(x, m, f), x)
    assert torch.autograd.gradgradcheck(lambda x: warp_affine(x, m, f), x)


def test_samples_do_not_depend_on_their_neighbors(ops, device):
    x, m, f = rand(11, 2, 16, 12).to(device), mixed(11).to(device), F12.to(device)
    alone = torch.cat([warp_affine(x[i : i + 1], m[i : i + 1], f) for i in range(11)])
    torch.testing.assert_close(warp_affine(x, m, f), alone, rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", [(8, 16), (12, 12), (32, 24)])
def test_the_identity_changes_nothing(size, ops, device):
    x = rand(2, 3, *size).float().to(device)
    m = matrix("identity", 2).to(device)
    inner = warp_affine(x, m, F12.to(device))[:, :, 4:-4, 4:-4]
    torch.testing.assert_close(inner, x[:, :, 4:-4, 4:-4], rtol=0, atol=3e-5)
    blurred = warp_affine(x, m, F4.to(device))  # by a filter that is not orthonormal
    assert (blurred - x).abs().max() > 0.1


def test_turns_and_flips(ops, device):
    """The filter is not symmetric: they are exact for smooth images alone."""
    x = torch.nn.functional.avg_pool2d(rand(1, 2, 40, 40).float(), 9, stride=1).to(device)
    f = F12.to(device)
    for name, expected in {"90 degrees": x.rot90(-1, (2, 3)), "flip": x.flip(3)}.items():
        y = warp_affine(x, matrix(name, 1).to(device), f)
        inner = (y - expected)[:, :, 4:-4, 4:-4].abs().max()
        assert inner < 0.1 * x.abs().max() < (x - expected).abs().max()


def test_beyond_the_reflection_is_zero(ops, device):
    x = rand(1, 3, 16, 16).to(device)
    assert not warp_affine(x, matrix("shift by 1000", 1).to(device), F12.to(device)).any()


@pytest.mark.parametrize("name", NOT_FINITE)
def test_numbers_that_are_not_finite(name, ops, device):
    """They harm their own sample alone, and no memory."""
    x = rand(3, 2, 16, 12).float().to(device).requires_grad_()
    m = mixed(3)
    m[1] = NOT_FINITE[name]
    y = warp_affine(x, m.to(device), F12.to(device))
    (dx,) = torch.autograd.grad(y.sum(), x)
    for i in (0, 2):
        alone = warp_affine(x[i : i + 1], m[i : i + 1].to(device), F12.to(device))
        torch.testing.assert_close(y[i : i + 1], alone)
        assert dx[i].isfinite().all()
    if name.startswith("NaN"):
        assert y[1].isnan().any()


def test_nan_in_an_image_shows(ops, device):
    x = rand(2, 1, 16, 16).float().to(device)
    x[1, 0, 8, 8] = torch.nan
    y = warp_affine(x, matrix("rotation", 2).to(device), F12.to(device))
    assert y[0].isfinite().all() and y[1].isnan().any()


@pytest.mark.parametrize("shape", [(0, 3, 8, 8), (2, 0, 8, 8)])
def test_nothing_to_do(shape, ops, device):
    x = torch.zeros(shape, device=device, requires_grad=True)
    y = warp_affine(x, matrix("rotation", shape[0]).to(device), F12.to(device))
    assert y.shape == shape
    (dx,) = torch.autograd.grad(y.sum(), x)
    assert dx.shape == shape


def test_arguments_in_other_forms(ops, device):
    x, f = rand(3, 2, 9, 8).float().to(device), F12.to(device)
    m = mixed(3).to(device)
    expected = warp_affine(x, m, f)
    strided = m.transpose(1, 2).contiguous().transpose(1, 2)
    torch.testing.assert_close(warp_affine(x, strided, f), expected)
    torch.testing.assert_close(warp_affine(x, m.double(), f), expected)
    gaps = torch.stack([x, x], dim=-1)[..., 0]
    torch.testing.assert_close(warp_affine(gaps, m, f), expected)
    tracked = x.clone().requires_grad_()
    with torch.no_grad():
        assert not warp_affine(tracked, m, f).requires_grad


@pytest.mark.parametrize(
    "change, text",
    [
        ({"x": torch.zeros(3, 8, 8)}, "x must be floating"),
        ({"x": torch.zeros(1, 3, 8, 8).int()}, "x must be floating"),
        ({"matrix": torch.eye(3)}, "matrix must be"),
        ({"matrix": torch.zeros(2, 3, 3)}, "matrix must be"),
        ({"f": torch.zeros(6)}, "divisible by 4"),
        ({"f": torch.zeros(0)}, "divisible by 4"),
        ({"f": torch.zeros(4, 4)}, "divisible by 4"),
        ({"matrix": torch.eye(3)[None].requires_grad_()}, "only x is differentiable"),
        ({"f": torch.ones(4).requires_grad_()}, "only x is differentiable"),
    ],
)
def test_rejects(change, text, ops):
    given = {"x": torch.zeros(1, 3, 8, 8), "matrix": torch.eye(3)[None], "f": F4} | change
    with pytest.raises(ValueError, match=text) as error:
        warp_affine(**given)
    assert "\n" not in str(error.value)


def test_a_filter_longer_than_kernels_take(ops, device):
    f = torch.full([68], 1 / 68, device=device)
    x, m = rand(1, 1, 8, 8).to(device), matrix("rotation", 1).to(device)
    torch.testing.assert_close(warp_affine(x, m, f), warp_affine_ref(x, m, f))
