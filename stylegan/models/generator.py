# SPDX-License-Identifier: Apache-2.0
"""The generator of every model: mapping, then synthesis.

Source: Karras et al. 2019 (arXiv:1812.04948), figure 1b.
"""

import torch.nn as nn

from stylegan.models.mapping import Mapping


class Generator(nn.Module):
    """G(z, c) -> images. Attributes: config, mapping, synthesis, num_ws, z_dim, c_dim, w_dim.

    Args:
        config: of its model, `GeneratorConfig` or `Stylegan3Config`, with channel_base set.
        synthesis: module (ws [N, num_ws, w_dim], noise_mode, generator) -> images.
    """

    def __init__(self, config, synthesis):
        super().__init__()
        self.config = config
        self.z_dim, self.c_dim, self.w_dim = config.z_dim, config.c_dim, config.w_dim
        self.synthesis = synthesis
        self.num_ws = self.synthesis.num_ws
        self.mapping = Mapping(
            config.z_dim,
            config.c_dim,
            config.w_dim,
            self.num_ws,
            config.mapping_layers,
            config.w_avg_beta,
        )

    def forward(
        self,
        z,
        c=None,
        truncation_psi=1,
        truncation_cutoff=None,
        noise_mode="const",
        generator=None,
    ):
        """Images of latents.

        Args:
            z: [N, z_dim], standard normal.
            c: [N, c_dim], one-hot; None for an unconditional network.
            truncation_psi, truncation_cutoff: as `Mapping.forward`.
            noise_mode: const (the network's own noise images), random (fresh ones) or none; without
                effect where there are no noise inputs, as in StyleGAN3.
            generator: torch.Generator of the random noise.
        Returns: [N, channels, H, W] float32, in about [-1, 1].
        Raises: ValueError if z, c or noise_mode does not fit.
        """
        ws = self.mapping(z, c, truncation_psi, truncation_cutoff)
        return self.synthesis(ws, noise_mode, generator)
