# SPDX-License-Identifier: Apache-2.0
"""The CUDA kernels of warp_affine, compiled for the host, on raw memory."""

import pytest
import torch
from cuda_on_host.build import missing
from ops.warp_affine.cases import FILTERS, MATRICES, NOT_FINITE, matrix, mixed
from ops.warp_affine.cuda_on_host import DTYPES, launch
from support.cases import by_pairs
from support.checks import rand

from stylegan_ops.ops.warp_affine import warp_affine_ref

pytestmark = pytest.mark.skipif(missing() is not None, reason=str(missing()))

# Less than a tile, cut tiles, whole ones; more channels than a tile has.
SHAPES = [(1, 1, 8, 8), (2, 3, 16, 16), (1, 5, 17, 9), (1, 1, 1, 1), (1, 2, 2, 20), (1, 1, 24, 33)]
EVERY = FILTERS | {"68 px wide": torch.linspace(0.01, 0.02, 64)}


def reference(x, m, f, adjoint):
    """y, or the gradient w.r.t. the images whose result has the gradient x."""
    if not adjoint:
        return warp_affine_ref(x, m, f)
    images = torch.zeros_like(x).requires_grad_()
    return torch.autograd.grad(warp_affine_ref(images, m, f), images, x)[0]


@by_pairs(
    shape=SHAPES,
    name=list(MATRICES),
    filter=list(EVERY),
    dtype=DTYPES,
    adjoint=[False, True],
    fence=["before", "after"],
    order=[0, 1, 7],
)
def test_values(shape, name, filter, dtype, adjoint, fence, order):
    m, f, x = matrix(name, shape[0]), EVERY[filter], rand(*shape).to(dtype)
    y = launch(x, m, f, adjoint, fence, order)
    exact, own = (reference(x.to(to), m, f, adjoint) for to in (torch.float64, dtype))
    if dtype == torch.float64:
        largest = max(1, exact.abs().max().item())
        torch.testing.assert_close(y, exact, rtol=0, atol=1e-11 * largest)
        return
    allowed = 2 * _rms(own.double() - exact) + 4 * torch.finfo(dtype).eps * _rms(exact)
    assert _rms(y.double() - exact) <= allowed


def _rms(x):
    return x.square().mean().sqrt().item()


@pytest.mark.parametrize("adjoint", [False, True])
def test_a_batch_of_maps(adjoint):
    x, f = rand(11, 1, 12, 10), FILTERS["sym6"]
    expected = reference(x, mixed(11), f, adjoint)
    torch.testing.assert_close(launch(x, mixed(11), f, adjoint), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", NOT_FINITE)
@pytest.mark.parametrize("adjoint", [False, True])
def test_numbers_that_are_not_finite(name, adjoint):
    for fence in ("before", "after"):
        y = launch(rand(1, 2, 9, 7).float(), matrix(name, 1), FILTERS["sym6"], adjoint, fence=fence)
        if name.startswith("NaN") and not adjoint:
            assert y.isnan().any()


def test_the_tests_see_a_wrong_filter():
    x, m = rand(1, 1, 16, 16), matrix("rotation", 1)
    y = launch(x, m, FILTERS["sym6"])
    assert (y - reference(x, m, FILTERS["sym6"].flip(0), False)).abs().max() > 1e-3
