# SPDX-License-Identifier: Apache-2.0
"""Average power spectra of images, as in the figures of the StyleGAN3 paper.

P(f) = mean over images and channels of |sum_n w(n) (x(n) - m) exp(-2 pi i f n)|^2 / sum_n w(n)^2,
with w a Kaiser window, so that the border of an image does not count as an edge, and m the mean of
the channel over all images. White noise of variance s^2 has P = s^2 everywhere. The mean of P over
all frequencies is the mean square of x - m, weighted by w^2 (Parseval).

Source: Karras et al. 2021 (arXiv:2106.12423), figures 4 and 5 and appendix A.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

BETA = 8  # of the window: its first side lobe is 58 dB below its peak
MIN_POWER = 1e-20  # so that the logarithm exists


class Slice(NamedTuple):
    """Power along a line through the spectrum."""

    frequencies: np.ndarray  # [k], in cycles per px
    db: np.ndarray  # [k]


@dataclass(frozen=True)
class Spectrum:
    """Power by frequency."""

    power: np.ndarray  # [n, n] float64 over (fy, fx), as `frequencies`; values in [-1, 1] squared
    count: int  # images

    @property
    def frequencies(self) -> np.ndarray:
        """[n], ascending, in cycles per px; 0 is at n // 2."""
        n = len(self.power)
        return (np.arange(n) - n // 2) / n

    @property
    def db(self) -> np.ndarray:
        """10 log10 of the power, [n, n]."""
        return 10 * np.log10(np.maximum(self.power, MIN_POWER))

    def slices(self) -> dict[int, Slice]:
        """{angle in degrees: slice from frequency 0 up}: 0 along fx, 45 along the diagonal fx = fy,
        whose frequencies reach sqrt(2) times as far."""
        n = len(self.power)
        steps = np.arange(n // 2 + 1)
        db, middle = self.db, n // 2
        # The spectrum of a real image is the same at f and -f, and -f includes Nyquist.
        return {
            0: Slice(steps / n, db[middle, middle - steps]),
            45: Slice(steps / n * 2**0.5, db[middle - steps, middle - steps]),
        }


class SpectrumMeter:
    """Takes images in batches and returns their `Spectrum`. Images that are not square are padded
    with zeros, which makes the frequencies of the shorter side denser."""

    window: torch.Tensor  # [H, W] float64, from the first batch on

    def __init__(self) -> None:
        self.count, self.shape = 0, torch.Size()

    def add(self, images: torch.Tensor) -> None:
        """images [N, C, H, W] in [-1, 1], on any device; all of the same C, H, W."""
        if not self.shape:
            self._begin(images)
        if images.shape[1:] != self.shape:
            raise ValueError(
                f"images: expected [N, {', '.join(map(str, self.shape))}], got {list(images.shape)}"
            )
        x = images.detach().to("cpu", torch.float64)
        f = self._transform(x)
        self.power += f.abs().square().sum(dim=0)
        self.linear += f.sum(dim=0)
        self.total += x.mean(dim=(2, 3)).sum(dim=0)
        self.count += len(x)

    def result(self) -> Spectrum:
        """The `Spectrum` of all images so far, at least one."""
        # |F(x - m)|^2 = |F(x)|^2 - 2 Re(F(x) conj(F(m))) + |F(m)|^2, as m is known only now.
        mean = (self.total / self.count)[:, None, None]
        of_mean = mean * self._transform(torch.ones(self.shape, dtype=torch.float64))
        cross = (self.linear / self.count * of_mean.conj()).real
        power = self.power / self.count - 2 * cross + of_mean.abs().square()
        power = power.clamp(min=0).mean(dim=0) / self.window.square().sum()
        return Spectrum(torch.fft.fftshift(power).numpy(), self.count)

    def _begin(self, images: torch.Tensor) -> None:
        self.shape = images.shape[1:]
        channels, *sides = self.shape
        y, x = (torch.kaiser_window(n, False, BETA, dtype=torch.float64) for n in sides)
        self.window = y[:, None] * x
        self.n = max(sides)
        self.power = torch.zeros(channels, self.n, self.n, dtype=torch.float64)
        self.linear, self.total = self.power.to(torch.complex128), torch.zeros(channels).double()

    def _transform(self, x: torch.Tensor) -> torch.Tensor:
        return torch.fft.fft2(x * self.window, s=(self.n, self.n))
