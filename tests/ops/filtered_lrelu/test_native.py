# SPDX-License-Identifier: Apache-2.0
"""What only the CPU kernel of filtered_lrelu can get wrong: geometries, masks, tiles, threads."""

import itertools
import os

import pytest
import torch
from ops.filtered_lrelu.cases import (
    MARGIN,
    OP,
    Geometry,
    between,
    bits_of,
    check_near,
    derivatives,
    masked_ref,
    native_filter,
    op_arguments,
    random_geometry,
    random_mask,
    taps,
    transposed,
)
from support.cases import by_pairs, mostly_thorough
from support.checks import LAYOUTS, layouts_of, rand
from support.native import ROOT, needs_native, run_in_new_process

from stylegan_ops import filtered_lrelu
from stylegan_ops.ops.filtered_lrelu import filtered_lrelu_ref
from stylegan_ops.ops.upfirdn2d import upfirdn2d_ref
from stylegan_ops.runtime.images import memory_format

pytestmark = needs_native

LAYER = dict(fu=taps(12), fd=taps(12, seed=1), up=2, down=2, padding=[12, 11, 13, 10])
RADIAL = dict(LAYER, fd=taps(12, 12, symmetric=True), up=4, fu=taps(24), padding=[18, 19, 20, 16])
WINDOWS = dict(LAYER, fu=taps(6, 5), fd=taps(4, 7), padding=[3, -1, 4, 6], clamp=0.8)
PLAIN = dict(fu=None, fd=None, up=1, down=1, padding=[0, 0, 0, 0])
CASES = {"layer": LAYER, "radial": RADIAL, "windows": WINDOWS, "plain": PLAIN}
WIDE = [
    *[("layer", (1, 16, 300, 700)), ("layer", (1, 40, 33, 1500)), ("radial", (1, 16, 70, 350))],
    *[("windows", (1, 20, 33, 900)), ("windows", (1, 3, 400, 90)), ("plain", (1, 20, 200, 900))],
]
DEFAULTS = dict(gain=1.4, slope=0.2, clamp=None, flip_filter=False)
CASES = {name: DEFAULTS | case for name, case in CASES.items()}

every_case = pytest.mark.parametrize("name", CASES)
every_layout = pytest.mark.parametrize("layout", LAYOUTS, ids=["contiguous", "channels_last"])


def check_geometry(g):
    """y, dx, db and the second derivative, and the layout of each image."""
    x, b = g.inputs()
    ours = derivatives(x, b, "native", **g.kwargs)
    exact = derivatives(x.double(), None if b is None else b.double(), "reference", **g.kwargs)
    check_near(ours, exact, str(g))
    for image in ours[:2]:  # of one pixel a gradient does not tell which
        one = ours[0].shape[2:].numel() == 1
        assert one or image.is_contiguous(memory_format=memory_format(x)), str(g)


@mostly_thorough("part", range(8), [0, 1])
def test_random_geometries(part):
    for seed in range(40 * part, 40 * part + 40):
        check_geometry(random_geometry(seed))


@every_layout
def test_every_size(layout):
    """Widths and heights from 1 to 35, which pixels, pairs of rows and of phases divide or not."""
    for i, width in enumerate([*range(1, 19), 23, 24, 25, 31, 32, 33, 34, 35]):
        shape = (1, (17, 2)[i % 2], (11 * i) % 35 + 1, width)
        others = {"fu": taps(9), "fd": taps(5), "up": 4, "down": (1, 4)[i // 3 % 2]}
        kwargs = CASES["layer"] | (others if i % 3 == 0 else {})
        check_geometry(Geometry(shape, layout, kwargs, i % 4 > 0))


@every_layout
@pytest.mark.parametrize("clamp", [None, 0.8])
def test_the_mask_says_what_u_is(clamp, layout):
    """Every sample of the grid, also those that no tap of the second filter meets."""
    for seed in range(25):
        g = random_geometry(seed, 5e5)
        kwargs = g.kwargs | {"clamp": clamp, "gain": abs(g.kwargs["gain"])}
        x, b = Geometry(g.shape, layout, kwargs, g.b, seed).inputs()
        y, mask = OP(*op_arguments(x, b, write=True, **kwargs))
        assert torch.equal(mask, OP(*op_arguments(x, b, write=True, **kwargs))[1])
        assert torch.equal(y, OP(*op_arguments(x, b, **kwargs))[0])
        check_bits(mask, between(x.double(), b, **kwargs), kwargs)


def check_bits(mask, u, kwargs, margin=MARGIN):
    last = mask.shape[1:3] == u.shape[2:] and mask.shape[2] == u.shape[3]
    above, passes = bits_of(mask, u.shape[1], u.shape[3], last)
    wrong = (above != (u > 0)) & (u.abs() > margin)
    assert not wrong.any(), f"{int(wrong.sum())} signs of {kwargs}"
    if kwargs["clamp"] is None:
        assert passes.all()
    else:
        v = torch.where(u > 0, 1.0, kwargs["slope"]) * u.abs() * abs(kwargs["gain"])
        beside = (v - kwargs["clamp"]).abs() > margin
        assert not ((passes != (v <= kwargs["clamp"])) & beside).any(), str(kwargs)


@every_layout
def test_given_masks_are_linear_and_have_an_adjoint(layout):
    for seed in range(40):
        g = random_geometry(seed + 1000, 5e5)
        x = rand(*g.shape).float().to(memory_format=layout)
        b = rand(g.shape[1]).float() if g.b else None
        mask = random_mask(x, g.size(), seed)
        args = op_arguments(x, b, mask, **g.kwargs)
        y, nothing = OP(*args)
        assert nothing.numel() == 0
        exact = masked_ref(x.double(), b, mask, **g.kwargs)
        check_near([y], [exact], str(g))
        # L is without b. Rounding is small beside the norms, not beside the product.
        y = OP(*args[:3], None, *args[4:])[0]
        dy = rand(*y.shape, seed=1).float().to(memory_format=layout)
        dx = OP(*transposed(args, x, mask)(dy))[0]
        assert dx.shape == x.shape
        apart = (y.double() * dy).sum() - (x.double() * dx).sum()
        assert apart.abs() <= 1e-6 * y.double().norm() * dy.norm(), str(g)


@mostly_thorough("name, shape", WIDE, [*WIDE[:1], *WIDE[2:4]], ids=str)
@every_layout
def test_many_tiles(name, shape, layout):
    """Against the filters alone, whose kernels are another matter."""
    kwargs = CASES[name] | {"clamp": 1.0}
    x, b = rand(*shape).float().to(memory_format=layout), rand(shape[1]).float()
    y, mask = OP(*op_arguments(x, b, write=True, **kwargs))
    assert torch.equal(y, OP(*op_arguments(x, b, **kwargs))[0])
    u = between(x, b, run=native_filter, **kwargs)
    check_bits(mask, u, kwargs, 3e-5)
    v = (torch.where(u > 0, u, u * kwargs["slope"]) * kwargs["gain"]).clamp(-1, 1)
    flip, down = kwargs["flip_filter"], kwargs["down"]
    check_near([y], [native_filter(v, kwargs["fd"], 1, down, 0, flip)], name)
    given = random_mask(x, u.shape[2:])
    args = op_arguments(x, b, given, **kwargs)
    linear = OP(*args)[0]
    check_near([linear], [masked_ref(x, b, given, native_filter, **kwargs)], f"{name}, given")
    dx = OP(*transposed(args, x, given)(y))[0]  # another geometry as wide
    linear = OP(*args[:3], None, *args[4:])[0]
    apart = (linear.double() * y).sum() - (x.double() * dx).sum()
    assert apart.abs() <= 1e-6 * linear.double().norm() * y.norm()


ORIGINS = [((5, 3), (2, 9)), ((-20, -4), (-3, -1)), ((60, 21), (70, 1)), ((-9, 7), (30, -8))]


@every_layout
@pytest.mark.parametrize("name", ["layer", "windows", "plain"])
def test_origins_of_the_second_filter(name, layout):
    """Tiles that begin anywhere, outputs before and after the image; the mask has all of it."""
    for shape, (origin, more) in itertools.product([(1, 3, 14, 350), (2, 18, 9, 33)], ORIGINS):
        for down in (1, 2, 4):
            kwargs = CASES[name] | {"clamp": 0.9, "down": down}
            x = rand(*shape).float().to(memory_format=layout)
            u = between(x.double(), None, **kwargs)
            v = torch.where(u > 0, u, u * kwargs["slope"]) * kwargs["gain"]
            padding = [origin[0], more[0], origin[1], more[1]]
            y = upfirdn2d_ref(v.clamp(-0.9, 0.9), kwargs["fd"], 1, down, padding)
            args = list(op_arguments(x, None, write=True, **kwargs))
            args[8], args[10] = origin, list(y.shape[2:])
            ours, mask = OP(*args)
            check_near([ours], [y], f"{shape} {origin}")
            check_bits(mask, u, kwargs)
            args[8] = [-2 - args[9][1], 0]  # beyond the image on the right
            ours, again = OP(*args)
            assert torch.equal(again, mask) and not ours.any()


@every_layout
@pytest.mark.parametrize("k", [1, 2, 3, 4, 5])
def test_tasks_one_below_the_other(k, layout):
    """What a task has made of rows is not taken for the next one's, wherever both begin."""
    for y0 in (9, 10):
        kwargs = CASES["layer"] | {"fd": taps(k), "padding": [9, 8, y0, 8]}
        x = rand(1, 16, 200, 9).float().to(memory_format=layout)
        exact = filtered_lrelu_ref(x.double(), **kwargs)
        check_near([filtered_lrelu(x, **kwargs)], [exact], f"{y0}")


@every_layout
@every_case
def test_the_same_bits_however_many_threads(name, layout):
    shape, before, results = (2, 20, 140, 61), torch.get_num_threads(), []
    x, b = rand(*shape).float().to(memory_format=layout), rand(20).float()
    kwargs = CASES[name] | {"clamp": 0.9}
    mid = Geometry(shape, layout, kwargs, True).size()
    try:
        for threads in (1, 2, 3, 2):
            torch.set_num_threads(threads)
            written = OP(*op_arguments(x, b, write=True, **kwargs))
            given = OP(*op_arguments(x, b, random_mask(x, mid), **kwargs))
            results.append([*written, *given, *derivatives(x, b, **kwargs)[:2]])
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for r in results for a, b in zip(r, results[0]))


@every_case
def test_every_layout(name):
    for shape in [(2, 20, 9, 11), (3, 16, 5, 8), (1, 1, 7, 6), (2, 3, 1, 13)]:
        for layout, x in layouts_of(rand(*shape).float()):
            b = rand(shape[1]).float()
            ours = derivatives(x, b, "native", **CASES[name])
            exact = derivatives(x.double(), b.double(), "reference", **CASES[name])
            check_near(ours, exact, f"{layout} {shape}")
            assert ours[0].is_contiguous(memory_format=memory_format(x)), layout


@every_layout
@every_case
def test_a_gradient_in_another_layout(name, layout):
    x, results = rand(2, 20, 9, 11).float().to(memory_format=layout).requires_grad_(), []
    y = filtered_lrelu(x, **CASES[name])
    for _, dy in layouts_of(rand(*y.shape).float()):
        if dy.stride(0) > 0:  # an expanded one has other values
            results.append(torch.autograd.grad(y, x, dy, retain_graph=True)[0])
    assert all(torch.equal(dx, results[0]) for dx in results)


@by_pairs(name=CASES, slope=[0.2, 0.0, -0.3], clamp=[None, 0.7], layout=LAYOUTS)
def test_values_that_are_not_finite_stay_where_taps_reach(slope, clamp, name, layout):
    kwargs = CASES[name] | {"clamp": clamp, "slope": slope}
    fir, fd = dict(kwargs, run=native_filter), kwargs["fd"]
    for value, channels in itertools.product([torch.nan, torch.inf, -torch.inf], [3, 16]):
        point = torch.zeros(2, channels, 21, 40, dtype=torch.float64)
        point[1, 2, [0, 9, 20], [0, 11, 39]] = 1
        x = rand(*point.shape).float().to(memory_format=layout)
        clean = filtered_lrelu(x, **kwargs)
        x[point > 0] = value
        y, mask = OP(*op_arguments(x, None, write=True, **kwargs))
        reached = between(point, None, **fir) != 0
        after = reached.double() * rand(*reached.shape).abs()
        far = native_filter(after, fd, 1, kwargs["down"], 0, False) == 0
        check_near([y[far]], [clean[far]], f"{value}")
        above, passes = bits_of(mask, channels, reached.shape[3], layout == torch.channels_last)
        if value != value:
            assert y[~far].isnan().all()
            assert not above[reached].any() and (clamp is None or not passes[reached].any())
        elif clamp is not None:
            assert y.isfinite().all()
        else:
            exact = filtered_lrelu_ref(x, **kwargs)
            known = exact.isfinite() & far
            assert torch.equal(y[known].isfinite(), torch.ones_like(y[known], dtype=torch.bool))
            assert slope == 0 or not y[~far].isfinite().any()


@every_layout
@pytest.mark.parametrize("channels", [1, 5])
@pytest.mark.parametrize("size", [(1, 1), (1, 3), (2, 1)])
def test_results_that_tell_no_layout(size, channels, layout):
    kwargs = CASES["windows"] | {"up": 1, "padding": [0, 2 * size[1] - 2, 0, 2 * size[0] - 2]}
    check_geometry(Geometry((2, channels, 9, 11), layout, kwargs, True))


@by_pairs(name=CASES, how=[(0.0, None), (0.2, 0.5), (-0.2, 0.5)], layout=LAYOUTS)
def test_a_mask_stops_what_is_not_finite(how, name, layout):
    slope, clamp = how
    kwargs = CASES[name] | {"clamp": clamp, "slope": slope}
    for channels, value in itertools.product([3, 16], [torch.nan, torch.inf]):
        x = torch.full((1, channels, 8, 9), value).to(memory_format=layout)
        mid = Geometry(x.shape, layout, kwargs, False).size()
        y = OP(*op_arguments(x, None, random_mask(x, mid) * 0, **kwargs))[0]
        assert not y.any()


@pytest.mark.thorough
@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="no /proc")
@pytest.mark.parametrize("last", [False, True], ids=["contiguous", "channels_last"])
def test_nothing_of_the_up_sampled_size(last):
    """64 MiB of input, as much of output, 1 GiB between them."""
    code = f"""
        import torch
        from ops.filtered_lrelu.cases import filtered_lrelu, taps

        def peak(name):
            with open("/proc/self/status") as file:
                return next(int(s.split()[1]) for s in file if s.startswith(name)) << 10

        layout = torch.channels_last if {last} else torch.contiguous_format
        x = torch.full((1, 64, 512, 512), 0.5).contiguous(memory_format=layout)
        kwargs = dict(fu=taps(24), fd=taps(24), up=4, down=4, padding=24)
        filtered_lrelu(x[:, :, :64, :64].clone(), **kwargs)
        before = peak("VmRSS")
        y = filtered_lrelu(x, **kwargs)
        more = peak("VmHWM") - before - y.nbytes
        assert more < 16 << 20, f"{{more >> 20}} MiB more than x and y"
    """
    run_in_new_process(code, path=(ROOT, ROOT / "tests", ROOT / "tests" / "ops"))
