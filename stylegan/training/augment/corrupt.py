# SPDX-License-Identifier: Apache-2.0
"""Corruptions: a random filter, noise, and a rectangle cut out."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from stylegan.training.augment.draws import Draws, constant

# The low-pass filter sym2 of orthogonal wavelets, in the order of decomposition; sum sqrt(2).
SYM2 = (-0.12940952255092145, 0.22414386804185735, 0.836516303737469, 0.48296291314469025)
EXPECTED_POWER = (10 / 13, 1 / 13, 1 / 13, 1 / 13)  # of natural images in the four bands
FILTER_SPREAD = 1.0  # in octaves
NOISE = 0.1  # spread of the noise's standard deviation
CUTOUT = 0.5  # sides of the rectangle, of the image's


def filter_bank() -> torch.Tensor:
    """[4, 43]: filters of four octaves, from low to high, that sum to the identity.

    Source: Karras et al. 2020 (arXiv:2006.06676), appendix B.2.
    """
    h = torch.tensor(SYM2, dtype=torch.float64)
    g = h * torch.tensor([1.0, -1.0, 1.0, -1.0], dtype=torch.float64)
    low, high = _autocorrelation(h) / 2, _autocorrelation(g) / 2  # 7 taps
    bank = torch.eye(4, 1, dtype=torch.float64)
    for i in (1, 2, 3):
        wider = torch.zeros(4, 2 * bank.shape[1] - 1, dtype=torch.float64)
        wider[:, ::2] = bank
        bank = F.conv1d(wider[:, None], low[None, None], padding=len(low) - 1)[:, 0]
        start = (bank.shape[1] - len(high)) // 2
        bank[i, start : start + len(high)] += high
    return bank.float()


def _autocorrelation(taps: torch.Tensor) -> torch.Tensor:
    return F.conv1d(taps[None, None], taps[None, None], padding=len(taps) - 1)[0, 0]


def filtered(
    images: torch.Tensor, strength: float, draws: Draws, bank: torch.Tensor
) -> torch.Tensor:
    """Images with another gain in each of four octaves, and the power of natural images kept.

    Args: images: [n, C, H, W], of at least 22 px.
    """
    expected = constant(EXPECTED_POWER, bank.device)
    gains = bank.new_ones(draws.n, 4)
    for i in range(4):
        happens = draws.happens(strength * draws.p)
        one = bank.new_ones(draws.n, 4)
        one[:, i] = torch.exp2(draws.normal() * FILTER_SPREAD * happens)
        gains = gains * one / (one.square() * expected).sum(dim=1, keepdim=True).sqrt()
    taps = (gains @ bank).to(images.dtype)  # [n, 43]
    n, channels, height, width = images.shape
    pad = bank.shape[1] // 2
    taps = taps.repeat_interleave(channels, dim=0)
    x = F.pad(images.reshape(1, n * channels, height, width), [pad] * 4, mode="reflect")
    x = F.conv2d(x, taps[:, None, None, :], groups=n * channels)
    x = F.conv2d(x, taps[:, None, :, None], groups=n * channels)
    return x.reshape(n, channels, height, width)


def noisy(images: torch.Tensor, strength: float, draws: Draws) -> torch.Tensor:
    """Images plus noise, whose standard deviation is drawn for each."""
    sigma = draws.half_normal() * NOISE * draws.happens(strength * draws.p)
    noise = draws.true_normal(*images.shape).to(images.dtype)
    return images + noise * sigma[:, None, None, None].to(images.dtype)


def cut_out(images: torch.Tensor, strength: float, draws: Draws) -> torch.Tensor:
    """Images with a rectangle of 0 around a random point."""
    height, width = images.shape[2:]
    size = draws.happens(strength * draws.p, 1) * CUTOUT
    center = draws.uniform(2)
    device = images.device
    x = (torch.arange(width, device=device, dtype=center.dtype) + 0.5) / width
    y = (torch.arange(height, device=device, dtype=center.dtype) + 0.5) / height
    outside_x = (x - center[:, :1]).abs() >= size / 2
    outside_y = (y - center[:, 1:]).abs() >= size / 2
    kept = outside_x[:, None, None, :] | outside_y[:, None, :, None]
    return images * kept
