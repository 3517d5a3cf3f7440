# SPDX-License-Identifier: Apache-2.0
"""Tensors that a file lacks and that follow from the others, or may be anything: computed when they
are read, in place of an `Array`."""

import numpy as np
import torch

from stylegan.models.mapping import Mapping

MOST_WIDE, MOST_DEEP = 1024, 16  # z and layers of a mapping whose mean is computed
SAMPLES = 4096  # latents that it is the mean of, as many as rosinality's programs take


class Noise:
    """Noise inputs of a file that has none, as the first ones of that program had: drawn here,
    always the same.

    Args: number: of the layer, from the smallest.
    """

    dtype = torch.float32

    def __init__(self, number):
        self.number, size = number, 4 << (number + 1) // 2
        self.shape, self.numel = (1, 1, size, size), size * size

    def read(self):
        """[1, 1, size, size], standard normal."""
        noise = np.random.RandomState(self.number).randn(*self.shape)
        return torch.from_numpy(noise.astype(np.float32))


class MeanW:
    """mapping.w_avg of a generator whose file has none: the mean w of `SAMPLES` latents.

    Args:
        tensors: of the generator, under our names.
        config: `GeneratorConfig`.
    """

    dtype = torch.float32

    def __init__(self, tensors, config):
        if config.z_dim > MOST_WIDE or config.mapping_layers > MOST_DEEP:
            raise ValueError("there is no latent_avg, and the mapping is too large to compute it")
        self.config, self.shape, self.numel = config, (config.w_dim,), config.w_dim
        self.tensors = {
            key.removeprefix("mapping."): array
            for key, array in tensors.items()
            if key.startswith("mapping.")
        }

    @torch.no_grad()
    def read(self):
        """[w_dim], always the same for the same weights."""
        c = self.config
        mapping = Mapping(c.z_dim, 0, c.w_dim, None, c.mapping_layers)
        for key, value in mapping.state_dict().items():
            value.copy_(self.tensors[key].read().reshape(value.shape))
        random, total = np.random.RandomState(0), torch.zeros(c.w_dim)
        for _ in range(SAMPLES // 256):  # since z_dim is what the file says
            z = torch.from_numpy(random.randn(256, c.z_dim).astype(np.float32))
            total += mapping(z).mean(dim=0)
        return total / (SAMPLES // 256)
