# SPDX-License-Identifier: Apache-2.0
"""DiffAugment: a few transforms that always happen, to real and to generated images.

Source: Zhao et al. 2020 (arXiv:2006.10738), section 3.3 and appendix B.
"""

from __future__ import annotations

import torch

from stylegan.config.train import POLICIES, check_policy

BRIGHTNESS = 0.5  # at most, up or down
SATURATION = 2.0  # factors up to this, from 0
CONTRAST = 0.5  # factors differ at most this from 1
SHIFT = 1 / 8  # of the side, at most
CUTOUT = 1 / 2  # of the side


class DiffAugment:
    """`diff_augment` with a policy and a source of random numbers.

    Attributes: policy, a text; generator, on the device of the images (None: PyTorch's global one).
    Raises: UserError for a policy with unknown names.
    """

    def __init__(
        self, policy: str = ",".join(POLICIES), generator: torch.Generator | None = None
    ) -> None:
        check_policy(policy)
        self.policy, self.generator = policy, generator

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """See `diff_augment`."""
        return diff_augment(images, self.policy, self.generator)

    def __repr__(self) -> str:
        return f"DiffAugment({self.policy!r})"


def diff_augment(
    images: torch.Tensor,
    policy: str = ",".join(POLICIES),
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    """cutout(translation(color(images))), with draws of its own for each image.

    color: brightness + U(-0.5, 0.5), saturation * U(0, 2) about the mean of a pixel, contrast *
    U(0.5, 1.5) about the mean of the image. It leaves an alpha channel alone, and grey has no
    saturation. translation: by whole pixels, up to 1/8 of each side. cutout: a rectangle of half
    the sides around a random point. What these two leave empty is 0 in all channels: mid-grey in
    images from -1 to 1, and half transparent in alpha.

    Args:
        images: [N, 1, 3 or 4, H, W], any floating dtype, in about [-1, 1].
        policy: some of color, translation, cutout, with commas. Their order makes no difference.
        generator: on the device of images; None: PyTorch's global one.
    Returns: [N, C, H, W] of the dtype of images, not clamped; differentiable in them any number of
        times. It never waits for the device.
    Raises: ValueError for images of another shape or dtype; UserError for unknown names.
    """
    if images.ndim != 4 or images.shape[1] not in (1, 3, 4) or not images.is_floating_point():
        raise ValueError(
            "images: expected floating point [N, C, H, W] with 1, 3 or 4 channels, "
            f"got {images.dtype} {list(images.shape)}"
        )
    check_policy(policy)
    names = policy.split(",")
    with torch.autocast(images.device.type, enabled=False):
        x = images.to(torch.float64 if images.dtype == torch.float64 else torch.float32)
        if "color" in names:
            x = _color(x, generator)
        if "translation" in names:
            x = _translation(x, generator)
        if "cutout" in names:
            x = _cutout(x, generator)
    return x.to(images.dtype)


def _color(x: torch.Tensor, generator: torch.Generator | None) -> torch.Tensor:
    rgb, alpha = x[:, :3], x[:, 3:]
    size = [3, len(x), 1, 1, 1]
    draws = torch.rand(size, generator=generator, device=x.device, dtype=torch.float32).to(x.dtype)
    brightness = (2 * draws[0] - 1) * BRIGHTNESS
    saturation = draws[1] * SATURATION
    contrast = 1 + (2 * draws[2] - 1) * CONTRAST
    # The three in one: brightness moves all means alike, saturation none.
    offset = brightness + (1 - contrast) * rgb.mean(dim=(1, 2, 3), keepdim=True)
    if rgb.shape[1] == 1:
        rgb = contrast * rgb + offset
    else:
        pixel = rgb.mean(dim=1, keepdim=True)
        rgb = contrast * saturation * rgb + (contrast * (1 - saturation) * pixel + offset)
    return torch.cat([rgb, alpha], dim=1) if alpha.shape[1] else rgb


def _translation(x: torch.Tensor, generator: torch.Generator | None) -> torch.Tensor:
    for dim in (2, 3):
        side = x.shape[dim]
        shift = _whole(int(side * SHIFT + 0.5), x, generator)
        source = torch.arange(side, device=x.device) - shift[:, None]  # [N, side]
        view = [len(x), 1, 1, 1]
        view[dim] = side
        inside = ((source >= 0) & (source < side)).view(view)
        index = source.clamp(0, max(side - 1, 0)).view(view).expand(x.shape)
        x = torch.where(inside, x.gather(dim, index), 0)
    return x


def _whole(max_shift: int, x: torch.Tensor, generator: torch.Generator | None) -> torch.Tensor:
    """[N] whole numbers from -max_shift to max_shift, all equally likely."""
    return torch.randint(-max_shift, max_shift + 1, [len(x)], generator=generator, device=x.device)


def _cutout(x: torch.Tensor, generator: torch.Generator | None) -> torch.Tensor:
    rows, columns = (_covered(x, dim, generator) for dim in (2, 3))
    return torch.where(rows[:, None, :, None] & columns[:, None, None, :], 0, x)


def _covered(x: torch.Tensor, dim: int, generator: torch.Generator | None) -> torch.Tensor:
    """[N, side], whether the rectangle covers that row or column. Its center is anywhere in the
    image, so it may be cut off."""
    side = x.shape[dim]
    length = int(side * CUTOUT + 0.5)
    centers = side + (1 - length % 2)  # an even length has its center between two pixels
    center = torch.randint(0, centers, [len(x)], generator=generator, device=x.device)
    first = (center - length // 2)[:, None]
    at = torch.arange(side, device=x.device)
    return (at >= first) & (at < first + length)
