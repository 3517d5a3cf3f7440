# SPDX-License-Identifier: Apache-2.0
import json

import numpy as np
import pytest
import torch

from stylegan.metrics.spectra import SpectrumMeter
from stylegan.metrics.spectra_files import plot, save_numbers


def spectrum_of(images, batch=7):
    meter = SpectrumMeter()
    for part in images.split(batch):
        meter.add(part)
    return meter.result()


def noise(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_white_noise_is_flat():
    spectrum = spectrum_of(0.3 * noise(400, 3, 32, 32) + 0.5)
    # The mean of 1200 exponentially distributed powers: 3 % each, five times that over 1024 bins.
    assert np.abs(spectrum.power / 0.09 - 1).max() < 0.17
    assert spectrum.power.mean() == pytest.approx(0.09, rel=0.01)
    assert spectrum.count == 400


@pytest.mark.parametrize("fx, fy", [(5, 0), (0, 7), (6, 6), (3, -9), (16, 0)])
def test_a_sinusoid_is_a_peak_at_its_frequency(fx, fy):
    y, x = torch.meshgrid(*[torch.arange(32).double() / 32] * 2, indexing="ij")
    spectrum = spectrum_of((2 * torch.pi * (fx * x + fy * y)).cos()[None, None])
    peak = np.unravel_index(spectrum.power.argmax(), spectrum.power.shape)
    at = spectrum.frequencies[list(peak)] * 32
    assert abs(at[0]) == abs(fy) and abs(at[1]) == abs(fx)
    distance = np.hypot(
        np.subtract.outer(spectrum.frequencies * 32, [fy, -fy])[:, None],
        np.subtract.outer(spectrum.frequencies * 32, [fx, -fx])[None],
    ).min(axis=-1)
    wrapped = np.minimum(distance, distance[:, ::-1])
    far = (wrapped > 6) & (spectrum.frequencies > -0.4)[None]
    assert spectrum.db.max() - spectrum.db[far].max() > 50  # the window's side lobes
    if fy in (0, fx) and fx:
        frequencies, db = spectrum.slices()[0 if fy == 0 else 45]
        assert frequencies[db.argmax()] == pytest.approx(fx / 32 * (1 if fy == 0 else 2**0.5))


@pytest.mark.parametrize("size", [(24, 24), (24, 16), (15, 21)])
def test_parseval(size):
    x = noise(5, 2, *size).cumsum(-1) + 3
    meter = SpectrumMeter()
    meter.add(x)
    power, window = meter.result().power, meter.window
    weighted = ((x - x.mean(dim=(0, 2, 3), keepdim=True)) * window).square()
    expected = weighted.sum(dim=(2, 3)).mean() / window.square().sum()
    assert power.shape == (max(size),) * 2
    assert power.mean() == pytest.approx(float(expected), rel=1e-9)


def test_the_mean_does_not_count_and_batches_do_not_show():
    x = noise(10, 3, 16, 16)
    np.testing.assert_allclose(spectrum_of(x + 5).power, spectrum_of(x, 3).power, rtol=1e-6)
    assert spectrum_of(torch.full((3, 1, 16, 16), 0.7)).power.max() < 1e-12


def test_slices():
    spectrum = spectrum_of(noise(2, 1, 16, 16))
    for angle, far in ((0, 0.5), (45, 0.5 * 2**0.5)):
        frequencies, db = spectrum.slices()[angle]
        assert len(frequencies) == len(db) == 9 and frequencies[-1] == pytest.approx(far)
        assert db[0] == spectrum.db[8, 8]


def test_rejects_other_sizes():
    meter = SpectrumMeter()
    meter.add(noise(1, 3, 16, 16))
    with pytest.raises(ValueError, match=r"expected \[N, 3, 16, 16\], got \[1, 3, 8, 8\]"):
        meter.add(noise(1, 3, 8, 8))


def test_numbers(tmp_path):
    spectra = {"a é": spectrum_of(noise(2, 1, 16, 16)), "b": spectrum_of(noise(2, 3, 8, 8))}
    save_numbers(spectra, tmp_path / "x.npz")
    with np.load(tmp_path / "x.npz") as content:
        assert content["names"].tolist() == list(spectra)
        assert (content["power_1"] == spectra["b"].power).all()
        assert content["frequencies_0"][8] == 0
    save_numbers(spectra, tmp_path / "x.json")
    content = json.loads((tmp_path / "x.json").read_text("utf-8"))
    assert content["a é"]["images"] == 2
    assert content["b"]["slices"]["45"]["db"] == spectra["b"].slices()[45][1].tolist()


def test_plot(tmp_path):
    pytest.importorskip("matplotlib")
    spectra = {r"_a $\frac": spectrum_of(noise(2, 1, 16, 16)), "b$": spectrum_of(noise(1, 1, 8, 8))}
    for suffix in (".png", ".svg"):
        plot(spectra, tmp_path / f"x{suffix}")
        assert (tmp_path / f"x{suffix}").stat().st_size > 5000
