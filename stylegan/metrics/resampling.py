# SPDX-License-Identifier: Apache-2.0
"""Images moved and rotated with a known, small error: the reference for equivariance.

An image is samples x[n] of a band-limited function on a grid of spacing 1. With k a windowed
low-pass filter, the image moved by t is t(x)(p) = sum_n x[n] k(t^-1 p - n). A pixel is valid if the
filter does not reach beyond the border of the image there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F

RADIUS = 16  # px of the filters; a quarter of the image if that is less
ATTENUATION = 80  # dB in the stopband; the error of resampling stays below it
CHUNK = 1 << 15  # pixels resampled at once; for each, one row of the filter is in memory
TABLE = 1024  # values of the radial filter per px, interpolated: error below 1e-6


@dataclass(frozen=True)
class Moved:
    """Images that were moved."""

    images: torch.Tensor  # [N, C, H, W]
    valid: torch.Tensor  # bool [N, H, W]: the pixels that the input defines


def shift_whole(x: torch.Tensor, shifts: torch.Tensor) -> Moved:
    """Images shifted by whole pixels, exactly.

    Args:
        x: [N, C, H, W].
        shifts: [N, 2], (x, y) in px, to the right and down.
    """
    images, valid = torch.zeros_like(x), torch.zeros_like(x[:, 0], dtype=torch.bool)
    height, width = x.shape[2:]
    for i, (dx, dy) in enumerate(shifts.int().tolist()):
        rows, columns = _overlap(dy, height), _overlap(dx, width)
        images[i, :, rows, columns] = x[i, :, _overlap(-dy, height), _overlap(-dx, width)]
        valid[i, rows, columns] = True
    return Moved(images, valid)


def shift(x: torch.Tensor, shifts: torch.Tensor) -> Moved:
    """Images shifted by any amount, with k(x, y) = s(x) s(y) and s the Kaiser-windowed sinc;
    arguments as for `shift_whole`."""
    n, c, height, width = x.shape
    a = radius(height)
    taps, starts = torch.arange(-a, a + 1, dtype=torch.float64), shifts.double().floor()
    # Tap j of output pixel p is input pixel p - floor(shift) + j, at the distance j + fraction.
    distance = taps + (shifts.double() - starts)[:, :, None]  # [N, 2, taps]
    kernel = (torch.sinc(distance) * _kaiser(distance / a)).to(x.dtype).to(x.device)
    for axis in (3, 2):
        size = [kernel.shape[2], 1] if axis == 2 else [1, kernel.shape[2]]
        weight = kernel[:, 3 - axis].reshape(n, 1, 1, *size).expand(-1, c, -1, -1, -1)
        x = F.conv2d(
            x.reshape(1, n * c, height, width), weight.flatten(0, 1), padding="same", groups=n * c
        ).view(n, c, height, width)
    defined = torch.zeros_like(x)
    defined[:, :, a : height - a, a : width - a] = 1
    moved = shift_whole(x, starts)
    return Moved(moved.images, moved.valid & (shift_whole(defined, starts).images[:, 0] > 0))


def rotate(x: torch.Tensor, angles: torch.Tensor) -> Moved:
    """Images rotated around their centre and low-pass filtered by the Kaiser-windowed jinc, scaled
    so that the weights of a pixel sum to 1.

    Args:
        x: [N, C, H, W], square.
        angles: [N], degrees, counter-clockwise.
    Returns: `Moved`; a pixel is valid if it and its source are at least the radius of the filter
        away from the border.
    """
    n, c, height, width = x.shape
    a, centre = radius(height), (width - 1) / 2
    table = radial_filter(a).to(x.device)
    grid = torch.arange(width, dtype=torch.float64) - centre
    py, px = torch.meshgrid(grid, grid, indexing="ij")
    angle = torch.deg2rad(angles.double())[:, None, None]
    source_x = angle.cos() * px - angle.sin() * py  # y points down
    source_y = angle.sin() * px + angle.cos() * py
    limit = centre - a + 1e-6
    both = [px.expand(n, -1, -1), py.expand(n, -1, -1), source_x, source_y]
    valid = (torch.stack(both).abs() <= limit).all(dim=0)
    # Only valid pixels are computed, as one list over the batch.
    image, row, column = (v.to(x.device) for v in valid.nonzero(as_tuple=True))
    position = torch.stack([source_y[valid], source_x[valid]]) + centre
    corner = position.floor()
    offset = (position - corner).float().to(x.device)
    start = (corner[0] * width + corner[1]).long().to(x.device) + image * height * width
    flat = x.transpose(0, 1).reshape(c, -1)
    values = x.new_empty(c, len(start))
    for first in range(0, len(start), CHUNK):
        part = slice(first, first + CHUNK)
        values[:, part] = _interpolate(flat, width, start[part], offset[:, part], table, a)
    images = torch.zeros_like(x)
    images[image, :, row, column] = values.mT
    return Moved(images, valid.to(x.device))


def lowpass(x: torch.Tensor) -> torch.Tensor:
    """Images [N, C, H, W] with the filter of `rotate`; zeros beyond the border."""
    a = radius(x.shape[3])
    taps = torch.arange(-a, a + 1, dtype=torch.float64)
    kernel = _jinc(torch.hypot(taps[:, None], taps), a)
    kernel = (kernel / kernel.sum()).to(x.dtype).to(x.device)
    return F.conv2d(x.flatten(0, 1)[:, None], kernel[None, None], padding="same").view(x.shape)


def radius(size: int) -> int:
    """Radius of the filters in px, for images of `size` px."""
    return min(RADIUS, size // 4)


def radial_filter(a: int) -> torch.Tensor:
    """The filter of `rotate` at r = 0, 1/TABLE, ..., a px, and a 0 beyond; float32, not scaled."""
    r = torch.arange(a * TABLE + 1, dtype=torch.float64) / TABLE
    return F.pad(_jinc(r, a), (0, 1)).float()


def _interpolate(
    flat: torch.Tensor,
    width: int,
    start: torch.Tensor,
    offset: torch.Tensor,
    table: torch.Tensor,
    a: int,
) -> torch.Tensor:
    """Values between pixels, by a radial filter.

    Args:
        flat: [C, pixels], rows of `width` pixels.
        start: int64 [n], index of the pixel above and to the left of each point.
        offset: [2, n], (y, x) of the point from there, in [0, 1).
        table: `radial_filter(a)`.
    Returns: [C, n].
    """
    values, total = flat.new_zeros(len(flat), len(start)), flat.new_zeros(len(start))
    taps = torch.arange(1 - a, a + 1, device=flat.device)
    for row in taps.tolist():
        r = torch.hypot(offset[0] - row, offset[1] - taps[:, None]) * TABLE
        cell = r.long().clamp(max=len(table) - 2)
        weight = torch.lerp(table[cell], table[cell + 1], (r - cell).clamp(0, 1))
        pixels = (start + row * width + taps[:, None]).clamp(0, flat.shape[1] - 1)
        values = values + (flat[:, pixels] * weight).sum(dim=1)
        total = total + weight.sum(dim=0)
    return values / total


def _jinc(r: torch.Tensor, a: int) -> torch.Tensor:
    """J1(2 pi c r) c / r times a Kaiser window of radius a, at distances r in px; float64, not
    scaled. The stopband begins at the Nyquist frequency, 0.5 cycles per px: the cutoff c is half a
    transition band below it."""
    # Kaiser's rule for the width of the transition band, (A - 8) / (2.285 * 2 pi * (taps - 1)).
    transition = (ATTENUATION - 8) / (2.285 * 2 * math.pi * 2 * a)
    cutoff = 0.5 - transition / 2
    r = r.clamp(min=1e-9)  # the quotient has a limit at 0
    return cutoff * torch.special.bessel_j1(2 * math.pi * cutoff * r) / r * _kaiser(r / a)


def _kaiser(t: torch.Tensor) -> torch.Tensor:
    """Kaiser's window at t: its centre is 0, its ends are -1 and 1."""
    beta = 0.1102 * (ATTENUATION - 8.7)
    inside = torch.special.i0(beta * (1 - t.square()).clamp(min=0).sqrt())
    return torch.where(t.abs() <= 1, inside / torch.special.i0(torch.tensor(beta)), 0)


def _overlap(offset: int, size: int) -> slice:
    """Of `size` pixels, those that a shift by `offset` fills from inside the image."""
    return slice(max(offset, 0), size + min(offset, 0))
