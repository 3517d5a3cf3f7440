# SPDX-License-Identifier: Apache-2.0
"""Sizes, sampling rates and filters of the layers of StyleGAN3.

Source: Karras et al. 2021 (arXiv:2106.12423), section 3.2 and appendix C. Frequencies are in
cycles per image, sampling rates in samples per image.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from stylegan.config import Stylegan3Config


@dataclass(frozen=True)
class Band:
    """The frequencies of one layer's signal, and its grid."""

    cutoff: float  # of the low-pass filter
    half_width: float  # of the transition band around the cutoff
    rate: int  # samples along a side of the image
    size: int  # samples along a side with the margin
    channels: int


@dataclass(frozen=True)
class Geometry:
    """What a layer is built from: the bands before and after it, and how it resamples."""

    name: str
    before: Band
    after: Band
    up: int  # factor from the grid before to the grid of the activation,
    down: int  # and from there to the grid after
    up_taps: int  # of the filters along an axis; 1 is no filter
    down_taps: int
    padding: tuple[int, int]  # (before, after) on the grid of the activation
    kernel: int  # taps of the convolution, which pads kernel - 1
    radial: bool  # the downsampling filter favours no direction
    torgb: bool  # the last layer, to image channels, without activation

    def filters(self) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """(up, down): float32 taps [k] or [k, k]; None: no filter."""
        rate = self.before.rate * self.up
        up = lowpass(self.up_taps, self.before, rate)
        return up, lowpass(self.down_taps, self.after, rate, self.radial)


def bands(config: Stylegan3Config) -> list[Band]:
    """The `Band` of the Fourier features, which is also that of the first layer, and of every
    layer."""
    resolution = config.resolution[0]
    last_cutoff = resolution / 2
    last_stopband = last_cutoff * config.last_stopband_rel
    base = config.channel_base * config.channel_factor
    max_channels = config.channel_max * config.channel_factor
    result = []
    for i in range(config.num_layers + 1):
        e = min(i / (config.num_layers - config.num_critical), 1)
        cutoff = config.first_cutoff * (last_cutoff / config.first_cutoff) ** e
        stopband = config.first_stopband * (last_stopband / config.first_stopband) ** e
        # A stopband that is a power of two except for rounding does not need twice the rate.
        rate = 1 << math.ceil(math.log2(min(2 * stopband, resolution)) - 1e-9)
        last = i == config.num_layers
        size = resolution if i >= config.num_layers - 1 else rate + 2 * config.margin
        channels = config.channels if last else max(round(min(base / 2 / cutoff, max_channels)), 1)
        half_width = max(stopband, rate / 2) - cutoff
        result.append(Band(cutoff, half_width, rate, size, channels))
    return result


def geometry(config: Stylegan3Config) -> list[Geometry]:
    """The `Geometry` of every layer. config.channel_base is set."""
    after = bands(config)
    result = []
    for i, (a, b) in enumerate(zip([after[0], *after], after)):
        torgb = i == config.num_layers
        critical = i >= config.num_layers - config.num_critical
        fine = max(a.rate, b.rate) * (1 if torgb else config.lrelu_upsampling)
        up, down = fine // a.rate, fine // b.rate
        up_taps, down_taps = (
            config.filter_size * factor if factor > 1 and not torgb else 1 for factor in (up, down)
        )
        kernel = 1 if torgb else config.conv_kernel
        total = (b.size - 1) * down + 1 - (a.size + kernel - 1) * up + up_taps + down_taps - 2
        low = (total + up) // 2
        result.append(
            Geometry(
                name=f"L{i}_{b.size}_{b.channels}",
                before=a,
                after=b,
                up=up,
                down=down,
                up_taps=up_taps,
                down_taps=down_taps,
                padding=(low, total - low),
                kernel=kernel,
                radial=config.radial_filters and not critical,
                torgb=torgb,
            )
        )
    return result


def lowpass(taps: int, band: Band, rate: int, radial: bool = False) -> torch.Tensor | None:
    """An ideal low-pass filter with cutoff band.cutoff, times a Kaiser window for a transition band
    of 2 * band.half_width, normalized to sum 1.

    Args:
        taps: along an axis; 1: no filter.
        band: what it lets pass.
        rate: of the grid that it works on.
        radial: the same in all directions, J1(2 pi cutoff r) / (pi r), and not separable.
    Returns: float32 [taps], or [taps, taps] if radial; None if taps is 1.
    Source: J. F. Kaiser 1974, as in scipy.signal.firwin; radial: arXiv:2106.12423, appendix C.1.
    """
    if taps == 1:
        return None
    window = np.kaiser(taps, _kaiser_beta(taps, 2 * band.half_width / (rate / 2)))
    t = (np.arange(taps) - (taps - 1) / 2) / rate
    if radial:
        r = np.hypot(*np.meshgrid(t, t))
        j1 = torch.special.bessel_j1(torch.from_numpy(2 * np.pi * band.cutoff * r)).numpy()
        f = j1 / (np.pi * r) * np.outer(window, window)  # r > 0, since taps are even
    else:
        f = np.sinc(2 * band.cutoff * t) * window
    return torch.tensor(f / f.sum(), dtype=torch.float32)


def _kaiser_beta(taps: int, width: float) -> float:
    """Shape of the window for a transition band of `width`, in units of half the sampling rate."""
    attenuation = 2.285 * (taps - 1) * np.pi * width + 7.95  # dB
    if attenuation > 50:
        return 0.1102 * (attenuation - 8.7)
    if attenuation > 21:
        return 0.5842 * (attenuation - 21) ** 0.4 + 0.07886 * (attenuation - 21)
    return 0.0
