# SPDX-License-Identifier: Apache-2.0
"""Geometry: one matrix for each image that maps pixels of the result to those of the image."""

from __future__ import annotations

import math

import torch

from stylegan.training.augment.draws import Draws, constant

# The low-pass filter sym6 of orthogonal wavelets, in the order of decomposition; sum 1.
# Source: Daubechies 1992, "Ten Lectures on Wavelets", table 6.3 (least asymmetric, N = 6).
SYM6 = (
    *(0.015404109327027373, 0.0034907120842174702, -0.11799011114819057, -0.048311742585633),
    *(0.4910559419267466, 0.787641141030194, 0.3379294217276218, -0.07263752278646252),
    *(-0.021060292512300564, 0.04472490177066578, 0.0017677118642428036, -0.007800708325034148),
)
SHIFT = 0.125  # of the size of the image: reach of xint, spread of xfrac
SPREAD = 0.2  # spread of scale and aniso, in octaves

NAMES = ("xflip", "rotate90", "xint", "scale", "rotate", "aniso", "xfrac")


def matrices(
    strengths: dict[str, float], draws: Draws, height: int, width: int
) -> torch.Tensor | None:
    """The map [n, 3, 3] of every image, in px from its center; None if nothing ever happens.

    Args: strengths: {name of NAMES: strength}.
    """
    on = {name: strengths[name] for name in NAMES if strengths[name]}
    if not on:
        return None
    p, size = draws.p, constant((width, height), draws.p.device)
    total: torch.Tensor | None = None

    def apply(matrix: torch.Tensor) -> None:
        nonlocal total
        total = matrix if total is None else total @ matrix

    if "xflip" in on:
        happens = draws.happens(on["xflip"] * p)
        flips = (draws.uniform() * 2).floor() * happens
        apply(_scaling(1 - 2 * flips, torch.ones_like(flips)))
    if "rotate90" in on:
        happens = draws.happens(on["rotate90"] * p)
        apply(_rotation((draws.uniform() * 4).floor() * happens * (math.pi / 2)))
    if "xint" in on:
        happens = draws.happens(on["xint"] * p, 1)
        t = (draws.uniform(2) * 2 - 1) * SHIFT
        apply(_translation(-(t * size).round() * happens))
    if "scale" in on:
        happens = draws.happens(on["scale"] * p)
        s = torch.exp2(draws.normal() * SPREAD * happens)
        apply(_scaling(1 / s, 1 / s))
    # Rotation comes in two halves, before and after aniso; with this probability each, one of
    # them happens with probability strength * p.
    half = 1 - (1 - on.get("rotate", 0) * p).clamp(0, 1).sqrt()
    if "rotate" in on:
        happens = draws.happens(half)
        apply(_rotation((draws.uniform() * 2 - 1) * math.pi * happens))
    if "aniso" in on:
        happens = draws.happens(on["aniso"] * p)
        s = torch.exp2(draws.normal() * SPREAD * happens)
        apply(_scaling(1 / s, s))
    if "rotate" in on and draws.percentile is None:
        happens = draws.happens(half)
        apply(_rotation((draws.uniform() * 2 - 1) * math.pi * happens))
    if "xfrac" in on:
        happens = draws.happens(on["xfrac"] * p, 1)
        apply(_translation(-draws.normal(2) * SHIFT * size * happens))
    return total


def _scaling(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    zero, one = torch.zeros_like(x), torch.ones_like(x)
    return _matrix(x, zero, zero, zero, y, zero, one)


def _rotation(angle: torch.Tensor) -> torch.Tensor:
    zero, one = torch.zeros_like(angle), torch.ones_like(angle)
    c, s = angle.cos(), angle.sin()
    return _matrix(c, -s, zero, s, c, zero, one)


def _translation(t: torch.Tensor) -> torch.Tensor:
    x, y = t.unbind(dim=1)
    zero, one = torch.zeros_like(x), torch.ones_like(x)
    return _matrix(one, zero, x, zero, one, y, one)


def _matrix(
    a: torch.Tensor,
    b: torch.Tensor,
    x: torch.Tensor,
    c: torch.Tensor,
    d: torch.Tensor,
    y: torch.Tensor,
    one: torch.Tensor,
) -> torch.Tensor:
    zero = torch.zeros_like(a)
    return torch.stack([a, b, x, c, d, y, zero, zero, one], dim=1).reshape(-1, 3, 3)
