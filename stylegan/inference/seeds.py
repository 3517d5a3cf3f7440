# SPDX-License-Identifier: Apache-2.0
"""The latents of seeds."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch

from stylegan.errors import UserError


def latents_of_seeds(seeds: Iterable[int], z_dim: int) -> torch.Tensor:
    """z of seeds, the same on every machine.

    NumPy's `RandomState` draws them. Its stream is frozen for good (NEP 19), and published StyleGAN
    images were drawn with it, so a known seed shows the known image.

    Args:
        seeds: integers in [0, 2^32).
        z_dim: width of z.
    Returns: [N, z_dim] float32 on the CPU.
    Raises: UserError for a seed outside of that range.
    """
    seeds = list(seeds)
    for seed in seeds:
        if not 0 <= int(seed) < 2**32:
            raise UserError("seed", f"expected an integer from 0 to 2^32 - 1, got {seed}")
    draws = [np.random.RandomState(int(s)).randn(z_dim) for s in seeds]
    return torch.from_numpy(np.stack(draws).astype(np.float32))
