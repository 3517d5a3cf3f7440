# SPDX-License-Identifier: Apache-2.0
"""Settings that a run takes from the network that it starts with (`--init-from`)."""

from __future__ import annotations

from stylegan.config import Config, GeneratorConfig
from stylegan.config.network import MIN_BLOCK_SIDE
from stylegan.networks import load_networks


def shaped_like_start(config: Config, resolution: tuple[int, int]) -> Config:
    """`config` with the smallest block of the network that the run starts with, if the images have
    its shape. Otherwise none of its blocks would fit.

    Args: resolution: (height, width) of the images in px.
    """
    path = config.train.init_from
    given = getattr(config.G, "min_block_side", None)
    if not path or given != MIN_BLOCK_SIDE:
        return config
    G = load_networks(path, "cpu").config.G
    same_shape = G.resolution[0] * resolution[1] == G.resolution[1] * resolution[0]
    if not isinstance(G, GeneratorConfig) or G.min_block_side == given or not same_shape:
        return config
    return config.with_fields(min_block_side=G.min_block_side)
