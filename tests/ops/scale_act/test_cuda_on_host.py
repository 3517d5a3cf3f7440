# SPDX-License-Identifier: Apache-2.0
"""The CUDA kernels of scale_act, compiled for the host, on raw memory."""

import itertools

import pytest
import torch
from cuda_on_host.build import missing
from ops.scale_act.cuda_on_host import Case, Wanted, check_forward, check_grad, forward, grad
from ops.upfirdn2d.cuda_on_host import CLAMP, DTYPES, Epilogue, Memory, epilogue_ref, rand
from support.cases import by_pairs

pytestmark = pytest.mark.skipif(missing() is not None, reason=str(missing()))

MEMORY = [
    Memory(offset, fence, order)
    for order, (offset, fence) in zip(
        itertools.cycle([0, 1, 7]),
        itertools.product(["none", "all", "outputs", "inputs"], ["before", "after"]),
    )
]
ROWS = [  # groups of 8 and of 1, a block and more, several slices that do not come out even
    *[Case(2, 3, 8), Case(1, 2, 2048), Case(3, 2, 2056), Case(1, 2, 8200), Case(2, 1, 40000)],
    *[Case(1, 1, 1), Case(2, 3, 7), Case(2, 3, 255), Case(1, 2, 257), Case(2, 2, 5003)],
]
COLUMNS = [  # tiles of 1, 4, 8, 32 groups of 8; a last tile that is not full, and with one channel
    *[(2, 8, 30), (2, 24, 150), (3, 40, 7), (1, 256, 20), (2, 264, 3), (1, 520, 9), (2, 16, 1)],
    *[(2, 24, 1100), (1, 264, 150), (1, 8, 4200)],  # several slices
    *[(2, 3, 9), (1, 33, 70), (2, 12, 1), (2, 5, 1100), (1, 1, 30), (1, 65, 141)],  # groups of 1
]
CASES = ROWS + [Case(*c, last=True) for c in COLUMNS]
EPILOGUES = [
    Epilogue(*e)
    for e in itertools.product(
        [True, False],
        ["each", None, "shared"],
        [True, False],
        ["lrelu", "relu", "linear"],
        [CLAMP, torch.inf],
    )
]


def masks(case):
    return (case.channels if case.last else case.pixels) % 8 == 0


@by_pairs(
    case=CASES,
    dtype=DTYPES,
    scale=[True, False],
    noise=["each", None, "shared"],
    b=[True, False],
    act=["lrelu", "relu", "linear"],
    clamp=[CLAMP, torch.inf],
    mask=[True, False],
    memory=MEMORY,
    in_place=[False, True],
)
def test_forward(case, dtype, scale, noise, b, act, clamp, mask, memory, in_place):
    e = Epilogue(scale, noise, b, act, clamp, mask and masks(case))
    check_forward(case, dtype, e, memory, in_place)


@pytest.mark.thorough
@pytest.mark.parametrize("e", EPILOGUES, ids=lambda e: "-".join(map(str, e[:5])))
def test_every_epilogue(e):
    for i, case in enumerate([Case(2, 3, 40), Case(2, 24, 9, True), Case(2, 3, 9, True)]):
        check_forward(case, DTYPES[i], e._replace(mask=masks(case)), MEMORY[2 * i + 1])


def wanted_of(case, number):
    """One of the 32 combinations of results, as far as the case supports them."""
    wanted = Wanted(*(bool(number >> i & 1) for i in range(5)))
    sums_channels = case.last and case.channels % 8 == 0
    return wanted._replace(mask=wanted.mask and masks(case), noise=wanted.noise and sums_channels)


def check_grad_of(case, dtype, e, number, memory, in_place):
    wanted = wanted_of(case, number)
    if wanted.mask:
        e = e._replace(mask=True)
    else:  # as where the slope is one and the same
        e = e._replace(mask=False, act="linear", clamp=torch.inf)
    check_grad(case, dtype, e._replace(scale=wanted.scale), wanted, memory, in_place)


@by_pairs(
    case=CASES,
    dtype=DTYPES,
    act=["lrelu", "relu", "linear"],
    clamp=[CLAMP, torch.inf],
    mask=[True, False],
    scale=[True, False],
    products=[True, False],
    noise=[True, False],
    sums=[True, False],
    memory=MEMORY,
    in_place=[False, True],
)
def test_grad(case, dtype, act, clamp, mask, scale, products, noise, sums, memory, in_place):
    e, number = Epilogue(act=act, clamp=clamp), 0
    for i, wanted in enumerate((mask, scale, products, noise, sums)):
        number |= wanted << i
    check_grad_of(case, dtype, e, number, memory, in_place)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_all_gradients_at_once(case):
    turn = CASES.index(case)
    e = EPILOGUES[turn * 5 % len(EPILOGUES)]
    check_grad_of(case, DTYPES[turn % 4], e, 31, MEMORY[turn % 8], in_place=turn % 3 == 2)


@pytest.mark.thorough
@pytest.mark.parametrize("number", range(32))
def test_whatever_is_wanted(number):
    shapes = [Case(2, 3, 40), Case(2, 24, 9, True), Case(2, 264, 130, True), Case(1, 3, 5000)]
    for i, case in list(enumerate(shapes))[number % 2 :: 2]:
        e = EPILOGUES[(number * 4 + i) % len(EPILOGUES)]
        check_grad_of(case, DTYPES[i], e, number, MEMORY[number % 8], in_place=False)


@pytest.mark.parametrize(
    "case",
    [Case(1, 1, 530000 + 5), Case(1, 5, 70000, True), Case(2, 8, 70000, True), Case(1, 1, 70000)],
    ids=lambda c: "-".join(map(str, c)),
)
def test_many_slices(case):
    """One slice more than the maximum: each takes more steps."""
    check_grad_of(case, torch.float64, EPILOGUES[0], 31, Memory(), False)
    check_forward(case, torch.float64, EPILOGUES[0]._replace(mask=masks(case)))


@pytest.mark.parametrize(
    "case", [Case(1, 2, 40000), Case(2, 264, 150, True)], ids=lambda c: str(c[1])
)
def test_the_same_bits_in_any_order(case):
    e, wanted = EPILOGUES[0]._replace(mask=True), wanted_of(case, 31)
    first, *others = (
        grad(case, torch.float32, e, wanted, Memory(order=order)) for order in (0, 1, 7)
    )
    for other in others:
        assert all(torch.equal(v, other[k]) for k, v in first.items() if v is not None)


SPECIAL = [torch.nan, torch.inf, -torch.inf, 0, -0.0, 1, -1, 300, -300]


@by_pairs(
    dtype=DTYPES,
    act=["linear", "relu", "lrelu"],
    clamp=[torch.inf, CLAMP],
    case=[Case(1, 3, 40), Case(1, 3, 9), Case(1, 24, 9, True)],
)
def test_values_that_are_not_finite(dtype, act, clamp, case):
    """Forward, and gradients that are stopped by a mask."""
    values = torch.tensor(SPECIAL, dtype=dtype)
    near = {"rtol": 4 * torch.finfo(dtype).eps, "atol": 0, "equal_nan": True}
    x = values[torch.arange(case.size) % 9].view(case.shape)
    e = Epilogue(False, None, False, act, clamp, mask=masks(case))
    y, planes = forward(case, dtype, e, x=x)
    u, v = epilogue_ref(x.double(), e, (None,) * 3)
    assert torch.allclose(y.double(), v.clamp(-clamp, clamp).to(dtype).double(), **near)
    for plane, expected in zip(planes, (u > 0, v.abs() <= clamp)):
        assert torch.equal(plane, expected)
    if not masks(case):
        return
    given = [rand(case.shape, torch.float64, i) > 0 for i in range(e.planes)]
    wanted = Wanted(scale=False, products=False, noise=False, sums=False)
    dx = grad(case, dtype, e, wanted, inputs=(x, None, None, given))["dx"]
    negative, positive = e.slopes
    below = 0 if negative == 0 else x.double() * negative
    expected = torch.where(given[0], x.double() * positive, below) if given else x * positive
    if len(given) > 1:
        expected = torch.where(given[1], expected, 0)
    assert torch.allclose(dx.double(), expected.to(dtype).double(), **near)
