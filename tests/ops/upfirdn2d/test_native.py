# SPDX-License-Identifier: Apache-2.0
"""What only the kernels of upfirdn2d can get wrong: shapes, layouts, special values, threads."""

import itertools

import pytest
import torch
from ops.upfirdn2d.cases import F2
from support.cases import by_pairs
from support.checks import LAYOUTS, layouts_of, rand
from support.memory import needs_free_memory
from support.native import BACKENDS, needs_native, run_in_new_process

from stylegan_ops import backend, upfirdn2d
from stylegan_ops.ops.upfirdn2d import upfirdn2d_ref
from stylegan_ops.runtime.images import memory_format

pytestmark = needs_native


def taps(*shape):
    """Positive taps without symmetry, float32, that sum to about 1; no sum of outer products."""
    f = rand(*shape).abs().float() + 0.1
    return f / f.sum()


FILTERS = {
    "none": None,
    "1": taps(1),
    "2": taps(2),
    "1331": F2,
    "separable 4": taps(4),
    "separable 7": taps(7),
    "separable 12": taps(12),
    "separable 24": taps(24),
    "rank 1, 3 x 6": torch.outer(taps(3), taps(6)),
    "2 x 2": taps(2, 2),
    "5 x 3": taps(5, 3),
    "1 x 8": taps(1, 8),
    "9 x 1": taps(9, 1),
    "12 x 12": taps(12, 12),
    "24 x 17": taps(24, 17),
}
FACTORS = [  # (up, down), each a number or [x, y]
    (1, 1),
    (2, 1),
    (1, 2),
    (2, 2),
    (3, 1),
    (1, 3),
    (4, 1),
    (1, 4),
    (3, 2),
    (2, 4),
    ([2, 1], 1),
    (1, [1, 2]),
    ([1, 4], [3, 2]),
    ([3, 2], [2, 3]),
]
SHAPES = [
    (1, 1, 1, 1),
    (2, 3, 5, 7),
    (2, 8, 16, 16),
    (1, 64, 12, 9),
    (1, 1, 64, 64),
    (1, 3, 70, 33),
    (3, 1, 7, 70),
    (2, 64, 3, 4),
    (1, 8, 33, 32),
    (5, 3, 1, 40),
    (2, 13, 40, 2),
]
PADDINGS = [(0, 0, 0, 0), (2, 1, 2, 1), (-1, 2, 1, -1), (5, -2, 0, 3), (20, 13, 9, 25)]


def pad(shape, f, up, padding):
    """`padding`, with as much more as f needs to fit, and no side cropping more than there is."""
    ux, uy = (up, up) if isinstance(up, int) else up
    kw, kh = (1, 1) if f is None else (f.shape[-1], f.shape[0])
    x0, x1 = (max(p, 1 - shape[3]) for p in padding[:2])
    y0, y1 = (max(p, 1 - shape[2]) for p in padding[2:])
    x1 += max(kw - shape[3] * ux - x0 - x1, 0)
    y1 += max(kh - shape[2] * uy - y0 - y1, 0)
    return [x0, x1, y0, y1]


def derivatives(x, **kwargs):
    """y, dx, and what the gradient of dx is with respect to its dy, by the backend in force."""
    x = x.detach().requires_grad_()
    y = upfirdn2d(x, **kwargs)
    dy = torch.linspace(-1, 1, y.numel(), dtype=x.dtype).view(y.shape)
    dy = torch.empty_like(y).copy_(dy).requires_grad_()
    (dx,) = torch.autograd.grad(y, x, dy, create_graph=True)
    v = torch.linspace(1, -2, dx.numel(), dtype=x.dtype).view(dx.shape)
    return y, dx, *torch.autograd.grad(dx, dy, v)


def assert_near(ours, theirs, given=""):
    """Equal but for the order of sums: the error is small next to the largest value."""
    error = (ours - theirs).abs().max().item() / (theirs.abs().max().item() or 1)
    assert error <= 2e-6, f"{given}: error {error:.3g}"


def by_both(x, **kwargs):
    for choice in BACKENDS:
        with backend(choice):
            yield derivatives(x, **kwargs)


LAYOUT_NAMES = [name for name, _ in layouts_of(torch.zeros(1, 1, 1, 1))]


@by_pairs(
    name=list(FILTERS),
    factors=FACTORS,
    shape=SHAPES,
    padding=PADDINGS,
    layout=LAYOUT_NAMES,
    flip=[True, False],
)
def test_shapes_and_layouts(name, factors, shape, padding, layout, flip):
    (up, down), f = factors, FILTERS[name]
    padding = pad(shape, f, up, padding)
    kwargs = dict(f=f, up=up, down=down, padding=padding, flip_filter=flip, gain=1.7)
    x = dict(layouts_of(rand(*shape).float()))[layout]
    ours, theirs = by_both(x, **kwargs)
    assert ours[0].is_contiguous(memory_format=memory_format(x))
    for o, t in zip(ours, theirs):
        assert o.shape == t.shape and o.dtype == t.dtype
        assert_near(o, t)


@by_pairs(
    width=[*range(1, 19), 23, 24, 25, 31, 32, 33, 47, 48, 63, 64, 65, 70],
    channels=[1, 3, 8, 64],
    layout=LAYOUTS,
    factors=[(1, 1), (2, 1), (1, 2), (3, 2)],
    name=["1331", "separable 12"],
)
def test_every_size(width, channels, layout, factors, name):
    """Widths from 1 to 70, that tiles and vectors divide or not; heights in turn."""
    (up, down), f, height = factors, FILTERS[name], [9, 1, 16, 33, 5][width % 5]
    x = rand(1, channels, height, width).float().to(memory_format=layout)
    padding = pad(x.shape, f, up, (2, 1, 2, 1))
    for o, t in zip(*by_both(x, f=f, up=up, down=down, padding=padding)):
        assert_near(o, t)


def test_rows_longer_than_a_strip():
    """Which are cut into strips of columns, of whole turns of the phases."""
    for (up, down), shape in (
        ((1, 1), (1, 1, 5, 4200)),
        ((2, 1), (1, 3, 3, 2100)),
        ((3, 2), (1, 1, 2, 3000)),
    ):
        x = rand(*shape).float()
        for layout in LAYOUTS:
            given = x.to(memory_format=layout)
            for o, t in zip(*by_both(given, f=F2, up=up, down=down, padding=[2, 1, 2, 1])):
                assert_near(o, t)
    x = rand(1, 64, 4, 70).float().to(memory_format=torch.channels_last)
    for o, t in zip(*by_both(x, f=FILTERS["5 x 3"], up=2, down=1, padding=3)):
        assert_near(o, t)


@pytest.mark.parametrize("up, down", [(1, 1), (2, 1), (1, 2)])
def test_a_gradient_in_another_layout(up, down):
    results, x0 = [], rand(2, 16, 12, 10).float()
    for given, cotangent in itertools.product(LAYOUTS, LAYOUTS):
        x = x0.to(memory_format=given).requires_grad_()
        y = upfirdn2d(x, F2, up=up, down=down, padding=2)
        dy = rand(*y.shape).float().to(memory_format=cotangent).requires_grad_()
        (dx,) = torch.autograd.grad(y, x, dy, create_graph=True)
        (ddy,) = torch.autograd.grad(dx, dy, x)
        results.append((y, dx, ddy))
    for result in results[1:]:
        for a, b in zip(result, results[0]):
            assert_near(a, b)


@pytest.mark.parametrize("up, down", [(1, 1), (3, 2)])
def test_third_derivative(up, down):
    x0, weights, results = rand(2, 3, 6, 5), rand(2, 3, 6, 5, seed=5), []
    for choice in BACKENDS:
        with backend(choice):
            x = x0.clone().requires_grad_()
            value = upfirdn2d(x, F2, up=up, down=down, padding=2).pow(4).sum()
            for _ in range(3):
                (g,) = torch.autograd.grad(value, x, create_graph=True)
                value = (g * weights * x.sin()).sum()
            results.append(g)
    torch.testing.assert_close(*results)


@by_pairs(
    factors=[(1, 1), (2, 1), (1, 2), (3, 2)],
    name=["1331", "separable 12", "5 x 3"],
    dtype=[torch.float32, torch.bfloat16, torch.float16],
    layout=LAYOUTS,
    value=[float("nan"), float("inf")],
    channels=[3, 16],
)
def test_special_values_stay_where_they_are(factors, name, dtype, layout, value, channels):
    """NaN and infinity reach what they are a term of, and nothing else."""
    point = torch.zeros(2, channels, 21, 20)
    point[1, 2, [0, 9, 20], [0, 11, 19]] = 1
    x = (point * 0 + 0.5).to(dtype).to(memory_format=layout)
    x[point > 0] = value
    kwargs = dict(f=FILTERS[name], up=factors[0], down=factors[1], padding=3)
    y = upfirdn2d(x, **kwargs)
    reached = upfirdn2d_ref(point, **kwargs) > 0
    assert torch.equal(~y.isfinite(), reached)
    assert torch.equal(y.isnan(), reached if value != value else torch.zeros_like(reached))


@by_pairs(
    factors=[(1, 1), (2, 1), (1, 2), (2, 3)],
    layout=LAYOUTS,
    name=["1331", "separable 12", "5 x 3"],
)
def test_the_same_bits_however_many_threads(factors, layout, name):
    x, before = rand(2, 8, 129, 127).float().to(memory_format=layout), torch.get_num_threads()
    (up, down), results = factors, []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(derivatives(x, f=FILTERS[name], up=up, down=down, padding=4))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for r in results for a, b in zip(r, results[0]))


@pytest.mark.thorough
def test_ten_thousand_calls_leak_nothing():
    run_in_new_process("""
        import resource, torch
        from stylegan_ops import setup_filter, upfirdn2d
        x = torch.randn(2, 3, 8, 8, requires_grad=True)
        dy, filters = torch.ones(2, 3, 16, 16), (setup_filter([1, 3, 3, 1]), torch.ones(4) / 4)

        def call(n):
            for i in range(n):
                y = upfirdn2d(x, filters[i % 2], up=2, padding=[2, 1, 2, 1])
                torch.autograd.grad(y, x, dy)
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

        before = call(2000)
        grown = call(10000) - before
        assert grown < 1024, f"{grown} KiB more"
    """)


@pytest.mark.thorough
@pytest.mark.serial
@pytest.mark.parametrize("large, layout", [("input", LAYOUTS[1]), ("output", LAYOUTS[0])])
def test_more_than_two_to_the_31_elements(large, layout):
    """One side of 2^31 elements and more, the other small."""
    needs_free_memory(12)
    last = layout == torch.channels_last
    c, h, w = (8, 16384, 16400) if last else (1, 46336, 46400)
    assert c * h * w > 2**31
    kwargs = dict(f=torch.tensor([0.25, 0.75]), flip_filter=True)
    factor = 16 if large == "input" or last else 2

    def zeros(h, w):
        x = torch.zeros((1, h, w, c) if last else (1, c, h, w), dtype=torch.bfloat16)
        return x.permute(0, 3, 1, 2) if last else x

    if large == "input":
        x = zeros(h, w)
        corner = x[:, :, -32:, -32:].copy_(torch.arange(32) - 10)
        kwargs |= dict(down=factor)
        y = upfirdn2d(x, **kwargs)[:, :, -2:, -2:]
    else:
        x = zeros(h // factor, w // factor)
        corner = x[:, :, -2:, -2:].copy_(torch.arange(2) + 3)
        kwargs |= dict(up=factor)
        y = upfirdn2d(x, **kwargs | {"padding": [1, 0, 1, 0]})
        assert y.shape == (1, c, h, w)
        y = y[:, :, 1 - 2 * factor :, 1 - 2 * factor :]
    with backend("reference"):
        expected = upfirdn2d(corner, **kwargs)
    assert y.any() and torch.equal(y, expected)
