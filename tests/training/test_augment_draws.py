# SPDX-License-Identifier: Apache-2.0
"""How often transforms happen, and how large they are."""

import math

import numpy as np
import pytest
import torch
from support.checks import FIXTURES

from stylegan.training.augment import AugmentPipe, color, corrupt, geometry, pipe_of
from stylegan.training.augment.draws import Draws

MORE = np.load(FIXTURES / "augment-more.npz")
RATES = [key for key in MORE.files if key.startswith("rate/")]
N = 100_000


def draws(p, n=N, seed=0):
    return Draws(n, torch.tensor(float(p)), torch.Generator().manual_seed(seed))


def warps(p, height=32, width=48, **strengths):
    all = dict.fromkeys(geometry.NAMES, 0.0) | strengths
    return geometry.matrices(all, draws(p), height, width).double()


def colors(p, **strengths):
    all = dict.fromkeys(color.NAMES, 0.0) | strengths
    return color.matrices(all, draws(p), rgb=True).double()


def changed(matrices):
    identity = torch.eye(matrices.shape[1], dtype=torch.float64)
    return ((matrices - identity).abs().amax(dim=(1, 2)) > 1e-6).double().mean().item()


@pytest.mark.parametrize("key", RATES)
def test_rates_of_the_fixture(key):
    name, p = key.removeprefix("rate/").split("@")
    pipe = AugmentPipe(**{name: 1})
    pipe.generator = torch.Generator().manual_seed(3)
    pipe.p.fill_(float(p))
    x = torch.randn(4000, 3, 8, 8, generator=torch.Generator().manual_seed(4))
    rate = ((pipe(x) - x).abs().amax(dim=(1, 2, 3)) > 1e-3).double().mean().item()
    assert rate == pytest.approx(float(MORE[key]), abs=0.03)


@pytest.mark.parametrize("p", [0.25, 0.8])
@pytest.mark.parametrize(
    "name, share", [("xflip", 1 / 2), ("rotate90", 3 / 4), ("scale", 1), ("aniso", 1), ("xfrac", 1)]
)
def test_how_often_geometry_happens(name, share, p):
    assert changed(warps(p, **{name: 1})) == pytest.approx(share * p, abs=0.005)
    assert changed(warps(p, **{name: 0.5})) == pytest.approx(share * p / 2, abs=0.005)


@pytest.mark.parametrize("p", [0.25, 0.8, 1])
def test_rotation_happens_with_probability_p(p):
    """In two halves, either of which may happen."""
    assert changed(warps(p, rotate=1)) == pytest.approx(p, abs=0.005)


@pytest.mark.parametrize("p", [0.25, 0.8])
@pytest.mark.parametrize("name", color.NAMES)
def test_how_often_color_happens(name, p):
    share = 0.5 if name == "lumaflip" else 1
    assert changed(colors(p, **{name: 1})) == pytest.approx(share * p, abs=0.005)


def test_sizes_of_geometry():
    m = warps(1, xint=1)
    x, y = m[:, 0, 2], m[:, 1, 2]
    assert torch.equal(x, x.round()) and torch.equal(y, y.round())
    assert x.abs().max() == 6 and y.abs().max() == 4  # an eighth of 48 and 32
    assert abs(np.corrcoef(x, y)[0, 1]) < 0.02  # drawn apart
    assert x.std() == pytest.approx(12 / math.sqrt(12), rel=0.02)
    octaves = warps(1, scale=1)[:, 0, 0].log2()
    assert octaves.std() == pytest.approx(0.2, rel=0.02) and abs(octaves.mean()) < 0.003
    m = warps(1, aniso=1)
    torch.testing.assert_close(m[:, 0, 0] * m[:, 1, 1], torch.ones(N).double())
    assert m[:, 0, 0].log2().std() == pytest.approx(0.2, rel=0.02)
    m = warps(1, xfrac=1)
    assert m[:, 0, 2].std() == pytest.approx(6, rel=0.02)
    assert m[:, 1, 2].std() == pytest.approx(4, rel=0.02)
    m = warps(0.999999, rotate=1)
    angle = torch.atan2(m[:, 1, 0], m[:, 0, 0])
    assert angle.std() == pytest.approx(2 * math.pi / math.sqrt(12), rel=0.02)
    quarter = warps(1, rotate90=1)[:, :2, :2].round()
    kinds = torch.unique(quarter, dim=0, return_counts=True)[1] / N
    torch.testing.assert_close(kinds, torch.full([4], 0.25), atol=0.006, rtol=0)


def test_sizes_of_color():
    shift = colors(1, brightness=1)[:, 0, 3]
    assert shift.std() == pytest.approx(0.2, rel=0.02) and abs(shift.mean()) < 0.003
    assert colors(1, contrast=1)[:, 0, 0].log2().std() == pytest.approx(0.5, rel=0.02)
    saturation = colors(1, saturation=1)
    factor = saturation[:, 0, 0] - saturation[:, 0, 1]  # of what differs from grey
    assert factor.log2().std() == pytest.approx(1, rel=0.02)
    hue = colors(1, hue=1)[:, :3, :3]
    cos = (hue.diagonal(dim1=1, dim2=2).sum(dim=1) - 1) / 2
    angle = torch.acos(cos.clamp(-1, 1))
    assert angle.mean() == pytest.approx(math.pi / 2, rel=0.02)
    grey = torch.ones(3).double()
    torch.testing.assert_close(hue @ grey, grey.expand(N, 3), atol=1e-5, rtol=0)


def test_cutout_is_half_as_wide_anywhere():
    x = torch.ones(N // 10, 1, 16, 16)
    y = corrupt.cut_out(x, 1, draws(1, len(x)))[:, 0] == 0
    rows, columns = y.any(dim=2).sum(dim=1), y.any(dim=1).sum(dim=1)
    assert rows.max() == columns.max() == 8
    assert (y.sum(dim=(1, 2)) == rows * columns).all()
    # Of a centre that is uniform over the image, a side of 1/2 keeps 7/16 inside on average.
    assert (rows / 16).mean() == pytest.approx(7 / 16, rel=0.02)
    assert (corrupt.cut_out(x, 1, draws(0.3, len(x))) == 0).any(dim=3).any(
        dim=2
    ).float().mean() == pytest.approx(0.3, abs=0.02)


def test_noise():
    x = torch.zeros(N // 10, 3, 4, 4)
    sigma = corrupt.noisy(x, 1, draws(1, len(x))).square().mean().sqrt()
    assert sigma == pytest.approx(0.1, rel=0.03)


def test_bands_draw_independently():
    bank = corrupt.filter_bank()
    x = torch.randn(200, 1, 22, 22, generator=torch.Generator().manual_seed(0))
    y = corrupt.filtered(x, 1, draws(0.1, 200), bank)
    same = ((y - x).abs().amax(dim=(1, 2, 3)) < 1e-4).double().mean()
    assert same == pytest.approx(0.9**4, abs=0.1)


def test_draws_come_from_the_generator():
    x = torch.randn(4, 3, 24, 24)
    pipe = pipe_of("bgcfnc")
    pipe.generator = torch.Generator().manual_seed(5)
    state = torch.get_rng_state()
    first = pipe(x)
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(pipe(x), first)
    pipe.generator.manual_seed(5)
    assert torch.equal(pipe(x), first)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_another_default_dtype_changes_nothing(dtype):
    def run():
        pipe = pipe_of("bgcfnc")
        pipe.generator = torch.Generator().manual_seed(0)
        return pipe(x)

    x = torch.randn(4, 3, 24, 24)
    expected = run()
    try:
        torch.set_default_dtype(dtype)
        assert torch.equal(run(), expected)
    finally:
        torch.set_default_dtype(torch.float32)
