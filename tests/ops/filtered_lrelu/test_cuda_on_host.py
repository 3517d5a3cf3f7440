# SPDX-License-Identifier: Apache-2.0
"""The CUDA kernels of filtered_lrelu, compiled for the host, on raw memory."""

import itertools

import pytest
import torch
from cuda_on_host.build import missing
from ops.filtered_lrelu.cuda_on_host import (
    DTYPES,
    FILTERS,
    GIVEN,
    OWN,
    WRITTEN,
    Case,
    Memory,
    axes,
    bias,
    check,
    check_values,
    fir_ref,
    launch,
    random_mask,
    reference,
    samples,
    transposed,
)
from support.cases import by_pairs, mostly_thorough
from support.checks import rand

pytestmark = pytest.mark.skipif(missing() is not None, reason=str(missing()))

STREAMED = [  # up, down, filters: layers of networks,
    *[(2, 2, "12", "12"), (4, 2, "24", "12"), (2, 2, "12", "12x12"), (4, 2, "24", "12x12")],
]
TRANSPOSED = [  # and their derivatives
    *[(2, 4, "12", "24"), (2, 2, "12x12", "12"), (2, 4, "12x12", "24")],
]
RATES = STREAMED + TRANSPOSED
FACTORS = list(itertools.product((1, 2, 4), (1, 2, 4)))
PAIRS = [  # of filters, for the general kernel
    *[("none", "none"), ("none", "7"), ("6", "none"), ("12", "13"), ("7", "2"), ("3", "4x4")],
    *[("4x4", "2x3"), ("5x1", "3"), ("2x3", "1"), ("13", "9x24"), ("12x7", "12x12"), ("1", "6")],
]
SIZES = [  # of x
    *[(2, 3, 9, 13), (1, 2, 1, 1), (2, 1, 17, 5), (1, 1, 1, 30), (3, 2, 23, 1), (1, 5, 8, 8)],
    *[(1, 1, 14, 41), (1, 18, 6, 7), (2, 16, 5, 9), (1, 33, 4, 3)],
]
MEMORY = [
    Memory(offset, fence, order)
    for order, (offset, fence) in zip(
        itertools.cycle([0, 1, 7]), itertools.product(["none", "all"], ["before", "after"])
    )
]
PADDING = [  # of x and of y, before and after
    *[(9, 8, 9, 8), (11, 12, 10, 9), (6, 7, -1, 12), (-2, -3, 11, -1), (0, 23, 23, 0)],
    *[(60, 3, 2, 40), (1, 70, 50, 1)],
]


def rate_name(rate):
    return "-".join(map(str, rate))


streamed = pytest.mark.parametrize("rate", STREAMED, ids=rate_name)
every_rate = pytest.mark.parametrize("rate", RATES, ids=rate_name)
layouts = pytest.mark.parametrize("last", [False, True], ids=["contiguous", "channels_last"])


@by_pairs(rate=RATES, dtype=DTYPES, last=[False, True])
def test_layers(dtype, last, rate):
    """Sizes and everything else in turn."""
    turn = DTYPES.index(dtype) + last + RATES.index(rate)
    modes = (GIVEN,) if rate in TRANSPOSED else (OWN, WRITTEN, GIVEN)
    for i, shape in enumerate(SIZES[turn % 2 :: 2], turn):
        origins = [(0, 0), (3, 2), (-5, 1), (11, -6)][i % 4] if i % 3 else (0, 0)
        flip = (i % 2 == 1, i // 2 % 2 == 1)
        case = Case(shape, last, *rate, PADDING[i % 7], origins, flip=flip, b=i % 3 != 1)
        check(case, dtype, MEMORY[i % 4], modes[i % len(modes)])


@by_pairs(factors=FACTORS, dtype=DTYPES, last=[False, True])
def test_factors_and_filters(dtype, last, factors):
    """Every pair of factors with every other pair of filters; sizes and everything else in turn."""
    turn = 5 * DTYPES.index(dtype) + 3 * FACTORS.index(factors) + last
    for i, filters in enumerate(PAIRS[turn % 2 :: 2], turn):
        origins = [(0, 0), (2, 1), (0, 0), (-3, 4)][i % 4]
        flip = (i % 2 == 1, i // 2 % 2 == 1)
        case = Case(SIZES[i % 10], last, *factors, *filters, PADDING[i % 7], origins)
        case = case._replace(flip=flip, gain=(1.5, 0.7), b=i % 3 != 1)
        check(case, dtype, MEMORY[i % 4], (OWN, WRITTEN, GIVEN)[(i + i // 6) % 3])


@layouts
@pytest.mark.parametrize("filters", [("32", "32"), ("32", "9x24"), ("12x12", "32")])
def test_max_taps(filters, last):
    for i, factors in enumerate(FACTORS):
        case = Case((1, 2, 5, 6), last, *factors, *filters, (33, 30, 31, 34))
        check(case, torch.float32, MEMORY[i % 4], (WRITTEN, GIVEN)[i % 2])


@streamed
@layouts
@pytest.mark.parametrize("signs", [OWN, WRITTEN, GIVEN])
def test_many_tiles(signs, last, rate):
    size = (1, 3, 16, 27) if last else (1, 1, 22, 60)
    shape = (*size[:2], size[2] // 2, size[3] // 2) if rate[0] == 4 else size
    check(Case(shape, last, *rate), torch.float16, MEMORY[signs], signs)


@every_rate
@layouts
def test_phases(last, rate):
    """Every position of the grids to each other, and tiles that begin before y does."""
    for i, (a, b) in enumerate(itertools.product(range(4), range(4))):
        padding = (9 + a, 2, 9 + b, 3)
        case = Case((1, 1, 4, 5), last, *rate, padding, (b, a), clamp=1.5)
        if not last or i % 3 == 0:
            check(case, torch.float32, MEMORY[i % 4], GIVEN)
        if rate in STREAMED and i % (5 if last else 3) == 0:
            check(case._replace(down_origin=(3 * b - 4, 2 - 5 * a)), torch.float32, signs=WRITTEN)


@mostly_thorough(
    "rate, last",
    [(rate, last) for rate in STREAMED for last in (False, True)],
    [(rate, i in (1, 2)) for i, rate in enumerate(STREAMED)],
)
def test_the_mask_has_all_samples(last, rate):
    """Also those that y has no need of: before it, after it, and where it is cropped."""
    for origins, extra in [((-37, -20), (-3, -2)), ((0, 0), (-11, -6)), ((-3, -29), (0, -1))]:
        for fu, fd in (rate[2:], ("3", "2")):
            case = Case((1, 1, 6, 9), last, *rate[:2], fu, fd, (30, 31, 22, 20), origins, extra)
            order = Memory(order=int(fu == rate[2]))  # of tiles, too
            check(case, torch.float32, order, WRITTEN, twice=True)


@layouts
def test_beyond_the_image(last):
    """y reaches further than u, which is 0 there, and u further than x."""
    for i, rate in enumerate([*STREAMED, (2, 2, "7", "3"), (1, 4, "none", "none")]):
        case = Case((1, 1, 5, 6), last, *rate, (5, 4, 3, 6), (7, 12), (14, 9), clamp=2.0)
        for signs in (OWN, GIVEN):
            check(case, torch.float32, MEMORY[i % 4], signs)


@layouts
def test_channels(last):
    for i, c in enumerate([1, 2, 7, 15, 16, 17, 31, 32, 33, 48]):
        for rate in ((2, 2, "12", "12"), (2, 1, "3", "4x4")):
            check(Case((2, c, 3, 4), last, *rate), DTYPES[i % 3], signs=(WRITTEN, GIVEN)[i % 2])


@mostly_thorough("rate", [STREAMED[0], (1, 1, "none", "none")], [STREAMED[0]], ids=rate_name)
def test_more_tiles_than_blocks(rate):
    padding = (11, 11, 11, 11) if rate[0] == 2 else (0, 0, 0, 0)
    check(Case((2060, 4, 1, 1), False, *rate, padding), torch.float32, signs=GIVEN)


@mostly_thorough("rate", RATES, [STREAMED[0]], ids=rate_name)
def test_wide_tiles(rate):
    """Many planes: a tile is as wide as a row, and as high as the image."""
    factor = rate[1] / rate[0]
    shape = (1, 264, 3, int(120 * factor))
    check(Case(shape, False, *rate), torch.float16, signs=GIVEN)


@every_rate
@layouts
def test_the_streaming_kernel_takes_layers(last, rate):
    for signs in (OWN, WRITTEN, GIVEN):
        case = Case((1, 2, 6, 7), last, *rate)
        mask = random_mask(case)
        given = {"signs": signs, "mask": mask if signs == GIVEN else None}
        took = signs == GIVEN or rate in STREAMED
        y, _ = launch(case, torch.float32, streamed=took, **given)
        x = samples(case, torch.float32).double()
        check_values(y, reference(case, x, given["mask"], bias(case))[-1], f"{rate} {signs}")


@layouts
@pytest.mark.parametrize("factors", [(2, 1), (2, 4), (4, 2), (1, 2)], ids=rate_name)
def test_the_streaming_kernel_leaves_other_factors(factors, last):
    case = Case((1, 2, 6, 7), last, *factors, "12", "12")
    given = {"signs": GIVEN, "mask": random_mask(case)}
    y, _ = launch(case, torch.float32, streamed=False, **given)
    x = samples(case, torch.float32).double()
    check_values(y, reference(case, x, given["mask"], bias(case))[-1], case)


@every_rate
@layouts
def test_the_same_bits_in_any_order(last, rate):
    case = Case((1, 18, 7, 9) if last else (1, 2, 9, 40), last, *rate)
    given = {"signs": GIVEN, "mask": random_mask(case)}
    results = [launch(case, torch.float32, Memory(order=order), **given)[0] for order in (0, 1, 7)]
    assert torch.equal(results[0], results[1]) and torch.equal(results[0], results[2])


@pytest.mark.parametrize("rate", [*STREAMED, (1, 2, "7", "4x4"), (4, 1, "2x3", "6")], ids=rate_name)
@layouts
def test_adjoint(last, rate):
    """<L x, y> = <x, L^T y> with the mask of another launch; twice transposed is the same again."""
    for padding, origins in [((9, 8, 9, 8), (0, 0)), ((-3, 20, 14, -1), (2, -3))]:
        case = Case((2, 3, 7, 10), last, *rate, padding, origins, b=False)
        back = transposed(case)
        mask = launch(case, torch.float32, signs=WRITTEN)[1]
        x, dy = samples(case, torch.float32), samples(back, torch.float32, 2)
        y = launch(case, torch.float32, signs=GIVEN, mask=mask)[0]
        assert y.shape == dy.shape
        dx = launch(back, torch.float32, signs=GIVEN, mask=mask, x=dy)[0]
        assert dx.shape == x.shape
        ours, theirs = (y.double() * dy).sum(), (x.double() * dx).sum()
        size = y.double().norm() * dy.norm()
        assert (ours - theirs).abs() <= 1e-6 * size
        again = launch(transposed(back), torch.float32, signs=GIVEN, mask=mask)[0]
        assert torch.equal(again, y)


@by_pairs(
    rate=[*STREAMED, (1, 1, "none", "none"), (2, 1, "3", "2x3")],
    negative=[0.0, 0.3, -0.2],
    last=[False, True],
)
def test_values_that_are_not_finite(negative, last, rate):
    """They reach what their taps meet, and nothing else; as the definition has it in float64."""
    values = [torch.nan, torch.inf, -torch.inf]
    for value, clamp, dtype in zip(values, (torch.inf, 0.7, torch.inf), DTYPES):
        case = Case((1, 2, 12, 14), last, *rate, slopes=(negative, 1.4), clamp=clamp, b=False)
        x = samples(case, dtype)
        x[0, 1, 5, 6] = value
        y, mask = launch(case, dtype, signs=WRITTEN, x=x)
        u, v, exact = reference(case, x.double())
        # A convolution makes NaN of 0 * infinity in inserted zeros; here they do not exist.
        reached = reference(case, (~x.isfinite()).double())[0] != 0
        if value == torch.inf or value == -torch.inf:
            mark = torch.where(x.isfinite(), 0, x.sign().double())
            u = reference(case._replace(slopes=(1, 1), clamp=torch.inf), mark)[0]
            clean = reference(case, torch.where(x.isfinite(), x, 0).double())
            u = torch.where(reached, u.sign() * torch.inf, clean[0])
            assert torch.equal(mask[0][reached], u[reached] > 0)
            below = torch.zeros_like(u) if negative == 0 else u * negative
            v = torch.where(u > 0, u * 1.4, torch.where(u < 0, below, clean[1]))
            assert torch.equal(mask[1][reached], v[reached].abs() <= clamp)
        else:
            assert not mask[0][reached].any() and not mask[1][reached].any()
        finite_elsewhere = reference(case, torch.where(x.isfinite(), x, 0).double())[-1]
        touched = _met(case, reached)
        assert y[~touched].isfinite().all()
        check_values(torch.where(touched, 0, y), torch.where(touched, 0, finite_elsewhere), case)
        if value != value:
            assert y[touched].isnan().all()
        elif clamp < torch.inf:
            assert not y.isnan().any()
        else:
            assert not y[touched].isfinite().any() or negative <= 0


def _met(case, marks):
    """Pixels of y whose taps meet marked samples of u."""
    ax, ay = axes(case)
    met = torch.zeros(*marks.shape[:2], ay[1].out, ax[1].out, dtype=torch.bool)
    for seed in (1, 2):  # no sum is 0 by chance in both
        weights = marks * rand(*marks.shape, seed=seed)
        met |= fir_ref(weights, (ax[1], ay[1]), case.fd, case.flip[1], 1.0) != 0
    return met


@every_rate
@layouts
def test_a_mask_stops_what_is_not_finite(last, rate):
    """Where the derivative is 0 nothing passes, whatever comes."""
    for slopes, dtype in zip(((0.0, 1.4), (0.3, 0.0), (0.3, 1.4)), DTYPES):
        case = Case((1, 2, 9, 11), last, *rate, slopes=slopes, b=False)
        positive, passes = random_mask(case)
        x = samples(case, dtype)
        x[0, 1, 4, 5] = torch.inf
        x[0, 0, 3, 2] = torch.nan
        finite = torch.where(x.isfinite(), x, 0)
        reached = reference(case, (~x.isfinite()).double())[0] != 0
        dead = torch.where(positive, slopes[1], slopes[0]) == 0
        passes = passes & ~(
            reached & ~dead
        )  # all that is not finite is stopped by one or the other
        y = launch(case, dtype, signs=GIVEN, mask=(positive, passes), x=x)[0]
        check_values(y, reference(case, finite.double(), (positive, passes & ~reached))[-1], case)


@pytest.mark.parametrize("rate", [STREAMED[0], (2, 2, "6", "7")], ids=rate_name)
@pytest.mark.parametrize("clamp", [torch.inf, 0.4, 0.0])
def test_slopes_and_clamps(clamp, rate):
    for slopes in [(0.0, 1.0), (1.0, 1.0), (-0.5, 0.7), (0.2, -1.3), (0.0, 0.0)]:
        case = Case((1, 3, 5, 8), clamp < 1, *rate, slopes=slopes, clamp=clamp)
        check(case, torch.float32, signs=WRITTEN)


def test_filters_have_every_kind():
    kinds = {None if f is None else f.ndim for f in FILTERS.values()}
    assert kinds == {None, 1, 2}
