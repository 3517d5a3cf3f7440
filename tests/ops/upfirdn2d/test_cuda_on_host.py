# SPDX-License-Identifier: Apache-2.0
"""The CUDA kernels of upfirdn2d, compiled for the host, on raw memory."""

import itertools

import pytest
import torch
from cuda_on_host.build import missing
from ops.upfirdn2d.cuda_on_host import (
    CLAMP,
    DTYPES,
    FILTERS,
    Case,
    Epilogue,
    Memory,
    check,
    epilogue_ref,
    fir_ref,
    launch,
    rand,
)

pytestmark = pytest.mark.skipif(missing() is not None, reason=str(missing()))

TILED = [((1, 1), (1, 1)), ((2, 2), (1, 1)), ((1, 1), (2, 2)), ((4, 4), (1, 1)), ((1, 1), (4, 4))]
GENERAL = [  # up, down, each of x and of y
    *[((2, 2), (2, 2)), ((2, 2), (4, 4)), ((3, 3), (2, 2)), ((1, 1), (3, 3))],
    *[((2, 1), (1, 1)), ((1, 2), (1, 1)), ((1, 1), (2, 1)), ((1, 1), (1, 4)), ((2, 1), (1, 2))],
]
MEMORY = [
    Memory(offset, fence, order)
    for order, (offset, fence) in zip(
        itertools.cycle([0, 1, 7]),
        itertools.product(["none", "all", "outputs", "inputs"], ["before", "after"]),
    )
]
PADDING = [
    *[("same", "same"), ("valid", "full"), ("crop", "same"), ("same", "crop"), ("full", "valid")],
    *[("crop", "crop"), ("full", "full")],
]
WIDE = [
    *[("before", "same"), ("after", "crop"), ("same", "before"), ("crop", "after")],
    *[("before", "after"), ("all before", "same"), ("full", "all after"), ("all after", "full")],
]
# Samples, channels, and about the size of y. Planes of less than 512 pixels go another way.
SIZES = [
    *[(1, 1, 40, 70), (2, 3, 9, 13), (2, 1, 24, 32), (1, 2, 35, 25), (1, 1, 17, 96), (2, 1, 1, 1)],
    *[(1, 2, 130, 8), (1, 40, 3, 2), (1, 1, 64, 64), (1, 3, 1, 19), (1, 2, 48, 40)],
]
SIZES_LAST = [
    *[
        (2, 3, 9, 13),
        (1, 8, 33, 40),
        (1, 32, 9, 17),
        (1, 3, 40, 24),
        (1, 40, 20, 18),
        (1, 64, 5, 9),
    ],
    *[(2, 1, 30, 35), (1, 8, 1, 19), (2, 8, 24, 10), (1, 64, 1, 1), (1, 3, 35, 31)],
]


def rate_name(rate):
    (ux, uy), (dx, dy) = rate
    return f"up{ux}{uy}-down{dx}{dy}"


rates = pytest.mark.parametrize("rate", TILED + GENERAL, ids=rate_name)
tiled = pytest.mark.parametrize("rate", TILED, ids=rate_name)
dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=str)
layouts = pytest.mark.parametrize("last", [False, True], ids=["contiguous", "channels_last"])


def sized(rate, n, c, h, w):
    """The shape of x for which y has about this size."""
    (ux, uy), (dx, dy) = rate
    return n, c, max(h * dy // uy, 1), max(w * dx // ux, 1)


@rates
@layouts
@dtypes
def test_filters(dtype, last, rate):
    """Every filter; everything else in turn."""
    turn = DTYPES.index(dtype) * 5 + (TILED + GENERAL).index(rate)
    sizes = SIZES_LAST if last else SIZES
    for i, f in enumerate(FILTERS, turn):
        flip, gain = i % 2 == 1, [1.0, 4.0, 0.3][i % 3]
        case = Case(sized(rate, *sizes[i % 11]), last, *rate, f, PADDING[i % 7], flip, gain)
        check(case, dtype, MEMORY[(i + i // 8) % 8])


@tiled
@layouts
@dtypes
def test_widths_and_addresses(dtype, last, rate):
    """Rows that are multiples of 16 bytes and others, in x and in y; every offset."""
    for i, (width, memory) in enumerate(itertools.product([29, 32, 36, 40], MEMORY)):
        n, c = (1, [8, 3, 12, 9][i % 4]) if last else (1, 2)
        case = Case(sized(rate, n, c, 20, width), last, *rate, ["4x4", "6"][i // 2 % 2])
        check(case._replace(padding=PADDING[i % 7]), dtype, memory)


@tiled
@layouts
@pytest.mark.parametrize("f", ["4x4", "5x7", "12"])
def test_many_tiles(f, last, rate):
    for dtype, sizes in (
        (torch.float16, [(1, 8, 40, 75), (1, 3, 90, 150)] if last else [(1, 2, 90, 150)]),
        (torch.float32, [(1, 40, 23, 25), (1, 1, 75, 75)] if last else [(2, 1, 101, 67)]),
    ):
        for size in sizes:
            check(Case(sized(rate, *size), last, *rate, f), dtype)


@rates
@layouts
def test_wide_padding(last, rate):
    """Whole tiles of it."""
    for i, padding in enumerate(WIDE):
        size = (1, [8, 3][i % 2], 20, 30) if last else (1, 1, 30, 40)
        case = Case(sized(rate, *size), last, *rate, ["4x4", "3", "5x7"][i % 3], padding)
        check(case, DTYPES[i % 4], MEMORY[i])


@tiled
@layouts
def test_channels(last, rate):
    for i, c in enumerate([1, 2, 3, 7, 8, 9, 16, 24, 31, 32, 33, 40, 64, 72, 264]):
        for size in ((3, 3), (5, 9)):
            case = Case(sized(rate, 2, c, *size), last, *rate, ["4x4", "3x3", "8"][i % 3])
            check(case, DTYPES[i % 3], MEMORY[i % 8])


def test_more_planes_than_a_grid_is_high():
    check(Case((65540, 8, 1, 1), True, f="2"), torch.float32, Memory(order=1))


@tiled
@layouts
@pytest.mark.parametrize("f", ["4x4", "5x7", "12"])
def test_the_same_bits_in_any_order(f, last, rate):
    case = Case(sized(rate, *((1, 32, 9, 11) if last else (1, 2, 30, 70))), last, *rate, f)
    results = [launch(case, torch.float32, Memory(order=order))[0] for order in (0, 1, 7)]
    assert torch.equal(results[0], results[1]) and torch.equal(results[0], results[2])


@rates
@layouts
@pytest.mark.parametrize("f", ["4x4", "3x3", "5x7", "3", "8", "none"])
def test_values_that_are_not_finite(f, last, rate):
    """They reach what their taps meet, and nothing else."""
    for dtype, size in ((torch.float16, (2, 8, 16, 14)), (torch.float32, (2, 3, 30, 40))):
        shape = sized(rate, *size)
        case = Case(shape, last, *rate, f, ("full", "same"))
        x, at = rand(shape, dtype), torch.zeros(2, *shape, dtype=torch.float64)
        places = (1, 1, shape[2] // 3, shape[3] // 4), (1, 1, -1, -1)
        for place, mark, value in zip(places, at, (torch.nan, torch.inf)):
            mark[place] = 1
            x[place] = value
        y = launch(case, dtype, x=x)[0]
        nan, inf = (fir_ref(mark, case) for mark in at)
        clean = launch(case, dtype, x=torch.where(at.sum(0) > 0, 0, x))[0]
        expected = torch.where(inf != 0, inf.sign() * torch.inf, clean)
        expected = torch.where(nan != 0, torch.nan, expected).to(dtype)
        assert torch.equal(y.isnan(), expected.isnan()), case
        assert torch.equal(y.nan_to_num(), expected.nan_to_num()), case


EPILOGUES = [
    Epilogue(*e, mask=mask)
    for *e, mask in itertools.product(
        [False, True],
        [None, "shared", "each"],
        [False, True],
        ["linear", "relu", "lrelu"],
        [torch.inf, CLAMP],
        [False, True],
    )
]


@layouts
@dtypes
def test_epilogue(dtype, last):
    """Every combination; sizes, filters, ... in turn."""
    if last:
        sizes = [(2, 8, 9, 13), (2, 40, 7, 6), (2, 32, 12, 9), (2, 64, 3, 5), (2, 8, 37, 41)]
        odd = [(2, 3, 21, 27), (2, 9, 8, 7), (2, 1, 25, 30), (2, 12, 5, 5), (2, 3, 5, 4)]
    else:
        sizes = [(2, 3, 23, 24), (2, 3, 9, 16), (2, 2, 40, 72), (3, 5, 4, 8), (2, 2, 70, 8)]
        odd = [(2, 3, 23, 27), (2, 3, 9, 13), (2, 2, 40, 70), (3, 5, 1, 1), (2, 2, 70, 9)]
    filters = ["4x4", "3x3", "4", "none", "5x7", "rank 1", "8"]
    for i, e in enumerate(EPILOGUES, DTYPES.index(dtype)):
        shape = sizes[i % 5] if e.mask or i % 3 == 0 else odd[i % 5]
        case = Case(shape, last, f=filters[i % 7], padding=PADDING[i // 3 % 7], flip=i % 2 == 0)
        case = case._replace(gain=[1.0, 1.3][i % 2], multiple=1 if last or not e.mask else 8)
        check(case, dtype, MEMORY[(i + i // 8) % 8], e)


@layouts
@pytest.mark.parametrize("act", ["linear", "relu", "lrelu"])
@dtypes
def test_epilogue_of_values_that_are_not_finite(dtype, act, last):
    values = torch.tensor(
        [torch.nan, torch.inf, -torch.inf, 0, -0.0, 1, -1, 300, -300], dtype=dtype
    )
    few = [(8, 32), (24, 5), (9, 31)] if last else [(1, 32), (2, 8), (2, 31)]
    for clamp, (c, width) in itertools.product((torch.inf, CLAMP), few):
        x = values[torch.arange(2 * c * 21 * width) % 9].view(2, c, 21, width)
        e = Epilogue(False, None, False, act, clamp, mask=(c if last else width) % 8 == 0)
        y, planes = launch(Case(x.shape, last, f="none", padding=("valid",) * 2), dtype, e=e, x=x)
        u, v = epilogue_ref(x.double(), e, (None,) * 3)
        near = {"rtol": 4 * torch.finfo(dtype).eps, "atol": 0, "equal_nan": True}
        assert torch.allclose(y.double(), v.clamp(-clamp, clamp).to(dtype).double(), **near)
        for plane, expected in zip(planes, (u > 0, v.abs() <= clamp)):
            assert torch.equal(plane, expected)
