# SPDX-License-Identifier: Apache-2.0
"""Tensors that a file lacks, computed when they are read. They stand in place of an `Array`."""

from __future__ import annotations

import numpy as np
import torch

from stylegan.checkpoints.pickle.arrays import TensorSource
from stylegan.config import GeneratorConfig
from stylegan.models.mapping import Mapping

MAX_Z, MAX_LAYERS = 1024, 16  # of a mapping network whose mean is computed
SAMPLES = 4096  # latents that the mean is taken of, as many as rosinality's programs take
BATCH = 256  # of them; small, since the file sets z_dim


class Noise:
    """A noise input, for a file of the program's first versions, which drew them anew.

    It is always the same for the same layer.

    Args: layer: number of the layer, from the smallest resolution.
    """

    dtype = torch.float32

    def __init__(self, layer: int) -> None:
        self.layer, size = layer, 4 << (layer + 1) // 2
        self.shape: tuple[int, ...] = (1, 1, size, size)
        self.numel = size * size

    def read(self) -> torch.Tensor:
        """[1, 1, size, size], standard normal."""
        noise = np.random.RandomState(self.layer).randn(*self.shape)
        return torch.from_numpy(noise.astype(np.float32))


class MeanW:
    """mapping.w_avg of a generator whose file lacks it: the mean w of `SAMPLES` latents.

    Args:
        tensors: of the generator, under our names.
        config: its settings.
    Raises: ValueError if the mapping network is too large.
    """

    dtype = torch.float32

    def __init__(self, tensors: dict[str, TensorSource], config: GeneratorConfig) -> None:
        if config.z_dim > MAX_Z or config.mapping_layers > MAX_LAYERS:
            raise ValueError(
                "latent_avg is missing, and the mapping network is too large to compute it"
            )
        self.config, self.numel = config, config.w_dim
        self.shape: tuple[int, ...] = (config.w_dim,)
        self.tensors = {
            key.removeprefix("mapping."): array
            for key, array in tensors.items()
            if key.startswith("mapping.")
        }

    @torch.no_grad()
    def read(self) -> torch.Tensor:
        """[w_dim], always the same for the same weights."""
        c = self.config
        network = Mapping(c.z_dim, 0, c.w_dim, None, c.mapping_layers)
        for key, value in network.state_dict().items():
            value.copy_(self.tensors[key].read().reshape(value.shape))
        random, total = np.random.RandomState(0), torch.zeros(c.w_dim)
        for _ in range(SAMPLES // BATCH):
            z = torch.from_numpy(random.randn(BATCH, c.z_dim).astype(np.float32))
            total += network(z).mean(dim=0)
        return total / (SAMPLES // BATCH)
