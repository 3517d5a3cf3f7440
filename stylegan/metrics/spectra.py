# SPDX-License-Identifier: Apache-2.0
"""Average power spectra of pictures, as in the figures of the StyleGAN3 paper.

P(f) = mean over pictures and channels of |sum_n w(n) (x(n) - m) exp(-2 pi i f n)|^2 / sum_n w(n)^2,
with w a Kaiser window, so that the borders of a picture do not look like edges in it, and m the
mean of the channel over all pictures. White noise of variance s^2 has P = s^2 everywhere, and the
mean of P over all frequencies is the mean square of x - m, weighted by w^2 (Parseval).

Source: Karras et al. 2021 (arXiv:2106.12423), figures 4 and 5 and appendix A.
"""

import json
from dataclasses import dataclass

import numpy as np
import torch

BETA = 8  # of the window: 58 dB between the top and the first side lobe
FLOOR = 1e-20  # of the power, so that its logarithm exists


@dataclass(frozen=True)
class Spectrum:
    """Power by frequency."""

    power: np.ndarray  # [n, n] float64 over (fy, fx), as `frequencies`; values in [-1, 1] squared
    count: int  # pictures

    @property
    def frequencies(self):
        """[n], ascending, in cycles per px; 0 is at n // 2."""
        n = len(self.power)
        return (np.arange(n) - n // 2) / n

    @property
    def db(self):
        """10 log10 of the power, [n, n]."""
        return 10 * np.log10(np.maximum(self.power, FLOOR))

    def slices(self):
        """{angle in degrees: (frequencies, dB)} from 0 up: along fx, and along the diagonal where
        fx = fy, whose frequencies reach sqrt(2) times as far."""
        n = len(self.power)
        steps = np.arange(n // 2 + 1)
        db, middle = self.db, n // 2
        # The spectrum of a real image is the same at f and -f, and those at -f reach Nyquist.
        flat = db[middle, middle - steps], db[middle - steps, middle - steps]
        return {0: (steps / n, flat[0]), 45: (steps / n * 2**0.5, flat[1])}


class SpectrumMeter:
    """Takes pictures, gives their `Spectrum`. Pictures that are not square are filled up with
    zeros, which refines the frequencies of the shorter side."""

    def __init__(self):
        self.count, self.window = 0, None

    def add(self, images):
        """images [N, C, H, W] in [-1, 1], on any device; all of the same C, H, W."""
        if self.window is None:
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

    def result(self):
        """The `Spectrum` of all pictures so far, at least one."""
        # |F(x - m)|^2 = |F(x)|^2 - 2 Re(F(x) conj(F(m))) + |F(m)|^2, m known only now.
        mean = (self.total / self.count)[:, None, None]
        of_mean = mean * self._transform(torch.ones(self.shape, dtype=torch.float64))
        cross = (self.linear / self.count * of_mean.conj()).real
        power = self.power / self.count - 2 * cross + of_mean.abs().square()
        power = power.clamp(min=0).mean(dim=0) / self.window.square().sum()
        return Spectrum(torch.fft.fftshift(power).numpy(), self.count)

    def _begin(self, images):
        self.shape = images.shape[1:]
        channels, *sides = self.shape
        y, x = (torch.kaiser_window(n, False, BETA, dtype=torch.float64) for n in sides)
        self.window = y[:, None] * x
        self.n = max(sides)
        self.power = torch.zeros(channels, self.n, self.n, dtype=torch.float64)
        self.linear, self.total = self.power.to(torch.complex128), torch.zeros(channels).double()

    def _transform(self, x):
        return torch.fft.fft2(x * self.window, s=(self.n, self.n))


def save_numbers(spectra, path, to=None):
    """Write spectra as numbers.

    Args:
        spectra: {name: `Spectrum`}.
        path: .npz (arrays `power_0` [n, n], `frequencies_0` [n], ... and `names`), or .json (the
            slices at 0 and 45 degrees).
        to: where to write what `path` names; None: there.
    """
    if path.suffix == ".npz":
        arrays = {"names": np.array(list(spectra))}
        for i, spectrum in enumerate(spectra.values()):
            arrays[f"power_{i}"], arrays[f"frequencies_{i}"] = spectrum.power, spectrum.frequencies
        with (to or path).open("wb") as file:
            np.savez(file, **arrays)
        return
    content = {
        name: {
            "images": spectrum.count,
            "slices": {
                str(angle): {"cycles_per_px": frequencies.tolist(), "db": db.tolist()}
                for angle, (frequencies, db) in spectrum.slices().items()
            },
        }
        for name, spectrum in spectra.items()
    }
    (to or path).write_text(json.dumps(content, ensure_ascii=False) + "\n", "utf-8")


def plot(spectra, to):
    """Draw spectra side by side on one scale, and their slices at 0 and 45 degrees together.

    Args:
        spectra: {name: `Spectrum`}.
        to: path of a file that matplotlib can write.
    """
    from matplotlib.figure import Figure

    columns = len(spectra) + 2
    figure = Figure(figsize=(3.6 * columns, 3.6), layout="constrained")
    axes = figure.subplots(1, columns)
    tops = [s.db.max() for s in spectra.values()]
    lows = [np.percentile(s.db, 1) for s in spectra.values()]
    for axis, (name, spectrum) in zip(axes, spectra.items()):
        first, *_, last = spectrum.frequencies
        half = 0.5 / len(spectrum.power)
        image = axis.imshow(
            spectrum.db,
            cmap="viridis",
            vmin=min(lows),
            vmax=max(tops),
            extent=(first - half, last + half) * 2,
            origin="lower",
        )
        axis.set_title(f"{_plain(name)}\n{spectrum.count:,} images", fontsize=9)
        axis.set_xlabel("cycles per px")
    figure.colorbar(image, ax=axes[: len(spectra)], label="power, dB", shrink=0.8)
    for axis, angle in zip(axes[-2:], (0, 45)):
        for name, spectrum in spectra.items():
            frequencies, db = spectrum.slices()[angle]
            axis.plot(frequencies, db, label=f" {_plain(name)}")
        axis.set_title(f"slice at {angle}°", fontsize=9)
        axis.set_xlabel("cycles per px")
        axis.grid(alpha=0.3)
    axes[-2].set_ylabel("power, dB")
    if len(spectra) > 1:
        axes[-1].legend(fontsize=8)
    figure.savefig(to, dpi=120)


def _plain(name):
    """A name that matplotlib shows as it is; with $ it would be a formula, and a legend leaves out
    what begins with _ (hence the space before it)."""
    return name.replace("$", r"\$")
