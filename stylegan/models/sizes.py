# SPDX-License-Identifier: Apache-2.0
"""Sizes and channels of the blocks of a network."""

from __future__ import annotations

from stylegan.config import DiscriminatorConfig, GeneratorConfig
from stylegan.config.network import MIN_BLOCK_SIDE
from stylegan.errors import UserError


def block_resolutions(
    resolution: tuple[int, int], min_side: int = MIN_BLOCK_SIDE
) -> dict[int, tuple[int, int]]:
    """The sizes of the blocks of a network, smallest first.

    Each block is twice as large as the one before. The shorter side of the smallest is at least
    `min_side` px, and less than twice that if the factors of two allow it. Blocks are named by a
    nominal resolution 4, 8, 16, ..., which is the real one for square powers of two. Channel counts
    depend on it.

    Args:
        resolution: (height, width) in px, (m * 2^n, k * 2^n) with n >= 1.
        min_side: 3 in all networks but some that are not square.
    Returns: {nominal resolution: (height, width)}.
    Raises: UserError if a side is odd, or the smallest block would have more than 1024 px.
    """
    height, width = resolution
    doublings = 0
    while (
        not (height >> doublings | width >> doublings) & 1
        and min(resolution) >> doublings + 1 >= min_side
    ):
        doublings += 1
    h, w = height >> doublings, width >> doublings
    if doublings < 1 or h * w > 1024:
        w, h = (_nearest(side) for side in (width, height))
        raise UserError(
            "resolution",
            f"{width}x{height} px cannot be halved down to a few pixels; "
            f"the nearest that can is {w}x{h}",
        )
    return {4 << i: (h << i, w << i) for i in range(doublings + 1)}


def _nearest(side: int) -> int:
    """The side nearest to `side` that can be halved down to 3 to 6 px."""
    unit = 1 << max(side.bit_length() - 3, 1)
    return max(round(side / unit), 3) * unit


def channels_of(nominal: int, config: GeneratorConfig | DiscriminatorConfig) -> int:
    """Feature channels of the block of a nominal resolution."""
    if config.widths is not None:
        return config.widths[nominal.bit_length() - 3]
    return max(1, min(config.channel_base // nominal, config.channel_max))


def blocks_of(config: GeneratorConfig | DiscriminatorConfig) -> dict[int, tuple[int, int]]:
    """The sizes of the blocks of a network of StyleGAN2, as `block_resolutions`."""
    return block_resolutions(config.resolution, config.min_block_side)


def min_side_of(resolution: tuple[int, int], smallest: tuple[int, int]) -> int:
    """`min_block_side` of networks whose smallest block has this size."""
    return MIN_BLOCK_SIDE if block_resolutions(resolution)[4] == smallest else min(smallest)
