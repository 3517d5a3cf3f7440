# SPDX-License-Identifier: Apache-2.0
"""Images are blurred for D at the start of a run, so that it does not win by fine details."""

from __future__ import annotations

import torch

from stylegan_ops import filter2d


def blur_sigma(sigma: float, fade_kimg: float | None, images_seen: int) -> float:
    """sigma * max(1 - images_seen / fade, 0): the width of the blur, in px.

    Source: Karras et al. 2021 (arXiv:2106.12423), appendix D.2.
    """
    return sigma * max(1 - images_seen / (fade_kimg * 1000), 0) if sigma and fade_kimg else 0


def blur(images: torch.Tensor, sigma: float) -> torch.Tensor:
    """images * f along x and y, f(i) ~ 2^-(i / sigma)^2 for |i| <= 3 sigma, sum 1.

    Args:
        images: [N, C, H, W]; 0 outside.
        sigma: px; below 1/3 the images do not change.
    """
    radius = int(3 * sigma)
    if radius < 1:
        return images
    taps = torch.arange(-radius, radius + 1, device=images.device, dtype=torch.float32)
    taps = torch.exp2(-(taps / sigma).square())
    return filter2d(images, taps / taps.sum())
