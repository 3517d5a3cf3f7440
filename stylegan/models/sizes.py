# SPDX-License-Identifier: Apache-2.0
"""Sizes and channels of the blocks of a network."""

from stylegan.errors import UserError


def block_resolutions(resolution):
    """The sizes of the blocks of a network, from the smallest.

    Each block is twice as large as the one before and the smallest has a shorter side of 3 to 5 px
    where the factors of two allow it, else a larger one. Blocks are named by a nominal resolution
    4, 8, 16, ..., which for square powers of two is the real one; channel counts follow it as well.

    Args: resolution: (height, width) in px, (m * 2^n, k * 2^n) with n >= 1.
    Returns: {nominal resolution: (height, width)}.
    Raises: UserError if a side is odd, or the smallest block would pass 1024 px.
    """
    height, width = resolution
    doublings = 0
    while (
        not (height >> doublings | width >> doublings) & 1 and min(resolution) >> doublings + 1 >= 3
    ):
        doublings += 1
    h, w = height >> doublings, width >> doublings
    if doublings < 1 or h * w > 1024:
        units = [1 << max(s.bit_length() - 3, 1) for s in (width, height)]
        w, h = (max(round(s / u), 3) * u for s, u in zip((width, height), units))
        raise UserError(
            "resolution",
            f"{width}x{height} px cannot be halved down to a few pixels; "
            f"the nearest that can is {w}x{h}",
        )
    return {4 << i: (h << i, w << i) for i in range(doublings + 1)}


def channels_of(nominal, config):
    """Feature channels of the block of a nominal resolution."""
    if config.widths is not None:
        return config.widths[nominal.bit_length() - 3]
    return max(1, min(config.channel_base // nominal, config.channel_max))
