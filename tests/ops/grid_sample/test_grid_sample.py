# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
import torch.nn.functional as F
from support.cases import by_pairs, mostly_thorough, on
from support.checks import DTYPES, LAYOUTS, check_dtype, rand

from stylegan_ops import grid_sample


def plain(x, grid):
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def a_grid(n=2, h=6, w=5):
    """Points inside, on the border and outside."""
    return rand(n, h, w, 2).mul(0.8)


def test_values_by_hand():
    x = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    grid = torch.tensor([[[[0.0, 0.0], [-0.5, -0.5], [0.5, -0.5], [-1.0, -0.5], [3.0, 0.0]]]])
    assert torch.equal(grid_sample(x, grid), torch.tensor([[[[2.5, 1.0, 2.0, 0.5, 0.0]]]]))


@by_pairs(dtype=DTYPES, layout=LAYOUTS)
def test_dtypes_and_layouts(dtype, layout, device):
    grid = a_grid()

    def ours(x):
        return grid_sample(x, grid.to(device))

    def own(x):
        return plain(x, grid.to(x))

    given = {"x": rand(2, 3, 7, 8)}
    check_dtype(on(device, ours), on(device, own), given, ["x"], dtype, layout)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_still_finds_the_pixels(dtype):
    """Coordinates of 512 px do not fit in half precision; those of the grid must survive."""
    x = rand(1, 1, 4, 512).to(dtype)
    place = (torch.arange(512, dtype=torch.float64) + 0.5 + 0.3) / 256 - 1
    grid = torch.stack([place, torch.full_like(place, -0.25)], dim=-1)[None, None]
    exact = plain(x.double(), grid)
    y = grid_sample(x, grid)
    assert y.dtype == dtype
    assert (y.double() - exact).abs().max() <= torch.finfo(dtype).eps * exact.abs().max()


def test_gradgradcheck():
    grid = a_grid(2, 2, 3)
    x = rand(2, 1, 3, 4, grad=True)
    assert torch.autograd.gradcheck(lambda x: grid_sample(x, grid), x)
    assert torch.autograd.gradgradcheck(lambda x: grid_sample(x, grid), x)


def test_r1_through_it():
    """What PyTorch's own cannot do: a gradient of a gradient."""
    grid, x = a_grid(), rand(2, 1, 6, 6, grad=True)
    (dx,) = torch.autograd.grad(grid_sample(x, grid).square().sum(), x, create_graph=True)
    (ddx,) = torch.autograd.grad(dx.square().sum(), x)
    assert ddx.abs().max() > 0


def test_gradient_of_the_grid():
    x, grid = rand(2, 1, 6, 6), a_grid().requires_grad_()
    (ours,) = torch.autograd.grad(grid_sample(x, grid).square().sum(), grid)
    (theirs,) = torch.autograd.grad(plain(x, grid).square().sum(), grid)
    assert torch.equal(ours, theirs)


def test_third_derivative():
    grid, weights, results = a_grid(), rand(2, 1, 6, 6, seed=5), []
    matrix = plain(torch.eye(36).double().view(36, 1, 6, 6), grid[:1].expand(36, -1, -1, -1))
    for op in (grid_sample, lambda x, _: (x.flatten(2) @ matrix.flatten(1)).view(1, 1, 6, 5)):
        x = weights[:1].clone().requires_grad_()
        value = op(x, grid[:1]).pow(4).sum()
        for _ in range(3):
            (g,) = torch.autograd.grad(value, x, create_graph=True)
            value = (g * weights[1:] * x.sin()).sum()
        results.append(g)
    torch.testing.assert_close(*results)


def test_an_empty_batch():
    x = torch.zeros(0, 3, 8, 8, requires_grad=True)
    y = grid_sample(x, torch.zeros(0, 4, 5, 2))
    assert y.shape == (0, 3, 4, 5)
    assert torch.autograd.grad(y.sum(), x)[0].shape == x.shape


@mostly_thorough("dynamic, requires_grad", [(False, True), (True, False)], [(False, True)])
def test_compiles_without_a_break(dynamic, requires_grad):
    torch.compiler.reset()
    compiled = torch.compile(
        lambda x, grid: grid_sample(x * 2, grid).square(),
        fullgraph=True,
        dynamic=dynamic,
        backend="aot_eager",
    )
    for size in (6, 9):
        x, grid = rand(2, 3, size, size).float().requires_grad_(requires_grad), a_grid().float()
        y, expected = compiled(x, grid), grid_sample(x * 2, grid).square()
        torch.testing.assert_close(y, expected)
        if requires_grad:
            ours, theirs = (torch.autograd.grad(v.sum(), x)[0] for v in (y, expected))
            torch.testing.assert_close(ours, theirs)


def test_function_transforms():
    x, grid, t = rand(2, 3, 6, 6), a_grid(), rand(2, 3, 6, 6, seed=4)

    def transformed(op):
        return [
            torch.func.grad(lambda x: op(x, grid).square().sum())(x),
            torch.func.vmap(lambda x: op(x, grid))(torch.stack([x, t])),
        ]

    torch.testing.assert_close(transformed(grid_sample), transformed(plain))


@pytest.mark.parametrize("shape", [(2, 4, 4, 3), (1, 4, 4, 2), (2, 4, 2)])
def test_rejects(shape):
    with pytest.raises(ValueError, match="grid must be"):
        grid_sample(torch.zeros(2, 1, 4, 4), torch.zeros(shape))
