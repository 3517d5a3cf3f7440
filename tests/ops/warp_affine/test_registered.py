# SPDX-License-Identifier: Apache-2.0
"""warp_affine as an op of torch.library: opcheck, transforms, compiled graphs, threads."""

import pytest
import torch
from ops.warp_affine.cases import F12, matrix, mixed
from support.checks import LAYOUTS, rand
from support.native import BACKENDS, needs_native

from stylegan_ops import backend, warp_affine
from stylegan_ops.ops.warp_affine import warp_affine_ref

pytestmark = needs_native


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("adjoint", [False, True])
def test_opcheck(layout, adjoint, device):
    x = rand(2, 3, 7, 6).float().to(device).to(memory_format=layout).requires_grad_()
    args = x, matrix("rotation", 2).to(device), F12.to(device), adjoint
    torch.library.opcheck(torch.ops.stylegan_ops.warp_affine.default, args)


def test_compiles_without_a_break(device):
    def step(x, m, f):
        return warp_affine(x * 2, m, f).square()

    torch.compiler.reset()
    compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
    x, m = rand(3, 2, 9, 8).float().to(device).requires_grad_(), mixed(3).to(device)
    expected, y = step(x, m, F12.to(device)), compiled(x, m, F12.to(device))
    torch.testing.assert_close(y, expected)
    ours, theirs = (torch.autograd.grad(v.sum(), x)[0] for v in (y, expected))
    torch.testing.assert_close(ours, theirs)


def test_function_transforms():
    x, t, m, results = rand(1, 2, 6, 5), rand(1, 2, 6, 5, seed=9), matrix("rotation", 1), []

    def op(x):
        return warp_affine(x, m, F12)

    for choice in BACKENDS:
        with backend(choice):
            results.append(
                [
                    torch.func.grad(lambda x: op(x).square().sum())(x),
                    torch.func.vmap(op)(torch.stack([x, t])),
                ]
            )
    torch.testing.assert_close(*results)


@pytest.mark.parametrize("adjoint", [False, True])
def test_the_same_bits_whatever_the_threads(adjoint):
    x, results = rand(4, 3, 24, 20).float(), []
    threads = torch.get_num_threads()
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            results.append(torch.ops.stylegan_ops.warp_affine(x, mixed(4), F12, adjoint))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*results)


def test_it_is_the_adjoint_of_the_reference():
    x, dy, m = rand(2, 2, 9, 12), rand(2, 2, 9, 12, seed=3), mixed(2)
    dx = torch.ops.stylegan_ops.warp_affine(dy, m, F12, True)
    torch.testing.assert_close((warp_affine_ref(x, m, F12) * dy).sum(), (x * dx).sum())


@pytest.mark.parametrize(
    "change",
    [
        {"x": torch.zeros(3, 8, 8)},
        {"x": torch.zeros(1, 3, 8, 8).int()},
        {"matrix": torch.zeros(1, 3, 2)},
        {"matrix": torch.zeros(2, 3, 3)},
        {"f": torch.zeros(0)},
        {"f": torch.zeros(6)},
        {"f": torch.zeros(128)},
        {"f": torch.zeros(4, 4)},
    ],
    ids=lambda change: "-".join(change),
)
def test_the_op_itself_rejects(change):
    given = {"x": torch.zeros(1, 3, 8, 8), "matrix": torch.eye(3)[None], "f": F12} | change
    with pytest.raises((RuntimeError, ValueError)):
        torch.ops.stylegan_ops.warp_affine(*given.values(), False)
