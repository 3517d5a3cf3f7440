# SPDX-License-Identifier: Apache-2.0
"""Color: one affine map of RGB, or of grey, for each image."""

from __future__ import annotations

import math

import torch

from stylegan.training.augment.draws import Draws, constant

BRIGHTNESS = 0.2  # spread
CONTRAST = 0.5  # spread in octaves
SATURATION = 1.0  # spread in octaves

NAMES = ("brightness", "contrast", "lumaflip", "hue", "saturation")
NEED_RGB = ("hue", "saturation")  # grey has none


def matrices(strengths: dict[str, float], draws: Draws, rgb: bool) -> torch.Tensor | None:
    """The map [n, 4, 4] of (r, g, b, 1) of every image; None if nothing ever happens.

    Args:
        strengths: {name of NAMES: strength}.
        rgb: whether the images have colors.
    """
    on = {name: strengths[name] for name in NAMES if strengths[name]}
    on = {name: value for name, value in on.items() if rgb or name not in NEED_RGB}
    if not on:
        return None
    p = draws.p
    eye = torch.eye(4, device=p.device, dtype=p.dtype)
    gray = eye.new_ones(3) / math.sqrt(3)  # the axis of luma
    luma = torch.nn.functional.pad(gray.outer(gray), [0, 1, 0, 1])
    last = eye[3].outer(eye[3])
    total = eye.expand(draws.n, 4, 4)
    if "brightness" in on:
        b = draws.normal() * BRIGHTNESS * draws.happens(on["brightness"] * p)
        shift = (eye[0] + eye[1] + eye[2]).outer(eye[3])
        total = (eye + b[:, None, None] * shift) @ total
    if "contrast" in on:
        factor = torch.exp2(draws.normal() * CONTRAST * draws.happens(on["contrast"] * p))
        total = ((eye - last) * factor[:, None, None] + last) @ total
    if "lumaflip" in on:
        flips = (draws.uniform() * 2).floor() * draws.happens(on["lumaflip"] * p)
        total = (eye - 2 * flips[:, None, None] * luma) @ total
    if "hue" in on:
        angle = (draws.uniform() * 2 - 1) * math.pi * draws.happens(on["hue"] * p)
        total = _hue(angle, eye, luma, last) @ total
    if "saturation" in on:
        factor = torch.exp2(draws.normal() * SATURATION * draws.happens(on["saturation"] * p))
        total = (luma + last + (eye - luma - last) * factor[:, None, None]) @ total
    return total


def _hue(
    angle: torch.Tensor, eye: torch.Tensor, luma: torch.Tensor, last: torch.Tensor
) -> torch.Tensor:
    """Rotations [n, 4, 4] about the axis of luma, by Rodrigues' formula."""
    c, s = angle.cos()[:, None, None], angle.sin()[:, None, None]
    # The matrix of the cross product with the axis.
    a = 1 / math.sqrt(3)
    cross = constant(((0, -a, a, 0), (a, 0, -a, 0), (-a, a, 0, 0), (0, 0, 0, 0)), eye.device)
    return (eye - luma - last) * c + cross * s + luma + last


def apply(images: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
    """The colors of images, changed in one pass. Alpha stays as it is.

    Args:
        images: [n, 1, 3 or 4, H, W].
        matrix: [n, 4, 4] from `matrices`.
    """
    n, channels, height, width = images.shape
    matrix = matrix.to(images.dtype)
    if channels == 1:
        row = matrix[:, :3].mean(dim=1)
        return images * row[:, :3].sum(dim=1)[:, None, None, None] + row[:, 3, None, None, None]
    pixels = images[:, :3].reshape(n, 3, height * width)
    pixels = torch.baddbmm(matrix[:, :3, 3:], matrix[:, :3, :3], pixels)
    rgb = pixels.reshape(n, 3, height, width)
    return rgb if channels == 3 else torch.cat([rgb, images[:, 3:]], dim=1)
