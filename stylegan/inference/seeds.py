# SPDX-License-Identifier: Apache-2.0
"""The latents of seeds."""

from __future__ import annotations

import numpy as np
import torch

from stylegan.inference.inputs import Seeds, seeds_of


def latents_of_seeds(seeds: Seeds, z_dim: int) -> torch.Tensor:
    """z of seeds, the same on every machine.

    NumPy's `RandomState` draws them. Its stream is frozen for good (NEP 19), and published StyleGAN
    images were drawn with it, so a known seed shows the known image.

    Args:
        seeds: integers in [0, 2^32), or one.
        z_dim: width of z.
    Returns: [N, z_dim] float32 on the CPU.
    Raises: UserError for other values.
    """
    draws = [np.random.RandomState(seed).randn(z_dim) for seed in seeds_of(seeds)]
    with torch.inference_mode(False):
        return torch.from_numpy(np.stack(draws).astype(np.float32))
