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
from support.cases import by_pairs

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


RATES = TILED + GENERAL


def sized(rate, n, c, h, w):
    """The shape of x for which y has about this size."""
    (ux, uy), (dx, dy) = rate
    return n, c, max(h * dy // uy, 1), max(w * dx // ux, 1)


@by_pairs(
    f=list(FILTERS),
    rate=RATES,
    dtype=DTYPES,
    last=[False, True],
    size=range(11),
    padding=PADDING,
    memory=MEMORY,
    flip=[False, True],
    gain=[1.0, 4.0, 0.3],
)
def test_filters(f, rate, dtype, last, size, padding, memory, flip, gain):
    shape = sized(rate, *(SIZES_LAST if last else SIZES)[size])
    check(Case(shape, last, *rate, f, padding, flip, gain), dtype, memory)


@by_pairs(
    memory=MEMORY,
    padding=PADDING,
    rate=TILED,
    width=[29, 32, 36, 40],
    channels=[8, 3, 12, 9],
    dtype=DTYPES,
    last=[False, True],
    f=["4x4", "6"],
)
def test_widths_and_addresses(memory, padding, rate, width, channels, dtype, last, f):
    """Rows that are multiples of 16 bytes and others, in x and in y; every offset."""
    n, c = (1, channels) if last else (1, 2)
    check(Case(sized(rate, n, c, 20, width), last, *rate, f, padding), dtype, memory)


@by_pairs(
    rate=TILED,
    f=["4x4", "5x7", "12"],
    last=[False, True],
    dtype=[torch.float16, torch.float32],
    wide=[False, True],
)
def test_many_tiles(rate, f, last, dtype, wide):
    sizes = {
        (torch.float16, False): [(1, 2, 50, 90), (1, 2, 90, 150)],
        (torch.float16, True): [(1, 8, 40, 75), (1, 3, 90, 150)],
        (torch.float32, False): [(2, 1, 70, 67), (2, 1, 101, 67)],
        (torch.float32, True): [(1, 40, 23, 25), (1, 1, 75, 75)],
    }
    check(Case(sized(rate, *sizes[dtype, last][wide]), last, *rate, f), dtype)


@by_pairs(
    rate=RATES,
    padding=WIDE,
    memory=MEMORY,
    dtype=DTYPES,
    f=["4x4", "3", "5x7"],
    last=[False, True],
    channels=[8, 3],
)
def test_wide_padding(rate, padding, memory, dtype, f, last, channels):
    """Whole tiles of it."""
    size = (1, channels, 20, 30) if last else (1, 1, 30, 40)
    check(Case(sized(rate, *size), last, *rate, f, padding), dtype, memory)


@by_pairs(
    c=[1, 2, 3, 7, 8, 9, 16, 24, 31, 32, 33, 40, 64, 72, 264],
    rate=TILED,
    memory=MEMORY,
    last=[True, False],
    size=[(3, 3), (5, 9)],
    f=["4x4", "3x3", "8"],
    dtype=DTYPES[:3],
)
def test_channels(c, rate, memory, last, size, f, dtype):
    check(Case(sized(rate, 2, c, *size), last, *rate, f), dtype, memory)


@pytest.mark.thorough
def test_more_planes_than_a_grid_is_high():
    check(Case((65540, 8, 1, 1), True, f="2"), torch.float32, Memory(order=1))


@by_pairs(rate=TILED, f=["4x4", "5x7", "12"], last=[False, True])
def test_the_same_bits_in_any_order(rate, f, last):
    case = Case(sized(rate, *((1, 32, 9, 11) if last else (1, 2, 30, 70))), last, *rate, f)
    results = [launch(case, torch.float32, Memory(order=order))[0] for order in (0, 1, 7)]
    assert torch.equal(results[0], results[1]) and torch.equal(results[0], results[2])


@by_pairs(
    rate=RATES,
    f=["4x4", "3x3", "5x7", "3", "8", "none"],
    last=[False, True],
    dtype=[torch.float16, torch.float32],
)
def test_values_that_are_not_finite(rate, f, last, dtype):
    """They reach what their taps meet, and nothing else."""
    shape = sized(rate, *((2, 8, 16, 14) if dtype == torch.float16 else (2, 3, 30, 40)))
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


EPILOGUE = {
    "scale": [False, True],
    "noise": [None, "shared", "each"],
    "b": [False, True],
    "act": ["linear", "relu", "lrelu"],
    "clamp": [torch.inf, CLAMP],
    "mask": [False, True],
}
EPILOGUE_SIZES = {  # by layout: of a mask, whose rows are whole bytes, and others
    False: [(2, 3, 23, 24), (2, 3, 9, 16), (2, 2, 40, 72), (3, 5, 4, 8), (2, 2, 70, 8)]
    + [(2, 3, 23, 27), (2, 3, 9, 13), (2, 2, 40, 70), (3, 5, 1, 1), (2, 2, 70, 9)],
    True: [(2, 8, 9, 13), (2, 40, 7, 6), (2, 32, 12, 9), (2, 64, 3, 5), (2, 8, 37, 41)]
    + [(2, 3, 21, 27), (2, 9, 8, 7), (2, 1, 25, 30), (2, 12, 5, 5), (2, 3, 5, 4)],
}
EPILOGUE_FILTERS = ["4x4", "3x3", "4", "none", "5x7", "rank 1", "8"]


def check_epilogue(e, dtype, last, size, f, padding, memory, flip, gain):
    shape = EPILOGUE_SIZES[last][size % 5 if e.mask else size]
    multiple = 8 if e.mask and not last else 1
    case = Case(shape, last, f=f, padding=padding, flip=flip, gain=gain, multiple=multiple)
    check(case, dtype, memory, e)


@by_pairs(
    size=range(10),
    f=EPILOGUE_FILTERS,
    dtype=DTYPES,
    last=[False, True],
    padding=PADDING[:4],
    memory=MEMORY,
    flip=[False, True],
    gain=[1.0, 1.3],
    **EPILOGUE,
)
def test_epilogue(
    scale, noise, b, act, clamp, mask, dtype, last, size, f, padding, memory, flip, gain
):
    e = Epilogue(scale, noise, b, act, clamp, mask)
    check_epilogue(e, dtype, last, size, f, padding, memory, flip, gain)


@pytest.mark.thorough
@pytest.mark.parametrize("last", [False, True], ids=["contiguous", "channels_last"])
def test_every_epilogue(last):
    """Everything else in turn."""
    for i, e in enumerate(itertools.product(*EPILOGUE.values())):
        others = PADDING[i // 3 % 7], MEMORY[(i + i // 8) % 8], i % 2 == 0, [1.0, 1.3][i % 2]
        check_epilogue(Epilogue(*e), DTYPES[i % 4], last, i % 10, EPILOGUE_FILTERS[i % 7], *others)


@by_pairs(
    dtype=DTYPES,
    act=["linear", "relu", "lrelu"],
    size=range(3),
    last=[False, True],
    clamp=[torch.inf, CLAMP],
)
def test_epilogue_of_values_that_are_not_finite(dtype, act, size, last, clamp):
    values = torch.tensor(
        [torch.nan, torch.inf, -torch.inf, 0, -0.0, 1, -1, 300, -300], dtype=dtype
    )
    c, width = ([(8, 32), (24, 5), (9, 31)] if last else [(1, 32), (2, 8), (2, 31)])[size]
    x = values[torch.arange(2 * c * 21 * width) % 9].view(2, c, 21, width)
    e = Epilogue(False, None, False, act, clamp, mask=(c if last else width) % 8 == 0)
    y, planes = launch(Case(x.shape, last, f="none", padding=("valid",) * 2), dtype, e=e, x=x)
    u, v = epilogue_ref(x.double(), e, (None,) * 3)
    near = {"rtol": 4 * torch.finfo(dtype).eps, "atol": 0, "equal_nan": True}
    assert torch.allclose(y.double(), v.clamp(-clamp, clamp).to(dtype).double(), **near)
    for plane, expected in zip(planes, (u > 0, v.abs() <= clamp)):
        assert torch.equal(plane, expected)
