# SPDX-License-Identifier: Apache-2.0
import math
from types import SimpleNamespace

import pytest
import torch
from support.tiny import tiny

from stylegan import UserError, build_generator
from stylegan.metrics.equivariance import equivariance
from stylegan.metrics.resampling import lowpass, radial_filter, rotate, shift, shift_whole
from stylegan.models.stylegan3 import make_transform


class Waves(torch.nn.Module):
    """A generator that is equivariant by construction: plane waves, sampled at the transformed
    pixels.

    Args:
        max_freq: in cycles per px.
        fault: function (matrix) -> matrix, what it does wrong.
    """

    def __init__(self, size=64, max_freq=0.3, fault=lambda m: m):
        super().__init__()
        self.config = SimpleNamespace(resolution=(size, size), channels=3)
        self.z_dim, self.c_dim, self.fault = 20, 0, fault
        draw = torch.Generator().manual_seed(0)
        angle, radius = torch.rand(2, 20, generator=draw)
        direction = torch.stack([(6.3 * angle).cos(), (6.3 * angle).sin()], 1)
        self.freqs = (direction * radius.sqrt()[:, None] * max_freq * size).double()
        self.amplitudes = 0.1 * torch.randn(3, 20, generator=draw).double()
        self.anything = torch.nn.Parameter(torch.zeros(1))
        self.synthesis = torch.nn.Module()
        self.synthesis.input = torch.nn.Module()
        self.synthesis.input.register_buffer("transform", torch.eye(3))
        self.synthesis.forward = self.draw

    def mapping(self, z, c, psi):
        return z[:, None]

    def draw(self, ws):
        size = self.config.resolution[0]
        matrix = self.fault(self.synthesis.input.transform.double())
        grid = (torch.arange(size).double() + 0.5) / size - 0.5
        p = torch.stack(torch.meshgrid(grid, grid, indexing="xy"), -1)
        p = p @ matrix[:2, :2].T + matrix[:2, 2]
        phase = 2 * torch.pi * p @ self.freqs.T + 3 * ws[:, 0, None, None].double()
        return torch.einsum("nhwf,cf->nchw", phase.sin(), self.amplitudes).float()


@pytest.mark.parametrize("size, max_freq", [(32, 0.3), (64, 0.4)])
def test_what_is_equivariant_measures_so(size, max_freq):
    result = equivariance(Waves(size, max_freq), samples=2)
    assert list(result) == ["eqt_int", "eqt_frac", "eqr"]
    assert min(result.values()) > 85


def test_the_band_of_every_kind():
    """With frequencies up to Nyquist, whole shifts are exact, eqt_frac loses the transition band of
    the interpolator, and rotations are compared below Nyquist only."""
    result = equivariance(Waves(64, 0.5), samples=2)
    assert result["eqt_int"] > 85 and 20 < result["eqt_frac"] < 50 and result["eqr"] > 85


@pytest.mark.parametrize("fault", ["left out", "inverted", "half"])
def test_what_is_not_measures_so(fault):
    faults = {
        "left out": lambda m: torch.eye(3).double(),
        "inverted": torch.linalg.inv,
        "half": lambda m: torch.lerp(torch.eye(3).double(), m, 0.5),
    }
    assert max(equivariance(Waves(32, fault=faults[fault]), samples=2).values()) < 30


def test_known_errors():
    """An error of known size comes out as its dB: pictures that differ by 0.02 everywhere."""

    def off(ws):
        moved = not network.synthesis.input.transform.equal(torch.eye(3))
        return Waves.draw(network, ws) + 0.02 * moved

    network = Waves(32)
    network.synthesis.forward = off
    expected = 10 * math.log10(4 / 0.02**2)
    for value in equivariance(network, samples=2).values():
        assert value == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize(
    "name, base, channel_max, rotates",
    [("t", 4096, 64, False), pytest.param("r", 8192, 128, True, marks=pytest.mark.thorough)],
)
def test_untrained_networks(name, base, channel_max, rotates):
    torch.manual_seed(0)
    G = build_generator(
        f"stylegan3-{name}", resolution=64, channel_base=base, channel_max=channel_max
    ).train()
    before = {k: v.clone() for k, v in G.state_dict().items()}
    result = equivariance(G, samples=2)
    assert result["eqt_int"] > 70 and result["eqt_frac"] > 70
    assert result["eqr"] > 70 if rotates else result["eqr"] < 45
    assert G.training and all(v.equal(before[k]) for k, v in G.state_dict().items())


def test_draws_are_the_seed_s():
    network = Waves(32, 0.6)
    whole = equivariance(network, samples=5, batch=5)
    assert equivariance(network, samples=5, batch=2) == pytest.approx(whole, abs=0.01)
    assert equivariance(network, ["eqr"], samples=5)["eqr"] == pytest.approx(whole["eqr"], abs=0.01)
    assert equivariance(network, ["eqt_frac"], samples=5, seed=1)["eqt_frac"] != whole["eqt_frac"]
    seen = []
    equivariance(network, ["eqt_int"], samples=5, batch=2, progress=seen.append)
    assert seen == [2, 2, 1]


def test_motions_are_those_of_a_network_that_has_been_moved_already():
    network = Waves(32)
    network.synthesis.input.transform.copy_(make_transform((0.1, -0.2), 70))
    assert min(equivariance(network, samples=2).values()) > 85


def test_the_transform_is_given_back_after_an_error():
    network = Waves()

    def fails(ws):
        if not network.synthesis.input.transform.equal(torch.eye(3)):
            raise KeyboardInterrupt
        return Waves.draw(network, ws)

    network.synthesis.forward = fails
    with pytest.raises(KeyboardInterrupt):
        equivariance(network, samples=1)
    assert network.synthesis.input.transform.equal(torch.eye(3))


def test_shift_agrees_with_whole_shifts_and_says_what_it_defines():
    x = torch.randn(2, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    by = torch.tensor([[3.0, -5.0], [0.0, 6.0]])
    exact = shift_whole(x, by)
    assert exact.images[0, 0, 0, 3] == x[0, 0, 5, 0] and exact.valid[0].sum() == 45 * 43
    got = shift(x, by)
    valid, inside = got.valid, got.valid[:, None]
    torch.testing.assert_close(got.images * inside, exact.images * inside, atol=1e-5, rtol=0)
    # 12 px of filter on each side, moved.
    assert valid[0].nonzero().aminmax(dim=0).min.tolist() == [7, 15]
    assert valid[0].nonzero().aminmax(dim=0).max.tolist() == [30, 38]


def test_rotation_by_quarters_is_exact():
    x = torch.randn(3, 2, 40, 40, generator=torch.Generator().manual_seed(0))
    still = rotate(x, torch.zeros(3))
    assert still.valid.sum() == 3 * 20 * 20
    filtered = lowpass(x) * still.valid[:, None]
    torch.testing.assert_close(filtered, still.images, atol=1e-4, rtol=0)
    turned = rotate(x, torch.tensor([90.0, 180, 270]))
    expected = torch.stack([torch.rot90(s, i + 1, (1, 2)) for i, s in enumerate(still.images)])
    torch.testing.assert_close(turned.images, expected, atol=1e-4, rtol=0)
    assert turned.valid.sum() == 3 * 20 * 20


def test_rotation_turns_as_the_transform_does():
    network = Waves(64, 0.2)
    ws = torch.zeros(1, 1, 20)
    still = network.synthesis(ws)
    network.synthesis.input.transform.copy_(make_transform(angle=33))
    got = rotate(still, torch.tensor([33.0]))
    error = (got.images - network.synthesis(ws)) * got.valid[:, None]
    assert got.valid.sum() > 500 and error.abs().max() < 1e-3


def test_the_radial_filter_stops_at_nyquist():
    a = 16
    k = radial_filter(a)
    t = torch.arange(-a * 4, a * 4 + 1) / 4  # a grid four times as fine
    r = torch.hypot(t[:, None], t[None])
    values = torch.where(r <= a, k[(r * 1024).round().long().clamp(max=a * 1024)], 0).double()
    response = torch.fft.fft2(values, s=(512, 512)).abs()
    f = torch.fft.fftfreq(512, 0.25).double()
    radius = torch.hypot(f[:, None], f[None])
    response /= response[0, 0].clone()
    assert (response[radius < 0.34] - 1).abs().max() < 5e-4
    assert response[radius > 0.5].max() < 5e-4


def test_rejects():
    with pytest.raises(UserError, match="expected a StyleGAN3 network"):
        equivariance(build_generator(tiny()))
    with pytest.raises(UserError, match="square pictures of 32 px or more, got 16x16"):
        equivariance(Waves(16))
    with pytest.raises(ValueError, match="kinds: expected of eqt_int, eqt_frac, eqr, got fid"):
        equivariance(Waves(), ["fid"])
